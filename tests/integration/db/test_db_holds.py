"""Holds and requests to cancel in a database: the rows that they change, and those that they leave alone."""

from __future__ import annotations

import pytest
from sqlalchemy import Row, select, update

from db.database import Database
from db.holds import request_cancel
from db.schema import holds, preparations, runs, steps, strategies
from db.unit_of_work import UnitOfWork
from statemachine.actions import EndHolds, OpenHold, RepeatPreparation, RequestCancel, WithdrawRuns
from statemachine.rollout import HoldKind, HoldScope
from statemachine.states import RunOutcome, StepState
from tests.integration.db.db_rows import AT, InstallationRows, sent_statements

PAUSED = "more sites failed than the budget allows"


def budget_hold(strategy_id: int, **changes: object) -> OpenHold:
    """Return an action that holds the start of sites."""
    given = {"kind": HoldKind.BUDGET, "scope": HoldScope.STARTS, "reason": PAUSED, **changes}
    return OpenHold(strategy_id=strategy_id, **given)  # type: ignore[arg-type]


def all_holds(installation: InstallationRows) -> list[Row[tuple[object, ...]]]:
    """Return every hold in the order of ids."""
    return list(installation.connection.execute(select(holds).order_by(holds.c.id)))


def runs_of_steps(installation: InstallationRows) -> list[tuple[str, bool]]:
    """Return the state of each step and whether it has a run, by the ids of steps."""
    query = select(steps.c.state, steps.c.run_id).order_by(steps.c.id)
    return [(row.state, row.run_id is not None) for row in installation.connection.execute(query)]


@pytest.fixture
def strategy_id(installation: InstallationRows) -> int:
    """A strategy of three sites: one in its packages phase, one whose precheck runs, one handed out."""
    strategy_id = installation.add_strategy({1: 1, 2: 1, 3: 1})
    installation.coordinate()
    first, second, _third = installation.queued()
    installation.work(first)
    installation.work(installation.step(1).run_id or preparation_run(installation))
    assert installation.claim(second)
    return strategy_id


def preparation_run(installation: InstallationRows) -> int:
    """Return the run of the only preparation."""
    return int(installation.connection.execute(select(preparations.c.run_id)).scalar_one())


def test_a_hold_of_starts_withdraws_what_is_handed_out(installation: InstallationRows, strategy_id: int) -> None:
    """A hold of starts takes back the queued prechecks; started sites keep their runs."""
    installation.carry_out(budget_hold(strategy_id))

    assert runs_of_steps(installation) == [
        ("prestaging-packages", True),
        ("prestage-precheck", True),
        ("initial", False),
    ]
    withdrawn = installation.connection.execute(select(runs).where(runs.c.outcome == "withdrawn")).one()
    assert (installation.step(3).id, "finished", True) == (withdrawn.step_id, withdrawn.state, withdrawn.consumed)
    (hold,) = all_holds(installation)
    assert ("budget", "starts", PAUSED, "", None) == (hold.kind, hold.scope, hold.reason, hold.by, hold.ended_at)
    assert installation.told()[-1] == ("strategy.hold.opened", f"strategy/{strategy_id}")


def test_a_hold_of_phases_withdraws_later_phases_too(installation: InstallationRows, strategy_id: int) -> None:
    """A hold of phases takes back every queued run of the strategy's sites, and none that a worker has claimed."""
    installation.carry_out(budget_hold(strategy_id, scope=HoldScope.PHASES))

    assert runs_of_steps(installation) == [
        ("prestaging-packages", False),
        ("prestage-precheck", True),
        ("initial", False),
    ]


def test_a_hold_covers_the_stages_after_one(installation: InstallationRows) -> None:
    """A hold after a stage leaves that stage alone."""
    strategy_id = installation.add_strategy({1: 1, 2: 2})
    installation.coordinate()
    installation.carry_out(budget_hold(strategy_id, stage=1))

    assert len(installation.queued()) == 1


