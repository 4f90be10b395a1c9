"""Claims in sets: as many runs as there is room for, shared by workers, and no run that holds others up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from unittest.mock import Mock

import pytest
from sqlalchemy import event, update

from actors.worker.claimed_runs import ClaimedRuns, run_result
from actors.worker.dependencies import WorkerDependencies
from actors.worker.result_writer import ResultWriter
from actors.worker.run_claims import SET, RunClaims
from db.runs import RunAssignment
from db.schema import runs, steps
from sites.inspector import DeclaredInspector
from statemachine.states import RunOutcome, StepState
from tests.support.installation import Installation
from tests.support.waiting import wait_for

# Several take runs at once, which PostgreSQL lets them.
pytestmark = pytest.mark.quick
ON_SQLITE = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
PRECHECKS = frozenset({StepState.PRECHECK})


class Worker:
    """A worker process with some slots, whose runs end when the test says so."""

    def __init__(self, installation: Installation, owner: str, slots: int) -> None:
        self.owner = owner
        self.results = ResultWriter(installation.database, owner)
        tools = WorkerDependencies(
            database=installation.database,
            inspector=DeclaredInspector(),
            sealer=installation.sealer,
            results=self.results,
            layout=Mock(),
            playbooks=Mock(),
            rules=Mock(),
            owner=owner,
        )
        self.held = ClaimedRuns(tools)
        self._lock = Lock()
        self.slots = slots
        self.begun: list[int] = []
        # Most runs that were held at once.
        self.most = 0
        self.on_begin: Callable[[], None] = lambda: None
        self.waiting = RunClaims(self.held, PRECHECKS, free=self._free, begin=self._begin, is_hopeless=lambda: False)

    def end(self, run_id: int) -> None:
        """End a run well."""
        with self._lock:
            self.slots += 1
        self.held.finish(run_result(run_id, RunOutcome.SUCCEEDED))

    def _free(self) -> int:
        return self.slots

    def _begin(self, assignment: RunAssignment) -> bool:
        self.on_begin()
        with self._lock:
            self.most = max(self.most, len(self.held.ids()))
            if self.slots == 0:
                return False
            self.slots -= 1
        self.held.begun(assignment.run_id)
        self.begun.append(assignment.run_id)
        return True


def handed_out(installation: Installation, count: int) -> list[int]:
    """Apply a strategy and return the runs that wait."""
    for place in range(count):
        installation.add_site(f"s{place:03}")
    installation.create(**{"max-parallel-subclouds": count})
    installation.verb("apply")
    return installation.queued()


def owners(installation: Installation) -> Counter[str | None]:
    """Return how many runs each process holds."""
    return Counter(row["owner"] for row in installation.rows(runs, state="running"))


@contextmanager
def transactions(installation: Installation) -> Iterator[list[str]]:
    """Collect the statements that are sent meanwhile."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    engines = installation.database.engines
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    yield sent
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)


def test_never_more_than_there_are_slots(installation: Installation) -> None:
    """However many messages come at once, no more runs are claimed than slots are free; the others wait."""
    waiting = handed_out(installation, 40)
    worker = Worker(installation, "w/1", slots=7)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(worker.waiting.take, waiting))
        list(pool.map(lambda _: worker.waiting.look(), range(4)))

    assert (7, 7, 0) == (worker.most, len(worker.begun), worker.waiting.room)
    assert {"w/1": 7} == owners(installation)
    assert worker.waiting.is_look_due

    for run_id in list(worker.begun)[:3]:
        worker.end(run_id)
    worker.results.flush()
    worker.waiting.look()

    assert (7, 10) == (worker.most, len(set(worker.begun)))
    assert {"w/1": 7} == owners(installation)


def test_each_message_brings_its_run(installation: Installation) -> None:
    """With room for all, the messages of many threads have every run claimed and begun once."""
    waiting = handed_out(installation, 40)
    worker = Worker(installation, "w/1", slots=100)
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(worker.waiting.take, [*waiting, *waiting]))

    assert waiting == sorted(worker.begun)
    assert {"w/1": 40} == owners(installation)


def test_workers_take_what_is_brought_to_them(installation: Installation) -> None:
    """A worker with many slots claims the runs of its own messages; those of another worker are left to that one."""
    waiting = handed_out(installation, 20)
    first, second = Worker(installation, "w/1", slots=50), Worker(installation, "w/2", slots=50)
    for place, run_id in enumerate(waiting):
        (first, second)[place % 2].waiting.take(run_id)

    assert {"w/1": 10, "w/2": 10} == owners(installation)


