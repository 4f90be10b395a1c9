"""Which releases of a site must stay there, on SQLite and on PostgreSQL."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, update

from db.inventory import open_releases
from db.schema import steps, strategies
from tests.integration.db.db_rows import AT, InstallationRows


@pytest.fixture
def installation(connection: Connection) -> InstallationRows:
    """Three sites; a strategy for 22.12 over two of them, and a standalone prestage of 23.09 at the first."""
    installation = InstallationRows(connection)
    installation.add_subclouds(3)
    installation.add_strategy({1: 1, 2: 1})
    standalone = installation.add_standalone(1)
    connection.execute(update(steps).where(steps.c.id == standalone).values(release="23.09"))
    return installation


def test_open_work_protects_its_releases(installation: InstallationRows) -> None:
    """The releases of the open strategy and of unfinished standalone prestages are open, of that site only."""
    assert [["22.12", "23.09"], ["22.12"], []] == [open_releases(installation.connection, one) for one in (1, 2, 3)]


def test_a_strategy_protects_until_it_is_deleted(installation: InstallationRows) -> None:
    """A step that has ended still counts while its strategy is there, a standalone prestage that has ended does not."""
    installation.connection.execute(update(steps).values(state="complete", finished_at=AT))
    ended = open_releases(installation.connection, 1)
    installation.connection.execute(update(strategies).values(deleted_at=AT))

    assert (["22.12"], []) == (ended, open_releases(installation.connection, 1))
