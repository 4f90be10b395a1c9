"""Problems of a strategy: written as steps fail, counted from an index, gone with the strategy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, text, update

from db.apply_plan import PlanWriter
from db.database import Database
from db.problems import MOST_NAMED, MOST_PROBLEMS, count_problems
from db.runs import RunResult, finish_runs, lose_runs_of
from db.schema import events, problems, runs, steps, strategies, subclouds
from db.unit_of_work import UnitOfWork
from statemachine.actions import ExpireRun
from statemachine.problems import CANCELLED, LOST, failure
from statemachine.states import FailureClass, RunOutcome
from tests.integration.db.db_rows import AT, LIMITS, OWNER, InstallationRows
from tests.support.query_plans import collected_plans

PRECHECK = "prestage-precheck"
BROKEN = failure("cannot write /srv/x on 10.0.0.7", failure_class=FailureClass.SPACE, task="Copy")


def report(run_id: int, **values: Any) -> RunResult:
    """Return the result of a failed run."""
    given = {"outcome": RunOutcome.FAILED, "details": "It broke on site1.", "facts": {}, **values}
    return RunResult(run_id=run_id, **given)


def fail(installation: InstallationRows, run_id: int, **values: Any) -> None:
    """Claim a run, have it fail, and plan on."""
    assert installation.claim(run_id)
    assert finish_runs(installation.connection, [report(run_id, **values)], OWNER, AT)
    installation.coordinate()


def test_a_failed_run_gives_its_problem_to_its_step(installation: InstallationRows) -> None:
    """Run and step have the class and the fingerprint that the worker reported; the event has them too."""
    strategy_id = installation.add_strategy({1: 1})
    installation.coordinate()
    (run_id,) = installation.queued()
    fail(installation, run_id, failure=BROKEN)
    run, step = installation.run(run_id), installation.step(1)
    wanted = BROKEN.problem_id(PRECHECK)

    assert (run.failure_class, run.failure_task, run.failure_text, run.problem) == (
        "space",
        "Copy",
        BROKEN.text,
        wanted,
    )
    assert (step.failure_class, step.problem) == ("space", wanted)
    row = installation.connection.execute(select(problems)).one()
    assert tuple(row) == (strategy_id, wanted, PRECHECK, "space", "Copy", BROKEN.text)
    data = installation.connection.execute(
        select(events.c.data).where(events.c.type == "step.prestage.failed")
    ).scalar_one()
    assert (data["class"], data["problem"]) == ("space", wanted)


def test_the_same_cause_is_one_problem(installation: InstallationRows) -> None:
    """Two sites that fail alike have one problem with one row; another cause has its own."""
    strategy_id = installation.add_strategy({1: 1, 2: 1, 3: 1})
    installation.coordinate()
    for number, run_id in enumerate(installation.queued()):
        fail(installation, run_id, details="cannot read 10.0.0.7" if number < 2 else "cannot write 10.0.0.8")
    found = count_problems(installation.connection, strategy_id)

    assert [(row["text"], row["number"]) for row in found.listed] == [("cannot read *", 2), ("cannot write *", 1)]
    assert found.others == 0
    first = found.sites[found.listed[0]["id"]]
    assert {site["subcloud_name"] for site in first} == {installation.step(one).subcloud_name for one in (1, 2)}
    assert (found.listed[0]["first"], found.listed[0]["last"]) == (AT, AT)


def test_a_worker_of_before_says_it_in_words(installation: InstallationRows) -> None:
    """The step of a failed run without a class gets one by the words of its details, without the site's name."""
    installation.add_strategy({1: 1})
    installation.coordinate()
    (run_id,) = installation.queued()
    assert installation.claim(run_id)
    name = installation.step(1).subcloud_name
    installation.connection.execute(
        update(runs)
        .where(runs.c.id == run_id)
        .values(state="finished", outcome="failed", details=f"No space left on {name}")
    )
    installation.coordinate()

    assert installation.step(1).failure_class == "space"
    assert installation.connection.execute(select(problems.c.text)).scalar_one() == "No space left on *"


