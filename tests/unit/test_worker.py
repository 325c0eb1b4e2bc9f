"""What a worker does next, and what it leaves in the ledger and the metrics. Nothing waits: pauses are looked at."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from testwarden.clients.client import Order
from testwarden.clients.stop import Stop
from testwarden.clock import ManualClock
from testwarden.model import AttemptResult, CatalogueFile, Decision, FileSize, Outcome, Sample, Task, TestType, Verdict
from testwarden.running.worker import Bench, Job, Worker, refusal_pause, retry_pause
from testwarden.safety.budget import Ledger
from testwarden.safety.cycle import Cycle
from testwarden.safety.gate import Conditions, Confirmed, Gate
from testwarden.safety.kill_switch import KillSwitch
from testwarden.safety.limits import GB, Limits
from testwarden.workloads.workload import Item, Purse

START = datetime(2026, 11, 21, 12, 5, tzinfo=timezone.utc)
ROW = CatalogueFile(FileSize.TINY, "name", "seed-1-100", None)
TASK = Task("001", "a task", 5, 0, TestType.DOWNLOAD)
OK = AttemptResult(Outcome.OK, exec_time=0.5, bytes=100)
BROKEN = AttemptResult(Outcome.NETWORK_ERROR, "no route", mendable=True)


@dataclass
class Script:
    """A workload that ends as it is told, and moves the clock."""

    clock: ManualClock
    results: list[AttemptResult | Exception]
    folders: list[Path] = field(default_factory=list)
    type: TestType = TestType.DOWNLOAD
    client: str = "ant-2"
    orders: list[Order] = field(default_factory=list)

    def pick(self, task: Task, rng: random.Random) -> Item:
        return Item("seed-1-100", 1000, 1000, ROW)

    def attempt(self, item: Item, order: Order, stop: Stop, purse: Purse) -> AttemptResult:
        assert order.folder.is_dir()
        self.folders.append(order.folder)
        self.orders.append(order)
        self.clock.advance(1)
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result


class Pauses(Stop):
    """A Stop whose waits return at once and are written down; the clock moves on by them."""

    def __init__(self, clock: ManualClock, most: int) -> None:
        super().__init__()
        self._clock = clock
        self._most = most
        self.waited: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.waited.append(seconds)
        self._clock.advance(seconds)
        if len(self.waited) > self._most:
            self.request("the test has seen enough", 0)
        return self.requested


@dataclass
class House:
    clock: ManualClock
    ledger: Ledger
    bench: Bench
    samples: list[Sample]
    conditions: Conditions


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    clock = ManualClock(START)
    ledger = Ledger(tmp_path / "ledger.db", clock.now())
    samples: list[Sample] = []

    def conditions() -> Conditions:
        fresh = KillSwitch().after_look((), clock.now(), at_fetch=False)
        return replace(made.conditions, switch=fresh, control=Confirmed(clock.now()), disk_free=20 * GB)

    gate = Gate(Limits(), Cycle(), ledger, conditions, lambda _task: "")
    bench = Bench(gate, clock, tmp_path, samples.append, random.Random(1))
    made = House(clock, ledger, bench, samples, Conditions())
    yield made
    ledger.close()


def run(house: House, task: Task, results: list[AttemptResult | Exception], most: int = 50) -> Pauses:
    stop = Pauses(house.clock, most)
    workload = Script(house.clock, results)
    Worker(2, Job(task, workload, "c0ffee"), house.bench, stop).run()
    assert not any(folder.exists() for folder in workload.folders), "working folders are deleted"
    return stop


def test_a_task_without_repeat_runs_once_per_worker(house: House) -> None:
    stop = run(house, TASK, [OK])
    assert stop.waited == [0]
    assert len(house.samples) == 1


def test_the_sample_says_what_when_and_for_which_commit(house: House) -> None:
    run(house, TASK, [OK])
    sample = house.samples[0]
    assert (sample.task, sample.worker, sample.client, sample.commit) == ("001", 2, "ant-2", "c0ffee")
    assert (sample.exec_time, sample.bytes, sample.attempt) == (0.5, 100, 1)
    assert sample.ended_ns == int((START + timedelta(seconds=1)).timestamp()) * 10**9


def test_repeat_goes_on_with_ten_seconds_in_between_until_the_stop(house: House) -> None:
    stop = run(house, replace(TASK, repeat=True), [OK] * 4, most=4)
    assert stop.waited == [0, 10, 10, 10, 10]
    assert len(house.samples) == 4


def test_repeat_ends_with_the_window(house: House) -> None:
    run(house, replace(TASK, repeat=True), [OK] * 400, most=400)
    assert len(house.samples) == 273  # 3000 s, 11 s each
    assert house.clock.now().utc >= datetime(2026, 11, 21, 12, 55, tzinfo=timezone.utc)


def test_a_retry_follows_a_failure_that_can_be_mended_and_backs_off(house: House) -> None:
    stop = run(house, replace(TASK, retry=3), [BROKEN] * 4)
    assert stop.waited == [0, 5, 10, 20]
    assert [sample.attempt for sample in house.samples] == [1, 2, 3, 4]


def test_a_retry_that_works_ends_the_retries(house: House) -> None:
    run(house, replace(TASK, retry=3), [BROKEN, OK])
    assert [sample.outcome for sample in house.samples] == [Outcome.NETWORK_ERROR, Outcome.OK]


def test_what_cannot_be_mended_is_not_tried_again(house: House) -> None:
    run(house, replace(TASK, retry=3), [AttemptResult(Outcome.CLIENT_ERROR, "no")])
    assert len(house.samples) == 1


def test_retries_count_against_the_budget(house: House) -> None:
    run(house, replace(TASK, retry=2), [BROKEN] * 3)
    assert house.ledger.usage(house.clock.now()).attempts == {TestType.DOWNLOAD: 3}


def test_each_attempt_is_settled_with_what_it_moved(house: House) -> None:
    run(house, TASK, [OK])
    assert house.ledger.usage(house.clock.now()).bytes == 100


def test_a_refused_attempt_leaves_no_sample_and_a_worker_that_runs_once_is_done(house: House) -> None:
    house.conditions = Conditions(paused=True)
    stop = run(house, TASK, [])
    assert stop.waited == [0]
    assert house.samples == []


def test_a_repeating_worker_waits_out_a_pause_of_the_operator(house: House) -> None:
    house.conditions = Conditions(paused=True)
    stop = run(house, replace(TASK, repeat=True), [], most=3)
    assert stop.waited == [0, 10, 10, 10]


def test_a_fault_of_ours_in_a_test_is_a_sample_and_not_the_end(house: House) -> None:
    run(house, TASK, [RuntimeError("boom")])
    assert house.samples[0].outcome is Outcome.UNKNOWN_ERROR
    assert "boom" in house.samples[0].reason


def test_a_working_folder_that_cannot_be_made_is_a_client_error(house: House, tmp_path: Path) -> None:
    house.bench = replace(house.bench, work=tmp_path / "gone")
    run(house, TASK, [])
    assert "no working folder" in house.samples[0].reason


def test_the_offset_delays_a_worker_by_less_than_its_minutes(house: House) -> None:
    delays = [run(house, replace(TASK, offset=5), [OK]).waited[0] for _ in range(20)]
    assert all(0 <= delay <= 300 for delay in delays)
    assert len(set(delays)) == 20


@pytest.mark.parametrize(("tries", "pause"), [(1, 5.0), (2, 10.0), (5, 80.0), (6, None)])
def test_the_back_off(tries: int, pause: float | None) -> None:
    assert retry_pause(replace(TASK, retry=5), tries, BROKEN) == pause


ENDS = START + timedelta(minutes=50)


@pytest.mark.parametrize(
    ("repeat", "wait", "pause"),
    [(True, 100.0, 100.0), (True, 1.0, 10.0), (True, 3000.0, None), (True, None, None), (False, 1.0, None)],
)
def test_the_pause_after_a_refusal(repeat: bool, wait: float | None, pause: float | None) -> None:
    again = None if wait is None else START + timedelta(seconds=wait)
    verdict = Verdict(Decision.REFUSED, "no", again)
    assert refusal_pause(replace(TASK, repeat=repeat), verdict, START, ENDS, 10) == pause
