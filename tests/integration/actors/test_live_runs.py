"""What a worker writes of its runs while they go on, and when."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from unittest.mock import Mock
from zlib import compress

import pytest
from sqlalchemy import Connection, select

from actors.worker import live_output as live_module
from actors.worker.dependencies import WorkerDependencies
from actors.worker.live_output import LiveRuns
from actors.worker.result_writer import ResultWriter
from actors.worker.worker import StepWorker
from db.claims import claim_runs
from db.errors import DatabaseUnavailableError
from db.live_output import Piece, UnsavedTail, add_pieces, end_live, hold
from db.runs import RunResult, finish_runs
from db.schema import events, live_outputs, runs
from db.unit_of_work import UnitOfWork
from runner.interface import RunEnded
from runner.progress import Progress
from sites.inspector import DeclaredInspector
from statemachine.states import RunOutcome
from tests.support.installation import Installation
from tests.support.waiting import PATIENCE_S

OWNER = "worker/1"
# Rules of what is handed over and when, which no database changes.
ON_SQLITE = pytest.mark.parametrize("database_kind", ["sqlite"])


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Give the clock of the live runs."""
    return Clock()


@pytest.fixture
def live(installation: Installation, clock: Clock) -> LiveRuns:
    """Give the live runs of a worker."""
    return LiveRuns(installation.database, OWNER, clock)


def claimed(installation: Installation, count: int = 1, owner: str = OWNER) -> list[int]:
    """Return runs that `owner` holds."""
    for place in range(count):
        installation.add_site(f"s{place:02}")
    installation.create(**{"max-parallel-subclouds": count})
    installation.verb("apply")
    mine, at = installation.queued(), datetime.now(UTC)
    with installation.database.write() as connection:
        for run_id in mine:
            assert claim_runs(UnitOfWork(connection, at), [run_id], owner)
    return mine


def said(installation: Installation) -> list[tuple[int, int, bytes]]:
    """Return the pieces in the database: run, end, content."""
    query = select(live_outputs).order_by(live_outputs.c.run_id, live_outputs.c.end_bytes)
    with installation.database.read() as connection:
        return [tuple(row) for row in connection.execute(query)]


def tasks_told(installation: Installation) -> list[tuple[str, int]]:
    """Return the runs that were told of, and the tasks that had begun by then."""
    return [
        (row["subject"], row["data"]["tasks"]) for row in installation.rows(events) if row["type"].startswith("run.")
    ]


@contextmanager
def away(installation: Installation, *, after_commit: bool = False) -> Iterator[None]:
    """Have the database fail: at once, or after it took everything."""
    real = installation.database.write

    @contextmanager
    def fail() -> Iterator[Connection]:
        if after_commit:
            with real() as connection:
                yield connection
        raise DatabaseUnavailableError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(installation.database, "write", fail)
        yield


def test_everything_of_all_runs_in_one_go(installation: Installation, live: LiveRuns) -> None:
    """One look writes the pieces of all runs, joined, and how far they are, and tells it."""
    first, second = claimed(installation, 2)
    live.add_output(first, 0, b"one ")
    live.add_output(first, 4, b"two\n")
    live.add_output(second, 0, "ü\n".encode())
    live.set_progress(first, Progress(task="t", tasks=1))
    live.flush()

    assert [(first, 8, b"one two\n"), (second, 3, "ü\n".encode())] == said(installation)
    assert [asdict(Progress(task="t", tasks=1)), None] == [row["progress"] for row in installation.rows(runs)]
    assert [(f"run/{first}", 1)] == tasks_told(installation)


@ON_SQLITE
def test_progress_is_told_every_two_seconds_and_the_newest(
    installation: Installation, live: LiveRuns, clock: Clock
) -> None:
    """The first is told at once, then one every 2 s; what was held back is told though nothing comes after it."""
    (run_id,) = claimed(installation)
    for second in range(6):
        if second < 4:
            live.set_progress(run_id, Progress(tasks=second))
        live.flush()
        clock.now += 1.0

    assert [0, 2, 3] == [tasks for _, tasks in tasks_told(installation)]


