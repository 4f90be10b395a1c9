"""What is stored of runs that go on, and how it is read beside the output that is kept."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import Connection, delete, insert, select, update

from db.live_output import (
    Piece,
    UnsavedTail,
    add_pieces,
    end_live,
    forget_between,
    forget_from,
    hold,
    running_runs,
    set_progress,
    tell_progress,
)
from db.run_output import outputs, phase_runs, text_after
from db.runs import RunResult, finish_runs, lose_runs_of
from db.schema import events, live_outputs, run_outputs, runs, steps
from db.unit_of_work import UnitOfWork
from statemachine.actions import ExpireRun
from statemachine.states import RunOutcome
from tests.integration.db.db_rows import AT, OWNER, InstallationRows

FAR = {"play": "p", "task": "t", "tasks": 3, "results": {"ok": 2}}


@pytest.fixture
def installation(connection: Connection) -> InstallationRows:
    """Two sites of an applied strategy; the prechecks of both are running."""
    installation = InstallationRows(connection)
    installation.add_subclouds(2)
    installation.add_strategy({1: 1, 2: 1})
    installation.coordinate()
    for run_id in installation.queued():
        assert installation.claim(run_id)
    connection.execute(delete(events))
    return installation


def say(installation: InstallationRows, run_id: int, *texts: str, at_bytes: int = 0) -> None:
    """Store pieces that follow each other."""
    pieces = []
    for text in texts:
        pieces.append(Piece(run_id=run_id, at_bytes=at_bytes, content=text.encode()))
        at_bytes = pieces[-1].end_bytes
    add_pieces(installation.connection, pieces)


def end(
    installation: InstallationRows,
    run_id: int,
    output: bytes,
    progress: Mapping[str, Any] | None = None,
    *,
    beyond: UnsavedTail | None = None,
    **report: int,
) -> None:
    """Finish a run as its worker does."""
    work = UnitOfWork(installation.connection, AT)
    told = RunResult(
        run_id=run_id,
        outcome=RunOutcome.SUCCEEDED,
        details="",
        facts={},
        output=zlib.compress(output),
        progress=progress,
        **report,
    )
    assert finish_runs(installation.connection, [told], OWNER, AT)
    cut = {} if beyond is None else {run_id: beyond}
    end_live(work, {} if progress is None else {run_id: progress}, cut)
    work.finish()


def text_of(installation: InstallationRows, step_id: int, seen_bytes: int = 0) -> tuple[str, int]:
    """Return what the first run of a step printed after a place, and the place after it."""
    step = installation.connection.execute(select(steps).where(steps.c.id == step_id)).mappings().one()
    run = phase_runs(installation.connection, step, None)[0]
    found = text_after(installation.connection, run, seen_bytes)
    return found.content.decode(), found.end_bytes


def told(installation: InstallationRows) -> list[tuple[str, str, dict[str, Any]]]:
    """Return the events."""
    query = select(events).order_by(events.c.id)
    return [(row.type, row.subject, row.data) for row in installation.connection.execute(query)]


def test_only_the_holder_writes(installation: InstallationRows) -> None:
    """A run is held for its owner as long as it runs; not for another process, not after its end."""
    first, second = installation.running()
    end(installation, second, b"")

    assert frozenset({first}) == hold(installation.connection, [first, second], OWNER)
    assert frozenset() == hold(installation.connection, [first], "worker1/2")


@pytest.mark.parametrize("seen_bytes", range(0, 12, 3))
def test_what_comes_live_and_what_is_kept_have_the_same_places(installation: InstallationRows, seen_bytes: int) -> None:
    """Whoever has read up to some place, within a piece or between two, reads on there after the run has ended."""
    run_id = installation.running()[0]
    say(installation, run_id, "one ", "two ", "thr")
    before, place = text_of(installation, 1, seen_bytes)
    end(installation, run_id, b"one two three", FAR)
    after, whole = text_of(installation, 1, place)

    assert ("one two thr"[seen_bytes:], 11) == (before, place)
    assert ("ee", 13) == (after, whole)


@pytest.mark.parametrize("seen_bytes", [0, 4, 5, 13, 14, 18, 99])
def test_the_gap_of_the_kept_output_is_counted(installation: InstallationRows, seen_bytes: int) -> None:
    """Of 4 bytes, 10 that are not kept, and 4 more, everybody gets what he has not had; the gap is told once."""
    run_id = installation.running()[0]
    note = "\n[... 10 bytes of output left out here ...]\n"
    end(installation, run_id, f"head{note}tail".encode(), FAR, left_out_at_bytes=4, left_out_bytes=10)
    expected = {
        0: f"head{note}tail",
        4: f"{note}tail",
        5: "\n[... 9 bytes of output left out here ...]\ntail",
        13: "\n[... 1 bytes of output left out here ...]\ntail",
        14: "tail",
        18: "",
        99: "",
    }

    assert (expected[seen_bytes], max(18, seen_bytes)) == text_of(installation, 1, seen_bytes)


def test_what_could_not_be_written_is_noted(installation: InstallationRows) -> None:
    """Where pieces are missing a line says how much."""
    run_id = installation.running()[0]
    say(installation, run_id, "abc")
    say(installation, run_id, "xyz", at_bytes=10)

    assert ("abc\n[... 7 bytes of output left out here ...]\nxyz", 13) == text_of(installation, 1)


def test_pieces_are_taken_away_by_their_places(installation: InstallationRows) -> None:
    """Pieces wholly between two places go, and so do all that end behind one; another run's stay."""
    first, second = installation.running()
    for run_id in (first, second):
        say(installation, run_id, "aaa", "bbb", "ccc", "ddd")
    forget_between(installation.connection, first, 3, 8)
    middle = text_of(installation, 1)[0]
    forget_from(installation.connection, first, 9)

    assert "aaa\n[... 3 bytes of output left out here ...]\ncccddd" == middle
    assert text_of(installation, 1)[0].endswith("\nccc")
    assert "aaabbbcccddd" == text_of(installation, 2)[0]