@ON_SQLITE
def test_a_look_leaves_some_to_others(installation: Installation) -> None:
    """A worker with many slots takes one set at a time, so that another one that looks gets the next."""
    handed_out(installation, 2 * SET)
    first, second = Worker(installation, "w/1", slots=100), Worker(installation, "w/2", slots=100)

    def look_too() -> None:
        first.on_begin = lambda: None
        second.waiting.look()

    first.on_begin = look_too
    first.waiting.look()

    assert {"w/1": SET, "w/2": SET} == owners(installation)


@ON_SQLITE
def test_a_message_of_a_known_run_costs_nothing(installation: Installation) -> None:
    """A message whose run this process holds, or has held, asks the database nothing."""
    first, second = handed_out(installation, 2)
    worker = Worker(installation, "w/1", slots=5)
    worker.waiting.look()
    worker.end(first)
    with transactions(installation) as sent:
        assert [True, True] == [worker.waiting.take(run_id) for run_id in (first, second)]

    assert [] == sent


@ON_SQLITE
def test_a_full_worker_asks_nothing(installation: Installation) -> None:
    """Without a free slot neither a message nor a look asks the database, and a look is due when a slot is free."""
    (run_id,) = handed_out(installation, 1)
    worker = Worker(installation, "w/1", slots=0)
    with transactions(installation) as sent:
        assert not worker.waiting.take(run_id)
        worker.waiting.look()

    assert [] == sent
    assert worker.waiting.is_look_due


@ON_SQLITE
def test_nothing_is_looked_for_while_nothing_waits(installation: Installation) -> None:
    """After a look that took all that waited the next one is due half a second later, or when runs are expected."""
    handed_out(installation, 1)
    worker = Worker(installation, "w/1", slots=5)
    worker.waiting.look()
    was_due = worker.waiting.is_look_due
    worker.waiting.expect()

    assert (False, True) == (was_due, worker.waiting.is_look_due)
    worker.waiting.look()
    wait_for(lambda: worker.waiting.is_look_due)


@ON_SQLITE
def test_one_run_is_claimed_in_one_transaction(installation: Installation) -> None:
    """A single run is claimed by the thread of its message, in one transaction that reads nothing beforehand."""
    (run_id,) = handed_out(installation, 1)
    worker = Worker(installation, "w/1", slots=5)
    with transactions(installation) as sent:
        worker.waiting.take(run_id)

    assert 1 == sum(statement.startswith("BEGIN") for statement in sent)
    assert [run_id] == worker.begun


def test_a_run_that_cannot_be_read_ends_alone(installation: Installation) -> None:
    """A run whose rows cannot be read ends as failed with the reason; the others of its set are begun."""
    waiting = handed_out(installation, 5)
    with installation.database.write() as connection:
        connection.execute(update(steps).where(steps.c.subcloud_name == "s002").values(subcloud_id=None))
    worker = Worker(installation, "w/1", slots=10)
    worker.waiting.look()
    worker.results.flush()

    assert [*waiting[:2], *waiting[3:]] == worker.begun
    row = installation.rows(runs, id=waiting[2])[0]
    assert ("failed", "Its rows in the database could not be read: KeyError.") == (row["outcome"], row["details"])


@ON_SQLITE
def test_what_has_no_room_after_all_goes_back(installation: Installation) -> None:
    """When the slots of a claim are gone, its runs that were not begun are queued again, and a look is due."""
    waiting = handed_out(installation, 5)
    worker = Worker(installation, "w/1", slots=5)

    def lose_slots() -> None:
        if len(worker.begun) == 2:
            worker.slots = 0

    worker.on_begin = lose_slots
    worker.waiting.look()

    assert waiting[:2] == worker.begun
    assert waiting[2:] == installation.queued()
    assert worker.waiting.is_look_due
    worker.slots = 3
    worker.on_begin = lambda: None
    worker.waiting.look()
    assert waiting == sorted(worker.begun)


@ON_SQLITE
def test_a_run_that_breaks_at_its_beginning_ends_alone(installation: Installation) -> None:
    """A run whose beginning raises ends as failed; the others of its set are begun."""
    waiting = handed_out(installation, 3)
    worker = Worker(installation, "w/1", slots=5)

    def break_once() -> None:
        worker.on_begin = lambda: None
        raise ValueError

    worker.on_begin = break_once
    worker.waiting.look()
    worker.results.flush()

    assert waiting[1:] == worker.begun
    assert "The run could not be begun: ValueError." == installation.rows(runs, id=waiting[0])[0]["details"]
