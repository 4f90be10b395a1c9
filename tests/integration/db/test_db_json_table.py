"""Rows that go to the database as one parameter."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Connection, Integer, String, select

from db.apply_step_moves import add_runs, new_run
from db.json_table import given_rows
from db.unit_of_work import UnitOfWork
from statemachine.states import StepState
from tests.integration.db.db_rows import AT, InstallationRows

GIVEN = given_rows("given", number=BigInteger, count=Integer, name=String, ended=Boolean, data=JSON)


def read(connection: Connection, *rows: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return the rows as the database understands them."""
    return [tuple(row) for row in connection.execute(select(GIVEN), {"given": rows})]


def test_values(connection: Connection) -> None:
    """Numbers, texts in any script, booleans and objects arrive as they were; a missing key is null."""
    data = {"steps": [{"step": 1, "subcloud": "Zürich"}], "details": 'a "quoted" \\ text\nof two lines'}
    rows = [
        {"number": 2**53 + 1, "count": -1, "name": "Ωmega 🚀 'x' %s :name $1", "ended": True, "data": data},
        {"number": 1, "name": "", "ended": False, "data": {}},
    ]

    assert read(connection, *rows) == [
        (2**53 + 1, -1, "Ωmega 🚀 'x' %s :name $1", True, data),
        (1, None, "", False, {}),
    ]


def test_no_rows(connection: Connection) -> None:
    """An empty list has no rows."""
    assert read(connection) == []


def test_order(connection: Connection) -> None:
    """Rows come in the order of the list."""
    numbers = [7, 3, 1000, 1, 5] * 100

    assert numbers == [row[0] for row in read(connection, *({"number": one} for one in numbers))]


def test_runs_are_numbered_in_order(installation: InstallationRows) -> None:
    """Runs get their ids in the order in which they are added: the one that is added first is claimed first."""
    installation.add_strategy({1: 1, 2: 1, 3: 1, 4: 1})
    work = UnitOfWork(installation.connection, AT)
    ids = [installation.step(one).id for one in (3, 1, 4, 2)]
    added = add_runs(work, [new_run(StepState.PRECHECK, 1 + one, step_id=one) for one in ids])

    assert sorted(run.id for run in added) == [run.id for run in added]
    assert ids == [installation.run(run.id).step_id for run in added]
    assert [1 + one for one in ids] == [run.attempt for run in added]
    assert [installation.run(run.id).dispatched_at for run in added] == [run.dispatched_epoch for run in added]
