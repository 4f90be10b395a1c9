"""Order of locks: a command and a worker's report over the same sites wait for each other, but never in a ring."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from sqlalchemy import ColumnElement, Connection, select

from db.database import Database
from db.holds import cancel_strategy, request_cancel
from db.runs import RunResult, finish_runs, renew
from db.schema import runs, steps
from db.unit_of_work import UnitOfWork, unit_of_work
from statemachine.states import RunOutcome
from tests.integration.db.db_rows import AT, OWNER, InstallationRows
from tests.integration.db.test_db_turns import waiting_sessions
from tests.support.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)

Submit = Callable[[Callable[[], object]], "Future[object]"]


@pytest.fixture
def other() -> Iterator[Submit]:
    """Run something in a thread of its own and return its future."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit


@pytest.fixture
def strategy_id(database: Database) -> int:
    """A strategy of three sites whose prechecks a worker carries out."""
    with database.write() as connection:
        installation = InstallationRows(connection)
        installation.add_subclouds(3)
        number = installation.add_strategy({1: 1, 2: 1, 3: 1})
        installation.coordinate()
        for run_id in connection.execute(select(runs.c.id)).scalars().all():
            assert installation.claim(run_id)
    return number


def _report(connection: Connection, run_ids: list[int]) -> frozenset[int]:
    reports = [
        RunResult(run_id=one, outcome=RunOutcome.SUCCEEDED, details="", facts={}, from_version="21.12", worked_s=1.0)
        for one in run_ids
    ]
    return finish_runs(connection, reports, OWNER, AT)


def _cancel_strategy(work: UnitOfWork, strategy_id: int) -> None:
    cancel_strategy(work, strategy_id, by="alice", grace_s=5.0)


def _cancel_sites(work: UnitOfWork, strategy_id: int) -> None:
    which: ColumnElement[bool] = steps.c.strategy_id == strategy_id
    request_cancel(work, which, by="alice", grace_s=5.0)


@pytest.mark.parametrize("command", [_cancel_strategy, _cancel_sites])
def test_a_report_that_is_being_written(
    database: Database, strategy_id: int, other: Submit, command: Callable[[UnitOfWork, int], None]
) -> None:
    """A command that changes sites waits for a report over their runs, which ends undisturbed: both come through.

    It has touched no step while it waits, for the report writes steps after its runs.
    """

    def carry_out() -> None:
        with unit_of_work(database, AT, as_coordinator=True) as work:
            command(work, strategy_id)

    with database.write() as connection:
        held = renew(connection, OWNER).held
        commanded = other(carry_out)
        wait_for(lambda: waiting_sessions(database, "transactionid") == 1)
        assert held == _report(connection, sorted(held))
    commanded.result(PATIENCE_S)

    with database.read() as connection:
        assert {3} == {len(held), len(connection.execute(select(runs.c.id).where(runs.c.outcome.is_not(None))).all())}


def test_a_command_that_is_being_carried_out(database: Database, strategy_id: int, other: Submit) -> None:
    """A report that comes while sites are being cancelled waits for that and is taken then."""

    def report() -> frozenset[int]:
        with database.write() as connection:
            return _report(connection, [1, 2, 3])

    with unit_of_work(database, AT, as_coordinator=True) as work:
        cancel_strategy(work, strategy_id, by="alice")
        reported = other(report)
        wait_for(lambda: waiting_sessions(database, "transactionid") == 1)
        cancel_strategy(work, strategy_id, by="alice", grace_s=1.0)

    assert {1, 2, 3} == reported.result(PATIENCE_S)