def test_an_ended_run_keeps_its_output_alone(installation: InstallationRows) -> None:
    """When a run ends its output takes the place of the pieces, and the end is told with the outcome."""
    first, second = installation.running()
    say(installation, first, "abc")
    say(installation, second, "def")
    end(installation, first, b"abc", FAR)

    assert [second] == list(installation.connection.execute(select(live_outputs.c.run_id)).scalars())
    assert FAR == installation.run(first).progress
    step = installation.step(1)
    about = {"strategy": step.strategy_id, "step": step.id, "subcloud": "site1", "stage": 1, "attempt": 1}
    ((kind, subject, data),) = told(installation)
    assert ("run.prestage.prestage-precheck", f"run/{first}") == (kind, subject)
    assert {**about, "phase": "prestage-precheck", **FAR, "outcome": "succeeded"} == data


@pytest.mark.parametrize("seen_bytes", [0, 3, 4, 11, 22, 99])
def test_the_end_of_what_a_dead_process_printed_stays(installation: InstallationRows, seen_bytes: int) -> None:
    """Of a run whose process died the kept beginning is followed by what came live, the last that waited too."""
    run_id = installation.running()[0]
    say(installation, run_id, "ab", "cdef")
    say(installation, run_id, "uv", at_bytes=16)
    pieces = [Piece(run_id=run_id, at_bytes=16, content=b"uvw"), Piece(run_id=run_id, at_bytes=19, content=b"xyz")]
    end(installation, run_id, b"abcd", FAR, beyond=UnsavedTail(at_bytes=4, pieces=pieces))
    end(installation, installation.running()[0], b"", FAR)
    note = "\n[... {} bytes of output left out here ...]\n"
    expected = {
        0: f"abcdef{note.format(10)}uvwxyz",
        3: f"def{note.format(10)}uvwxyz",
        4: f"ef{note.format(10)}uvwxyz",
        11: f"{note.format(5)}uvwxyz",
        22: "",
        99: "",
    }

    assert (expected[seen_bytes], max(22, seen_bytes)) == text_of(installation, 1, seen_bytes)
    assert [6, 19, 22] == sorted(installation.connection.execute(select(live_outputs.c.end_bytes)).scalars())


