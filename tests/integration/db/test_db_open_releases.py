"""Which releases of a site must stay there, on SQLite and on PostgreSQL."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, update

from db.open_releases import open_releases
from db.schema import steps, strategies
from tests.integration.db.db_rows import AT, Rig


@pytest.fixture
def rig(connection: Connection) -> Rig:
    """Three sites; a strategy for 22.12 over two of them, and a standalone prestage of 23.09 at the first."""
    rig = Rig(connection)
    rig.add_subclouds(3)
    rig.add_strategy({1: 1, 2: 1})
    standalone = rig.add_standalone(1)
    connection.execute(update(steps).where(steps.c.id == standalone).values(release="23.09"))
    return rig


def test_open_work_protects_its_releases(rig: Rig) -> None:
    """The releases of the open strategy and of unfinished standalone prestages are open, of that site only."""
    assert [["22.12", "23.09"], ["22.12"], []] == [open_releases(rig.connection, one) for one in (1, 2, 3)]


def test_a_strategy_protects_until_it_is_deleted(rig: Rig) -> None:
    """A step that has ended still counts while its strategy is there, a standalone prestage that has ended does not."""
    rig.connection.execute(update(steps).values(state="complete", finished_at=AT))
    ended = open_releases(rig.connection, 1)
    rig.connection.execute(update(strategies).values(deleted_at=AT))

    assert (["22.12"], []) == (ended, open_releases(rig.connection, 1))
