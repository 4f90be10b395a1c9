"""Forecast of a strategy in its rows: made beside the passes, and shown in its answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select, update

from db import read_queries
from db.forecaster import Forecaster
from db.forecasts import Forecast, read_forecasts
from db.holds import open_holds
from db.schema import events, forecasts, runs, steps
from tests.integration.actors.held_installation import applied, end, take, verb
from tests.support.installation import Installation

SERIAL = {"subcloud-apply-type": "serial"}


def expected(installation: Installation) -> Forecast | None:
    """Return the forecast that answers show of the active strategy."""

    def read(connection: Connection) -> Forecast | None:
        strategy = read_queries.active_strategy(connection)
        assert strategy is not None
        return read_forecasts(connection, [strategy], open_holds(connection, [strategy["id"]]))[strategy["id"]]

    with installation.database.read() as connection:
        return read(connection)


def made(installation: Installation) -> Forecast:
    """Make a forecast, and return it."""
    Forecaster(installation.database).make()
    found = expected(installation)
    assert found is not None
    return found


def work_through(installation: Installation) -> None:
    """End all runs that wait, each after 60 seconds."""
    for run_id in installation.queued():
        take(installation, run_id)
        began = datetime.now(UTC) - timedelta(seconds=60)
        end(installation, run_id)
        with installation.database.write() as connection:
            ended = began + timedelta(seconds=60)
            moments = {"started_at": began, "finished_at": ended}
            connection.execute(update(runs).where(runs.c.id == run_id).values(**moments))


def work_until_the_end_is_told(installation: Installation) -> None:
    """End runs until five of each phase have ended."""
    for _ in range(24):
        if made(installation).ends:
            return
        work_through(installation)
    raise AssertionError("no end is told after 24 phases")


def test_a_forecast_needs_ended_runs_of_each_phase(installation: Installation) -> None:
    """Before five runs of each phase have ended no end is told; then it lies ahead, and the pace is counted."""
    applied(installation, "abcdefgh", **SERIAL)
    assert made(installation).missing == "too few sites have ended"
    work_until_the_end_is_told(installation)
    found = made(installation)
    assert found.ends is not None
    assert found.missing == ""
    p10, p50, p90 = found.ends
    assert datetime.now(UTC) - timedelta(seconds=60) < p10 <= p50 <= p90
    assert found.pace > 0


def test_a_held_strategy_has_no_forecast(installation: Installation) -> None:
    """A strategy that is held by a person has no end in sight, and the answer says by whom."""
    applied(installation, "ab", **SERIAL)
    verb(installation, "pause", scope="starts")
    found = made(installation)
    assert found.ends is None
    assert found.missing.startswith("held by ")


def test_a_hold_is_seen_at_once(installation: Installation) -> None:
    """The end is gone with the first answer after a pause, and back with the first one after the resume."""
    applied(installation, "abcdefgh", **SERIAL)
    work_until_the_end_is_told(installation)

    verb(installation, "pause", scope="starts")
    held = expected(installation)
    assert held is not None
    assert (held.ends, held.missing[:8]) == (None, "held by ")
    made(installation)
    verb(installation, "resume")

    resumed = expected(installation)
    assert resumed is not None
    assert resumed.ends is not None
    assert resumed.missing == ""


def test_only_a_strategy_that_moves_has_a_forecast(installation: Installation) -> None:
    """Before it is applied the answer says so; of an ended one nothing is told, and no row is written."""
    installation.add_site("a")
    installation.create()
    Forecaster(installation.database).make()
    with installation.database.read() as connection:
        assert connection.execute(select(forecasts)).first() is None
    found = expected(installation)
    assert found is not None
    assert found.missing == "not applied"

    installation.verb("apply")
    for _ in range(4):
        work_through(installation)
    assert expected(installation) is None


def test_an_old_forecast_is_not_shown(installation: Installation) -> None:
    """The answer says that no coordinator makes forecasts any more, instead of showing the last one."""
    applied(installation, "ab", **SERIAL)
    made(installation)
    with installation.database.write() as connection:
        connection.execute(update(forecasts).values(made_epoch=1.0))
    found = expected(installation)
    assert found is not None
    assert found.missing == "no coordinator has worked it out for two minutes"


def progress_events(installation: Installation) -> list[dict[str, Any]]:
    """Return the data of the events that tell the progress."""
    return [row["data"] for row in installation.rows(events, type="strategy.progress")]


def test_listeners_are_told_of_progress_that_is_new(installation: Installation) -> None:
    """A forecast brings one event when a count has changed, and none when nothing has moved or the strategy ended."""
    applied(installation, "ab", **SERIAL)
    made(installation)
    made(installation)
    (first,) = progress_events(installation)
    assert (first["total"], first["complete"], first["queued"]) == (2, 0, 1)
    assert (first["eta"], first["eta-missing"]) == (None, "too few sites have ended")

    take(installation, installation.queued()[0])
    made(installation)
    made(installation)
    assert [1, 0] == [one["queued"] for one in progress_events(installation)]
    verb(installation, "pause", scope="starts")
    made(installation)
    assert progress_events(installation)[-1]["eta-missing"].startswith("held by ")


def test_nothing_is_told_after_the_end(installation: Installation) -> None:
    """After the event of its end no progress of a strategy is told."""
    applied(installation, "a", **SERIAL)
    for _ in range(4):
        work_through(installation)
    Forecaster(installation.database).make()
    assert not progress_events(installation)


def usual_s(installation: Installation) -> dict[str, float | None]:
    """Return how long the phases of all steps usually take, by the names of their sites."""
    with installation.database.read() as connection:
        rows = connection.execute(select(steps).where(steps.c.finished_at.is_(None))).mappings().all()
        works = read_queries.works_of_steps(connection, rows)
        return {row["subcloud_name"]: works[row["id"]]["usual_s"] for row in rows}


def test_usual_durations(installation: Installation) -> None:
    """A phase usually takes the median of its successful runs; a step without a run has no usual duration."""
    applied(installation, "abc", **SERIAL)
    assert usual_s(installation) == {"a": None, "b": None, "c": None}
    for _ in range(4):
        work_through(installation)
    found = made(installation)
    assert found.usual["prestage-precheck"] == 60.0
    assert set(found.usual) == {"prestage-precheck", "prestage-prepare", "prestaging-packages", "prestaging-images"}
    assert usual_s(installation) == {"b": 60.0, "c": None}


def test_a_site_has_its_own_usual_duration(installation: Installation) -> None:
    """The usual duration of a phase at a site is the median of its last three successful runs there, if it has any."""
    applied(installation, "ab", **SERIAL)
    for _ in range(4):
        work_through(installation)
    made(installation)
    (now,) = installation.rows(steps, subcloud_name="b")
    with installation.database.write() as connection:
        (earlier,) = connection.execute(
            select(runs).where(runs.c.phase == "prestage-precheck").order_by(runs.c.id).limit(1)
        ).mappings()
        step = {**now, "state": "complete", "strategy_id": None, "run_id": None, "finished_at": now["created_at"]}
        del step["id"]
        step_id = connection.execute(insert(steps).values(**step).returning(steps.c.id)).scalar_one()
        run = {key: value for key, value in earlier.items() if key not in {"id", "step_id"}}
        for seconds, outcome in (
            (1, "succeeded"),
            (700, "succeeded"),
            (90, "succeeded"),
            (80, "succeeded"),
            (9, "failed"),
        ):
            began = earlier["finished_at"] - timedelta(seconds=seconds)
            connection.execute(insert(runs).values(**{**run, "started_at": began, "outcome": outcome}, step_id=step_id))
    assert usual_s(installation) == {"b": 90.0}