def test_a_run_that_said_nothing_is_not_told_of(installation: InstallationRows) -> None:
    """Runs without progress, as prechecks, tell neither beginning nor end: their steps do."""
    first, second = installation.running()
    end(installation, first, b"")
    work = UnitOfWork(installation.connection, AT)
    tell_progress(work, [first, second])

    assert [] == told(installation)
    assert [] == list(work.emitted)


@pytest.mark.parametrize("how", ["expired", "restarted"])
def test_what_a_lost_run_printed_stays(installation: InstallationRows, how: str) -> None:
    """What a run printed whose worker is gone is its output, and its end is told."""
    run_id = installation.running()[0]
    say(installation, run_id, "last words")
    set_progress(installation.connection, {run_id: FAR})
    if how == "expired":
        installation.carry_out(ExpireRun(run_id=run_id, lease_until=installation.run(run_id).lease_until))
    else:
        work = UnitOfWork(installation.connection, AT)
        tell_progress(work, lose_runs_of(installation.connection, "worker1", AT))
        work.finish()
    step = installation.connection.execute(select(steps).where(steps.c.id == installation.step(1).id)).mappings().one()
    (found,) = outputs(installation.connection, step, None)

    assert ("lost", b"last words") == (found.run.outcome, found.content)
    assert ["lost"] == [data["outcome"] for _, _, data in told(installation)]


def test_progress_is_told_in_the_trace_of_its_phase(installation: InstallationRows) -> None:
    """Whatever trace the one who writes is in, an event of a run is in the trace of the run's phase."""
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    run_id = installation.connection.execute(select(runs.c.id).order_by(runs.c.id)).scalars().first()
    installation.connection.execute(update(runs).where(runs.c.id == run_id).values(trace=trace, progress=FAR))
    work = UnitOfWork(installation.connection, AT)

    tell_progress(work, [run_id or 0])

    assert [trace] == [event["trace"] for event in work.emitted]


def test_the_work_of_a_preparation_is_told_with_the_step_that_opened_it(installation: InstallationRows) -> None:
    """Of a preparation its id is told, and the strategy and subcloud that it was opened for."""
    for run_id in installation.running():
        installation.finish(run_id, from_version="21.12")
    installation.coordinate()
    (run_id,) = installation.queued()
    assert installation.claim(run_id)
    set_progress(installation.connection, {run_id: FAR})
    ((found, about),) = running_runs(installation.connection)

    assert run_id == found
    (preparation,) = installation.preparations()
    assert ("site1", "prestage-prepare", preparation.id, "t") == tuple(
        about[key] for key in ("subcloud", "phase", "preparation", "task")
    )


def test_running_runs_are_shown_and_no_others(installation: InstallationRows) -> None:
    """Runs that go on are shown, those without progress too; what waits or has ended is not."""
    first, second = installation.running()
    set_progress(installation.connection, {second: FAR})
    end(installation, first, b"")
    installation.connection.execute(
        insert(runs), [{**installation.run(second)._asdict(), "id": 900, "state": "queued"}]
    )

    assert [(second, "t")] == [(run_id, about["task"]) for run_id, about in running_runs(installation.connection)]


def test_pieces_go_with_their_run(installation: InstallationRows) -> None:
    """What forgets a step forgets what its runs printed."""
    say(installation, installation.running()[0], "abc")
    installation.connection.execute(update(steps).values(run_id=None))
    installation.connection.execute(delete(steps))

    assert [] == installation.connection.execute(select(live_outputs)).all()
    assert [] == installation.connection.execute(select(run_outputs)).all()
