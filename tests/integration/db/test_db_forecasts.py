"""The row of a forecast, which any of several coordinators may write."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, select

from db.database import Database
from db.forecasts import Forecast, keep_forecast
from db.schema import forecasts
from tests.integration.db.db_rows import InstallationRows
from tests.integration.db.test_db_turns import waiting_sessions
from tests.support.waiting import PATIENCE_S, wait_for


def kept(connection: Connection) -> list[str]:
    """Return why the forecasts that are kept tell no end."""
    return [*connection.execute(select(forecasts.c.missing)).scalars()]


def test_the_newest_forecast_is_kept(connection: Connection, installation: InstallationRows) -> None:
    """A forecast replaces an older one, and none that another coordinator has made later."""
    strategy_id = installation.add_strategy({1: 1})
    for made_epoch, missing in ((2.0, "second"), (1.0, "first"), (3.0, "third"), (2.5, "late")):
        keep_forecast(connection, strategy_id, made_epoch, Forecast(missing=missing))
        assert kept(connection) == [{1.0: "second", 2.5: "third"}.get(made_epoch, missing)]


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_two_coordinators_write_at_once(database: Database) -> None:
    """The second waits for the first, whose row is not there yet, and writes over it; neither fails."""
    with database.write() as connection:
        rows = InstallationRows(connection)
        rows.add_subclouds(1)
        strategy_id = rows.add_strategy({1: 1})

    def write() -> None:
        with database.write() as connection:
            keep_forecast(connection, strategy_id, 2.0, Forecast(missing="second"))

    with ThreadPoolExecutor(1) as pool:
        with database.write() as connection:
            keep_forecast(connection, strategy_id, 1.0, Forecast(missing="first"))
            other = pool.submit(write)
            wait_for(lambda: waiting_sessions(database, "transactionid") == 1)
        other.result(PATIENCE_S)
    with database.read() as connection:
        assert kept(connection) == ["second"]
