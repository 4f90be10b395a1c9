"""Steps of tests about holds and cancels: verbs with options, and runs that a worker takes and ends."""

from __future__ import annotations

from typing import Any

from db.claims import claim_runs
from db.runs import RunResult, finish_runs
from db.schema import events, runs, strategies
from db.unit_of_work import unit_of_work
from messages.commands import Answer, Command, CommandType
from statemachine.states import RunOutcome
from tests.support.installation import OWNER, Installation


def verb(installation: Installation, name: str, **data: Any) -> Answer:
    """Send a verb with options and without a password."""
    return installation.execute(Command(type=CommandType(f"strategy.{name}"), data=data, requested_by="alice"))


def applied(installation: Installation, sites: str = "abc", **data: Any) -> None:
    """Apply a strategy over sites, all of them handed out."""
    for name in sites:
        installation.add_site(name)
    installation.create(**{"subcloud-apply-type": "parallel", "max-parallel-subclouds": 10, **data})
    assert installation.verb("apply").status == 200


def take(installation: Installation, run_id: int) -> None:
    """Claim a run."""
    with unit_of_work(installation.database) as work:
        assert claim_runs(work, [run_id], OWNER)


def end(installation: Installation, run_id: int, outcome: RunOutcome = RunOutcome.SUCCEEDED, **values: Any) -> None:
    """Report the end of a run that was claimed, and plan."""
    is_precheck = installation.rows(runs, id=run_id)[0]["phase"] == "prestage-precheck"
    found = {"from_version": "22.12"} if is_precheck and outcome == RunOutcome.SUCCEEDED else {}
    report = RunResult(run_id=run_id, outcome=outcome, **{"details": "", "facts": {}, **found, **values})
    with unit_of_work(installation.database) as work:
        assert finish_runs(work.connection, [report], OWNER, work.at)
    assert installation.coordinator is not None
    installation.coordinator.coordinate()


def state(installation: Installation) -> str:
    """Return the state of the newest strategy."""
    return str(installation.rows(strategies)[-1]["state"])


def told(installation: Installation) -> list[str]:
    """Return the types of the events of the strategy, in order."""
    return [row["type"] for row in installation.rows(events) if row["type"].startswith("strategy.")]