def test_one_hold_of_a_kind_and_cover(installation: InstallationRows, strategy_id: int) -> None:
    """A hold that is open already is not opened twice; a wider scope widens it, a narrower one does not narrow it."""
    installation.carry_out(budget_hold(strategy_id))
    told = len(installation.told())
    installation.carry_out(budget_hold(strategy_id, reason="again"))
    assert (1, told) == (len(all_holds(installation)), len(installation.told()))

    installation.carry_out(budget_hold(strategy_id, scope=HoldScope.PHASES))
    installation.carry_out(budget_hold(strategy_id))

    assert [("phases", PAUSED)] == [(hold.scope, hold.reason) for hold in all_holds(installation)]
    assert installation.told()[told:] == [("strategy.hold.opened", f"strategy/{strategy_id}")]


def test_holds_end_together(installation: InstallationRows, strategy_id: int) -> None:
    """The end of a strategy ends all its holds, each with an event; a repeat ends none."""
    installation.carry_out(budget_hold(strategy_id), budget_hold(strategy_id, stage=1))
    told = len(installation.told())
    installation.carry_out(EndHolds(strategy_id=strategy_id))
    installation.carry_out(EndHolds(strategy_id=strategy_id))

    assert all(hold.ended_at is not None and hold.ended_at >= hold.since for hold in all_holds(installation))
    assert installation.told()[told:] == [("strategy.hold.ended", f"strategy/{strategy_id}")] * 2


def test_only_queued_runs_are_withdrawn(installation: InstallationRows, strategy_id: int) -> None:
    """Of the runs that a plan names those are withdrawn that no worker has claimed since."""
    found = installation.connection.execute(select(steps.c.run_id).order_by(steps.c.id)).scalars()
    installation.carry_out(WithdrawRuns(run_ids=tuple(found)))

    assert [True, False] == [with_run for _state, with_run in runs_of_steps(installation)][1:]
    del strategy_id


def test_a_cancel_marks_what_has_started(installation: InstallationRows, strategy_id: int) -> None:
    """A cancel marks started sites and their running runs, withdraws queued ones, and hints at it to the workers."""
    installation.carry_out(RequestCancel(strategy_id=strategy_id, requested_by="the limit"))

    marked = installation.connection.execute(select(steps.c.cancel_requested_by).order_by(steps.c.id)).scalars()
    assert ["the limit", "the limit", None] == list(marked)
    assert [installation.step(2).run_id] == list(
        installation.connection.execute(select(runs.c.id).where(runs.c.cancel_requested)).scalars()
    )
    assert installation.step(1).run_id is None
    assert ("cancel_runs", None) in installation.calls()


@pytest.mark.parametrize("another_waits", [False, True])
def test_a_preparation_is_cancelled_when_none_waits(installation: InstallationRows, another_waits: bool) -> None:
    """A running preparation is cancelled only when no site waits for it but those that are cancelled."""
    installation.add_strategy({1: 1, 2: 1})
    installation.coordinate()
    for run_id in installation.queued():
        installation.claim(run_id)
        installation.finish(run_id, from_version="21.12")
    installation.coordinate()
    run_id = preparation_run(installation)
    installation.claim(run_id)
    work = UnitOfWork(installation.connection, AT)
    request_cancel(work, steps.c.subcloud_id <= (1 if another_waits else 2), by="alice")

    assert installation.run(run_id).cancel_requested is not another_waits


@pytest.mark.parametrize("outcome", [RunOutcome.LOST, RunOutcome.DRAINED])
def test_a_lost_preparation_is_cancelled(installation: InstallationRows, outcome: RunOutcome) -> None:
    """A preparation whose run was lost before a cancel, and in no plan since, is not made for nobody."""
    run_id = claimed_preparation(installation)
    assert installation.finish(run_id, outcome)
    work = UnitOfWork(installation.connection, AT)
    request_cancel(work, steps.c.subcloud_id == 1, by="alice")
    work.finish()
    installation.coordinate()

    assert ["void"] == [one.state for one in installation.preparations()]
    assert ([], []) == (installation.queued(), installation.running())
    assert ["aborted"] == installation.states()


def test_a_preparation_that_has_succeeded_counts(installation: InstallationRows) -> None:
    """A preparation that succeeded before a cancel is complete, however late the plan sees it."""
    run_id = claimed_preparation(installation)
    assert installation.finish(run_id)
    work = UnitOfWork(installation.connection, AT)
    request_cancel(work, steps.c.subcloud_id == 1, by="alice")
    work.finish()
    installation.coordinate()

    assert ["complete"] == [one.state for one in installation.preparations()]