@pytest.mark.parametrize("how", ["expired", "restarted"])
def test_a_lost_run_is_of_the_class_lost(installation: InstallationRows, how: str) -> None:
    """A run whose lease is over, or whose worker began anew, is lost by class; the step is once no attempt is left."""
    installation.add_strategy({1: 1})
    installation.coordinate()
    lost = []
    while installation.queued():
        (run_id,) = installation.queued()
        assert installation.claim(run_id)
        if how == "restarted":
            lose_runs_of(installation.connection, OWNER.partition("/")[0], AT)
        else:
            work = UnitOfWork(installation.connection, AT)
            lease = installation.run(run_id).lease_until
            PlanWriter(work).carry_out([ExpireRun(run_id=run_id, lease_until=lease)])
            work.finish()
        lost.append(installation.run(run_id))
        installation.coordinate()

    assert len(lost) == LIMITS.max_attempts
    assert {(run.failure_class, run.problem) for run in lost} == {("lost", LOST.problem_id(PRECHECK))}
    assert (installation.step(1).failure_class, installation.step(1).problem) == ("lost", LOST.problem_id(PRECHECK))


def test_a_failed_preparation_is_one_problem_of_all_its_sites(installation: InstallationRows) -> None:
    """The site that opened the preparation and the others that waited for it have the same problem."""
    strategy_id = installation.add_strategy({1: 1, 2: 1})
    installation.coordinate()
    for run_id in installation.queued():
        installation.work(run_id)
    (run_id,) = installation.queued()
    fail(installation, run_id, failure=BROKEN)
    found = count_problems(installation.connection, strategy_id)

    assert [(row["failure_class"], row["task"], row["number"]) for row in found.listed] == [("prepare", "Copy", 2)]
    assert installation.run(run_id).failure_class == "space"


def test_an_unmanaged_site_is_the_controllers_problem(installation: InstallationRows) -> None:
    """A step that the plan fails by itself has a class and a problem of its first phase."""
    strategy_id = installation.add_strategy({1: 1})
    installation.connection.execute(text("UPDATE subclouds SET management_state = 'unmanaged'"))
    installation.coordinate()
    (row,) = count_problems(installation.connection, strategy_id).listed

    assert (row["failure_class"], row["phase"], row["text"]) == ("controller", PRECHECK, "Subcloud * is unmanaged.")


def test_a_cancelled_step_is_of_the_class_cancelled(installation: InstallationRows) -> None:
    """A step that was stopped on request has the class `cancelled`."""
    installation.add_strategy({1: 1})
    installation.coordinate()
    (run_id,) = installation.queued()
    assert installation.claim(run_id)
    finish_runs(installation.connection, [report(run_id, outcome=RunOutcome.CANCELLED)], OWNER, AT)
    installation.coordinate()
    step = installation.step(1)

    assert (step.outcome, step.failure_class, step.problem) == (
        "cancelled",
        "cancelled",
        CANCELLED.problem_id(PRECHECK),
    )
    assert installation.run(run_id).failure_class == "cancelled"


@pytest.mark.parametrize("outcome", [RunOutcome.SUCCEEDED, RunOutcome.SKIPPED, RunOutcome.DRAINED])
def test_what_is_no_failure_has_no_problem(installation: InstallationRows, outcome: RunOutcome) -> None:
    """A run that succeeded, skipped its site or was handed over has neither class nor problem, nor has its step."""
    installation.add_strategy({1: 1})
    installation.coordinate()
    (run_id,) = installation.queued()
    fail(installation, run_id, outcome=outcome, from_version="21.12", failure=BROKEN)

    assert (installation.run(run_id).failure_class, installation.run(run_id).problem) == (None, None)
    assert (installation.step(1).failure_class, installation.step(1).problem) == (None, None)


def test_a_step_without_a_strategy_has_a_problem_too(installation: InstallationRows) -> None:
    """A standalone prestage that fails has class and fingerprint; no strategy lists it."""
    installation.add_standalone(1)
    installation.coordinate()
    (run_id,) = installation.queued()
    fail(installation, run_id, failure=BROKEN)

    assert installation.step(1).problem == BROKEN.problem_id(PRECHECK)
    assert installation.connection.execute(select(problems)).all() == []


def test_problems_go_with_their_strategy(installation: InstallationRows) -> None:
    """When a strategy leaves the history its problems go too."""
    strategy_id = installation.add_strategy({1: 1})
    installation.coordinate()
    fail(installation, installation.queued()[0], failure=BROKEN)
    installation.connection.execute(delete(strategies).where(strategies.c.id == strategy_id))

    assert installation.connection.execute(select(problems)).all() == []


SITES = 5000
FAILED = 500
CAUSES = 60
STRATEGIES = 3


