"""Claims and results in sets: what they take, and how many statements they send."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Connection, select, update

from db.claims import claim_again, claim_oldest, claim_runs, claim_unread
from db.database import Database
from db.inventory import declare_upgrading
from db.runs import RunResult, finish_runs
from db.schema import runs
from db.unit_of_work import UnitOfWork
from statemachine.states import PLAYBOOK_PHASES, RunOutcome, StepState
from tests.integration.db.db_rows import AT, OWNER, InstallationRows, sent_statements

SET = 20
PRECHECKS = frozenset({StepState.PRECHECK})


@pytest.fixture
def installation(connection: Connection) -> InstallationRows:
    """Forty sites in one stage, their prechecks handed out."""
    installation = InstallationRows(connection)
    installation.add_subclouds(2 * SET)
    installation.add_strategy(dict.fromkeys(range(1, 2 * SET + 1), 1))
    installation.coordinate()
    return installation


def test_a_set_costs_as_many_statements_as_one_run(installation: InstallationRows) -> None:
    """A claim of twenty runs, and the results of them, send as many statements as those of one, of the same texts."""
    first, *others = installation.queued()
    texts = []
    for wanted in ([first], others[:SET]):
        with sent_statements(installation.connection.engine) as sent:
            work = UnitOfWork(installation.connection, AT)
            assert len(wanted) == len(claim_runs(work, wanted, OWNER))
            work.finish()
            finish_runs(installation.connection, [result(run_id) for run_id in wanted], OWNER, AT)
        texts.append([statement for statement, _ in sent])

    assert texts[0] == texts[1]


def result(run_id: int) -> RunResult:
    """Return a result with all that a precheck finds."""
    return RunResult(
        run_id=run_id,
        outcome=RunOutcome.SUCCEEDED,
        details="",
        facts={},
        output=b"zipped",
        from_version="21.12",
        oam_address="10.10.10.12",
        worked_s=2.5,
    )


def test_a_set_takes_what_is_queued(installation: InstallationRows) -> None:
    """Of the runs of a claim those are taken that are queued, each with its own site, in the order of their ids."""
    first, second, third, fourth, *_ = installation.queued()
    installation.claim(second, "worker2/1")
    found = claim_runs(UnitOfWork(installation.connection, AT), [fourth, second, first, third, 999_999], OWNER)

    assert [(first, 1, "site1"), (third, 3, "site3"), (fourth, 4, "site4")] == [
        (one.run_id, one.step_id, one.subcloud["name"]) for one in found
    ]
    assert "worker2/1" == installation.run(second).owner


def test_the_oldest_come_first(installation: InstallationRows) -> None:
    """A look claims the oldest queued runs of its phases, no more than it asks for."""
    work = UnitOfWork(installation.connection, AT)
    waiting = installation.queued()

    assert [] == claim_oldest(work, PLAYBOOK_PHASES, 5, OWNER)
    assert waiting[:5] == [one.run_id for one in claim_oldest(work, PRECHECKS, 5, OWNER)]
    assert waiting[5:] == [one.run_id for one in claim_oldest(work, PRECHECKS, 100, OWNER)]
    assert [] == claim_oldest(work, PRECHECKS, 5, OWNER)


def test_a_claim_is_found_again_by_its_moment(installation: InstallationRows) -> None:
    """What a claim has taken is found by its worker and its moment, and nothing that another claim has taken."""
    first, second, third, *_ = installation.queued()
    later = AT + timedelta(microseconds=1)
    claim_runs(UnitOfWork(installation.connection, AT), [first, second], OWNER)
    claim_runs(UnitOfWork(installation.connection, later), [third], OWNER)

    found = claim_again(UnitOfWork(installation.connection, AT), OWNER)

    assert [first, second] == [one.run_id for one in found]
    assert [] == claim_again(UnitOfWork(installation.connection, AT), "worker2/1")


def test_a_claim_knows_the_declared_upgrade(installation: InstallationRows) -> None:
    """Whether the system controller is declared busy upgrading comes with the claim."""
    first, second, *_ = installation.queued()
    before = claim_runs(UnitOfWork(installation.connection, AT), [first], OWNER)
    declare_upgrading(installation.connection, upgrading=True)
    after = claim_runs(UnitOfWork(installation.connection, AT), [second], OWNER)
    declare_upgrading(installation.connection, upgrading=False)

    assert [False, True] == [one.controller_upgrading for one in (*before, *after)]


def test_a_run_is_claimed_unread_once(installation: InstallationRows) -> None:
    """A run whose rows cannot be read is claimed to be reported, once."""
    work, run_id = UnitOfWork(installation.connection, AT), installation.queued()[0]

    assert [True, False] == [claim_unread(work, run_id, OWNER) for _ in range(2)]


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_a_claim_waits_for_no_other(database: Database) -> None:
    """Runs that another transaction holds are passed over at once, and the others are claimed."""
    with database.write() as connection:
        installation = InstallationRows(connection)
        installation.add_subclouds(3)
        installation.add_strategy({1: 1, 2: 1, 3: 1})
        installation.coordinate()
        first, second, third = installation.queued()
    with database.write() as other, database.write() as connection:
        other.execute(update(runs).where(runs.c.id == second).values(cancel_requested=True))
        work = UnitOfWork(connection, AT)

        assert [first] == [one.run_id for one in claim_runs(work, [first, second], OWNER)]
        assert [third] == [one.run_id for one in claim_oldest(work, PRECHECKS, 10, OWNER)]
    with database.read() as connection:
        assert [second] == list(connection.execute(select(runs.c.id).where(runs.c.state == "queued")).scalars())
