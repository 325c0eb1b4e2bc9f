"""Real signals to this process: what a session has done on them."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from testwarden.session import handlers


def test_a_signal_that_does_not_wake_the_main_thread_is_answered_all_the_same() -> None:
    """As one that arrives in the moment before the main thread begins to wait: sent to another thread, it wakes
    nobody else, which is the same without the chance in it."""
    answered = threading.Event()

    def send() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    with handlers({signal.SIGUSR1: answered.set}):
        threading.Thread(target=send).start()
        assert answered.wait(30)


def test_each_signal_has_its_own_answer_and_every_one_of_them_is_given() -> None:
    answers: list[str] = []
    enough = threading.Semaphore(0)

    def answer(name: str) -> None:
        answers.append(name)
        enough.release()

    with handlers({signal.SIGUSR1: lambda: answer("one"), signal.SIGUSR2: lambda: answer("two")}):
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGUSR1):
            os.kill(os.getpid(), number)
            assert enough.acquire(timeout=30)
    assert answers == ["one", "two", "one"]


def test_the_main_thread_may_hold_a_lock_that_the_answer_needs() -> None:
    lock = threading.Lock()
    answered = threading.Event()

    def answer() -> None:
        with lock:
            answered.set()

    with handlers({signal.SIGUSR1: answer}):
        with lock:
            os.kill(os.getpid(), signal.SIGUSR1)
        assert answered.wait(30)


@pytest.mark.parametrize("before", [signal.SIG_IGN, signal.SIG_DFL])
def test_afterwards_the_signals_do_what_they_did_before(before: signal.Handlers) -> None:
    original = signal.signal(signal.SIGUSR1, before)
    try:
        with handlers({signal.SIGUSR1: lambda: None}):
            assert signal.getsignal(signal.SIGUSR1) is not before
        assert signal.getsignal(signal.SIGUSR1) is before
        assert signal.set_wakeup_fd(-1) == -1
        assert "signals" not in [thread.name for thread in threading.enumerate()]
    finally:
        signal.signal(signal.SIGUSR1, original)