def test_a_plan_cancels_what_it_tries_again(installation: InstallationRows) -> None:
    """A plan that finds a lost preparation and a time limit that cancels marks the run that it dispatches."""
    run_id = claimed_preparation(installation)
    assert installation.finish(run_id, RunOutcome.LOST)
    installation.connection.execute(
        update(strategies).values(applied_at=AT, rollout={"timeouts": {"strategy-s": 1, "on-strategy-limit": "cancel"}})
    )
    installation.coordinate()

    (again,) = installation.queued()
    assert installation.run(again).cancel_requested


def claimed_preparation(installation: InstallationRows) -> int:
    """Return the running preparation of a strategy over one site."""
    installation.add_strategy({1: 1})
    installation.coordinate()
    installation.work(installation.queued()[0])
    run_id = preparation_run(installation)
    assert installation.claim(run_id)
    return run_id


def test_a_void_preparation_begins_another_round(installation: InstallationRows) -> None:
    """A preparation whose result does not count is run again from its first attempt, as its next round."""
    installation.add_strategy({1: 1})
    installation.coordinate()
    installation.work(installation.queued()[0])
    before = preparation_run(installation)
    installation.connection.execute(update(preparations).values(state="void"))
    (preparation_id,) = installation.connection.execute(select(preparations.c.id)).scalars()
    installation.carry_out(RepeatPreparation(preparation_id=preparation_id, phase=StepState.PREPARE))

    row = installation.connection.execute(select(preparations)).one()
    assert ("running", 2, "", None) == (row.state, row.round, row.details, row.finished_at)
    assert row.run_id > before
    assert ("queued", 1) == (installation.run(row.run_id).state, installation.run(row.run_id).attempt)


def test_statements_of_a_hold_do_not_grow(database: Database) -> None:
    """A hold over 500 handed-out sites takes as many statements as one over a single site."""
    counts = []
    for sites in (1, 500):
        with database.write() as connection:
            installation = InstallationRows(connection)
            installation.add_subclouds(sites)
            strategy_id = installation.add_strategy(dict.fromkeys(range(1, sites + 1), 1))
            installation.coordinate()
            with sent_statements(database.writer_engine) as sent:
                installation.carry_out(budget_hold(strategy_id))
            counts.append(len(sent))
            assert not installation.queued()
            connection.rollback()

    assert counts[0] == counts[1]


def test_two_sites_that_end_at_once(installation: InstallationRows) -> None:
    """Cancelled sites whose runs have ended are aborted in one plan, however many they are."""
    installation.add_strategy({1: 1, 2: 1})
    installation.coordinate()
    for run_id in installation.queued():
        assert installation.claim(run_id)
    work = UnitOfWork(installation.connection, AT)
    request_cancel(work, steps.c.id.is_not(None), by="alice")
    work.finish()
    for run_id in installation.running():
        assert installation.finish(run_id, RunOutcome.CANCELLED)

    installation.coordinate()

    assert ["aborted", "aborted"] == installation.states()
    assert installation.strategy_state() == "aborted"


@pytest.mark.parametrize("outcome", [RunOutcome.CANCELLED, RunOutcome.LOST])
def test_preparation_of_a_step_that_has_ended(installation: InstallationRows, outcome: RunOutcome) -> None:
    """The preparation of a cancelled site that prestaged alone ends with its run, which is not tried again."""
    step_id = installation.add_standalone(1)
    installation.coordinate()
    installation.work(*installation.queued())
    (run_id,) = installation.queued()
    assert installation.claim(run_id)
    work = UnitOfWork(installation.connection, AT)
    request_cancel(work, steps.c.id == step_id, by="alice")
    work.finish()
    installation.coordinate()
    assert ["aborted"] == installation.states()

    assert installation.finish(run_id, outcome)
    installation.coordinate()

    assert ["void"] == [one.state for one in installation.preparations()]
    assert ([], []) == (installation.queued(), installation.running())
    assert installation.run(run_id).consumed