@ON_SQLITE
def test_few_are_told_at_once(
    installation: Installation, live: LiveRuns, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many runs only some are told of at a time, those that have waited longest; first ones always."""
    monkeypatch.setattr(live_module, "_EMIT_MOST", 2)
    mine = claimed(installation, 4)
    counts = []
    for look in range(3):
        for run_id in mine:
            live.set_progress(run_id, Progress(tasks=look))
        live.flush()
        counts.append(len(tasks_told(installation)))
        clock.now += 2.0

    assert [4, 6, 8] == counts
    assert {f"run/{run_id}" for run_id in mine} == {subject for subject, _ in tasks_told(installation)[4:]}


def test_a_fenced_worker_writes_nothing(installation: Installation, live: LiveRuns) -> None:
    """Of a run that is somebody else's nothing is written and nothing told; of the others everything is."""
    (run_id,) = claimed(installation, owner="worker/2")
    live.add_output(run_id, 0, b"abc")
    live.set_progress(run_id, Progress(tasks=1))
    live.flush()

    assert ([], [], None) == (said(installation), tasks_told(installation), installation.rows(runs)[0]["progress"])


@pytest.mark.parametrize("after_commit", [False, True])
def test_while_the_database_is_away_pieces_wait(installation: Installation, live: LiveRuns, after_commit: bool) -> None:
    """What could not be written is written when the database is back, once, whether it took it before or not."""
    (run_id,) = claimed(installation)
    live.add_output(run_id, 0, b"abc")
    live.set_progress(run_id, Progress(tasks=1))
    with away(installation, after_commit=after_commit), pytest.raises(DatabaseUnavailableError):
        live.flush()
    live.add_output(run_id, 3, b"def")
    live.flush()

    assert [(run_id, 6, b"abcdef")] == said(installation)
    assert 1 == installation.rows(runs)[0]["progress"]["tasks"]
    assert {(f"run/{run_id}", 1)} == set(tasks_told(installation))


@ON_SQLITE
def test_what_waits_is_bounded(installation: Installation, live: LiveRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the database is away, only the newest of what a run printed waits."""
    monkeypatch.setattr(live_module, "_WAITING_BYTES", 100)
    (run_id,) = claimed(installation)
    with away(installation):
        for place in range(50):
            live.add_output(run_id, place * 10, b"0123456789")
            with pytest.raises(DatabaseUnavailableError):
                live.flush()
    live.flush()

    ((_, end, content),) = said(installation)
    assert (500, 100) == (end, len(content))


def test_beginning_and_end_of_much_stay(
    installation: Installation, live: LiveRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a run that prints without end the database keeps the beginning and the newest."""
    monkeypatch.setattr(live_module, "HEAD_LIMIT_BYTES", 20)
    monkeypatch.setattr(live_module, "TAIL_LIMIT_BYTES", 30)
    monkeypatch.setattr(live_module, "_TRIM_BYTES", 40)
    (run_id,) = claimed(installation)
    for place in range(100):
        live.add_output(run_id, place * 10, b"0123456789")
        live.flush()
    ends = [end for _, end, _ in said(installation)]

    assert [10, 20] == ends[:2]
    assert 1000 == ends[-1]
    assert 10 >= len(ends)


def test_when_a_run_ends_its_pieces_go_and_its_end_is_told(installation: Installation, live: LiveRuns) -> None:
    """The report of a run that was heard of brings how far it came; what waited of it is forgotten."""
    (run_id,) = claimed(installation)
    live.add_output(run_id, 0, b"abc")
    live.set_progress(run_id, Progress(tasks=1))
    live.flush()
    live.add_output(run_id, 3, b"def")
    live.set_progress(run_id, Progress(tasks=2))
    progress = live.ended(run_id)
    results = ResultWriter(installation.database, OWNER)
    results.add(
        RunResult(
            run_id=run_id,
            outcome=RunOutcome.FAILED,
            details="no",
            facts={},
            output=compress(b"abcdef"),
            progress=progress,
        )
    )
    results.flush()
    live.flush()

    assert [] == said(installation)
    assert [(f"run/{run_id}", 1), (f"run/{run_id}", 2)] == tasks_told(installation)
    assert [None, "failed"] == [
        row["data"].get("outcome") for row in installation.rows(events, type="run.prestage.prestage-precheck")
    ]


@ON_SQLITE
def test_what_a_dead_process_said_last_is_kept(
    installation: Installation, live: LiveRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits of a run, or is being written when it ends, comes along with the report that it was cut."""
    (run_id,) = claimed(installation)
    live.add_output(run_id, 0, b"abc")
    live.flush()
    live.add_output(run_id, 3, b"def")
    in_hand = []

    def write(_: object) -> None:
        live.add_output(run_id, 6, b"ghi")
        in_hand.extend(live.unwritten(run_id))

    monkeypatch.setattr(live, "_write", write)
    live.flush()
    waiting = live.unwritten(run_id)
    results = ResultWriter(installation.database, OWNER)
    results.add(
        RunResult(
            run_id=run_id,
            outcome=RunOutcome.FAILED,
            details="died",
            facts={},
            output=compress(b"a"),
            progress=live.ended(run_id),
            beyond=UnsavedTail(at_bytes=1, pieces=in_hand),
        )
    )
    results.flush()

    assert [Piece(run_id=run_id, at_bytes=6, content=b"ghi")] == waiting
    assert [(run_id, 3, b"abc"), (run_id, 9, b"defghi")] == said(installation)
    assert [] == live.unwritten(run_id)


@ON_SQLITE
@pytest.mark.parametrize(("cut_at", "kept"), [(None, None), (1, [(0, b"abc")])])
def test_the_report_of_a_dead_process_has_what_waits(
    installation: Installation, cut_at: int | None, kept: object
) -> None:
    """A worker reports what is not in the database yet of a run whose process died, and of no other."""
    tools = WorkerDependencies(
        database=installation.database,
        inspector=DeclaredInspector(),
        sealer=installation.sealer,
        results=Mock(),
        layout=Mock(),
        playbooks=Mock(obstacle=lambda: None, doubt=lambda _: False),
        rules=Mock(),
        owner=OWNER,
    )
    worker = StepWorker(tools)
    worker.attach(Mock(free_slots=0))
    worker.live.add_output(7, 0, b"abc")
    worker.finished(
        RunEnded(run_id=7, outcome=RunOutcome.FAILED, details="", output=b"", facts={}, cut_at_bytes=cut_at)
    )
    beyond = tools.results.add.call_args.args[0].beyond

    assert kept == (beyond and [(piece.at_bytes, piece.content) for piece in beyond.pieces])


@ON_SQLITE
def test_nothing_is_written_of_silent_runs(installation: Installation, live: LiveRuns) -> None:
    """Without news no transaction is begun: a worker with nothing to say leaves the database alone."""
    (run_id,) = claimed(installation)
    live.add_output(run_id, 0, b"abc")
    live.flush()
    with away(installation):
        live.flush()

    assert live.ended(run_id) is not None
    assert live.ended(run_id) is None


@ON_SQLITE
def test_what_the_database_refuses_is_dropped(
    installation: Installation, live: LiveRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be written for another reason than a database that is away holds nothing up."""
    (run_id,) = claimed(installation)
    live.add_output(run_id, 0, b"abc")
    with monkeypatch.context() as patch:
        patch.setattr(live_module, "hold", lambda *_: 1 / 0)
        live.flush()
    live.add_output(run_id, 3, b"def")
    live.flush()

    assert [(run_id, 6, b"def")] == said(installation)


@pytest.mark.parametrize("is_report_first", [False, True])
def test_a_piece_never_outlives_the_end_of_its_run(
    installation: Installation, live: LiveRuns, is_report_first: bool
) -> None:
    """A look and a report of one run at once, in either order, leave the output of the run and no piece."""
    (run_id,) = claimed(installation)
    live.add_output(run_id, 0, b"abc")
    live.flush()
    report = RunResult(
        run_id=run_id,
        outcome=RunOutcome.SUCCEEDED,
        details="",
        facts={},
        output=compress(b"abcdef"),
        progress=asdict(Progress()),
    )
    results, at = ResultWriter(installation.database, OWNER), datetime.now(UTC)
    results.add(report)
    live.add_output(run_id, 3, b"def")
    with ThreadPoolExecutor(1) as other:
        with installation.database.write() as connection:
            if is_report_first:
                assert finish_runs(connection, [report], OWNER, at)
                end_live(UnitOfWork(connection, at), {run_id: asdict(Progress())})
                waiting = other.submit(live.flush)
            else:
                assert hold(connection, [run_id], OWNER)
                add_pieces(connection, [Piece(run_id=run_id, at_bytes=3, content=b"def")])
                waiting = other.submit(results.flush)
            assert not waiting.done()
        waiting.result(PATIENCE_S)

    assert [] == said(installation)
    assert "finished" == installation.rows(runs)[0]["state"]
