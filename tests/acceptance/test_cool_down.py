"""The end of a window on a network of others: TERM at :55, KILL at :58, the proof at :00, in UTC."""

from __future__ import annotations

import signal

from acceptance.steered import NewSteered
from standins.agent_process import READY
from standins.control_folder import task
from standins.watching import MISBEHAVE, still_alive, wait_until
from testwarden.metrics.line_protocol import parse

POLITE, STUBBORN = 2, 3
HANGS = f"""\
#!/bin/sh
read -r python < "${{0%/*}}/python"
mode=hang
case " $* " in *" file cost "*) mode=everything ;; esac
case " $* " in *" file "*) exec "$python" "${{0%/*}}/{MISBEHAVE.name}" "$mode" ;; esac
exec "${{0%/*}}/real-ant" "$@"
"""


def test_what_runs_is_asked_at_55_killed_at_58_and_gone_at_00(new_steered: NewSteered) -> None:
    """Downloads end when they are asked to; quotes ignore it."""
    total = POLITE + STUBBORN
    steered = new_steered("cool-down", "12:54:48")
    place = steered.place
    steered.from_folder(
        task("001", "Download", workers=POLITE, timeout=600, repeat=True),
        task("002", "Quote", workers=STUBBORN, timeout=600, retry=5),
        task("003", "Quote"),
    )
    place.install_ant()
    (place.bin / "ant").rename(place.bin / "real-ant")
    (place.bin / "ant").write_text(HANGS)
    (place.bin / "ant").chmod(0o755)
    with place.start("run", terminal=True) as agent:
        agent.wait_for(READY)
        agent.start_task("001")
        agent.start_task("002")
        pids = {str(pid): pid for pid in agent.clients(total)}

        agent.wait_for(rf"12:55:0[0-2] - INFO - cool-down: {total} workers .*asked to stop .*1(80|7\d) s")
        for worker in range(1, POLITE + 1):
            agent.wait_for(f"task 001 worker {worker}: download tiny: client_killed: the window is over")
        assert len(still_alive(pids)) == STUBBORN
        agent.start_task("003", "outside the window, which opens at 13:05:00 UTC")

        steered.set_clock("12:57:52")
        wait_until(lambda: not still_alive(pids), "the stubborn ones are killed")
        killed = agent.wait_for(r"(12:\d\d:\d\d) - WARNING - task 002 worker \d: quote tiny: client_killed: the window")
        assert "12:57:59" <= killed[1] <= "12:58:06"

        steered.set_clock("12:59:52")
        agent.wait_for(rf"13:00:0[0-2] - INFO - cool-down: {total} workers .*; no test process is left")
        ending = agent.end(signal.SIGTERM)
    assert (ending.code, ending.left) == (0, []), ending.output
    samples = [parse(line) for line in place.lines()]
    assert [(sample.fields["ok"], sample.fields["client_killed"]) for sample in samples] == [(False, True)] * total
    assert all("the window is over" in str(sample.fields["reason"]) for sample in samples)
