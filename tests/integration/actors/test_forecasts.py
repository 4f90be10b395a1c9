"""Forecast of a strategy in its rows: made beside the passes, and shown in its answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, select, update

from db import read_queries
from db.forecasts import Forecast, Forecaster, read_forecasts
from db.schema import forecasts, runs
from tests.integration.actors.held_installation import applied, end, take, verb
from tests.support.installation import Installation

SERIAL = {"subcloud-apply-type": "serial"}


def expected(installation: Installation) -> Forecast | None:
    """Return the forecast that answers show of the active strategy."""

    def read(connection: Connection) -> Forecast | None:
        strategy = read_queries.active_strategy(connection)
        assert strategy is not None
        return read_forecasts(connection, [strategy])[strategy["id"]]

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


def test_a_forecast_needs_ended_runs_of_each_phase(installation: Installation) -> None:
    """Before five runs of each phase have ended no end is told; then it lies ahead, and the pace is counted."""
    applied(installation, "abcdefgh", **SERIAL)
    assert made(installation).missing == "too few sites have ended"
    for _ in range(24):
        work_through(installation)
        if made(installation).ends:
            break
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
    assert found.missing == "no coordinator has made one in the last two minutes"