def many_failures(database: Database) -> int:
    """Add strategies over 5,000 sites of which every tenth failed, for 60 reasons; return the id of the active one."""
    with database.write() as connection:
        for strategy_id in range(1, STRATEGIES + 1):
            connection.execute(
                insert(strategies).values(
                    id=strategy_id,
                    type="prestage",
                    stop_on_failure=False,
                    force=False,
                    release="22.12",
                    for_sw_deploy=False,
                    state="failed",
                    excluded=[],
                    created_at=AT,
                    deleted_at=AT if strategy_id < STRATEGIES else None,
                )
            )
            whys = [failure(f"cause {'x' * number}") for number in range(CAUSES)]
            ids = [why.problem_id(PRECHECK) for why in whys]
            connection.execute(
                insert(problems),
                [
                    {
                        "strategy_id": strategy_id,
                        "id": one,
                        "phase": PRECHECK,
                        "failure_class": why.failure_class,
                        "task": "",
                        "text": why.text,
                    }
                    for one, why in zip(ids, whys, strict=True)
                ],
            )
            connection.execute(
                insert(steps),
                [
                    {
                        "strategy_id": strategy_id,
                        "subcloud_name": f"site{number:05}",
                        "stage": 1,
                        "state": "failed" if number < FAILED else "complete",
                        "outcome": "failed" if number < FAILED else "complete",
                        "details": "It broke. " * 20,
                        "release": "22.12",
                        "force": False,
                        "for_sw_deploy": False,
                        "version": 1,
                        "created_at": AT,
                        "finished_at": AT + timedelta(seconds=number),
                        # More sites for the causes with a lower number.
                        "problem": ids[min(number % CAUSES, number // 7)] if number < FAILED else None,
                        "failure_class": "playbook" if number < FAILED else None,
                    }
                    for number in range(SITES)
                ],
            )
    return STRATEGIES


def test_the_most_frequent_come_first(database: Database) -> None:
    """Problems are ordered by how many sites have them; of each the newest ten sites are named."""
    strategy_id = many_failures(database)
    with database.read() as connection:
        found = count_problems(connection, strategy_id)
    numbers = [row["number"] for row in found.listed]

    assert numbers == sorted(numbers, reverse=True)
    assert sum(numbers) + found.others == FAILED
    for row in found.listed:
        sites = found.sites[row["id"]]
        assert len(sites) == min(MOST_NAMED, row["number"])
        moments = [site["finished_at"] for site in sites]
        assert moments == sorted(moments, reverse=True)
        assert moments[0] == row["last"]


def test_rare_problems_are_counted_together(installation: InstallationRows) -> None:
    """Of more than fifty problems the rest is one number."""
    installation.connection.execute(delete(subclouds))
    installation.add_subclouds(MOST_PROBLEMS + 3)
    strategy_id = installation.add_strategy(dict.fromkeys(range(1, MOST_PROBLEMS + 4), 1))
    installation.coordinate()
    for number, run_id in enumerate(installation.queued()):
        assert installation.claim(run_id)
        finish_runs(installation.connection, [report(run_id, details=f"cause {'x' * number}")], OWNER, AT)
    installation.coordinate()
    found = count_problems(installation.connection, strategy_id)

    assert (len(found.listed), found.others) == (MOST_PROBLEMS, 3)


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
@pytest.mark.parametrize("analysed", [False, True])
def test_problems_are_counted_from_their_index(new_database_url: Callable[..., str], *, analysed: bool) -> None:
    """PostgreSQL reads steps by the index of problems alone, those that failed once, and no table as a whole."""
    database = Database(new_database_url())
    try:
        strategy_id = many_failures(database)
        if analysed:
            with database.write() as connection:
                connection.execute(text("ANALYZE"))
        with collected_plans(database.engines) as collected, database.write() as connection:
            count_problems(connection, strategy_id)
            plans = collected.take()
        told = "\n".join(plan.explained() for plan in plans)
        nodes = [node for plan in plans for node in plan.nodes]
        scanned = [node for node in nodes if node["Node Type"] == "Seq Scan" and node["Relation Name"] == "steps"]
        indexes = {node["Index Name"] for node in nodes if "steps" in node.get("Index Name", "")}

        assert scanned == [], told
        assert indexes == {"ix_steps_problem"}, told
        assert sum(plan.rows for plan in plans) <= SITES + 100 * MOST_PROBLEMS, told
    finally:
        database.close()
