"""Each cell of the table in docs/holds.md: what a command or a fault does while a strategy is held."""

from __future__ import annotations

from typing import Any

import pytest

from actors.coordinator.context import CoordinatorRules
from actors.coordinator.coordinator import Coordinator
from db.schema import holds, runs, steps
from messages.commands import Command, CommandType
from sites.inspector import DeclaredInspector
from statemachine.states import RunOutcome
from tests.integration.actors.held_installation import applied, end, state, take, verb
from tests.integration.actors.test_rollout_stages import finish, staged
from tests.integration.actors.test_stage_gates import decide, pass_time
from tests.support.installation import Installation

STAGES: dict[str, dict[str, Any]] = {
    "stage-budget": {"max-failures": 0},
    "soak": {"soak-s": 600},
    "gate": {"gate": "approval"},
}
BETWEEN = ("soak", "gate")
SITUATIONS = ("starts", "phases", "budget", "prepare", "site", *STAGES)
# Those in which a site has failed.
FAILED = ("budget", "stage-budget")
in_each_situation = pytest.mark.parametrize("situation", SITUATIONS)


def bring(installation: Installation, situation: str, canary: RunOutcome = RunOutcome.SUCCEEDED) -> None:
    """Hold a strategy over `abcd`; the precheck of `a` runs, but where its preparation or its stage has ended.

    With stages `a` and `b` are the first; between two of them `a` has succeeded, and `b` has ended with an outcome.
    """
    if situation in STAGES:
        applied(installation, "abcd", rollout=staged({"name": "canary", "count": 2, **STAGES[situation]}))
    else:
        applied(installation, "abcd", rollout={"max-failures": 0, "on-prepare-failure": "pause"})
    if situation in BETWEEN:
        finish(installation)
        finish(installation, canary)
    else:
        _hold(installation, situation)
    assert 1 == len(open_holds(installation))


def _hold(installation: Installation, situation: str) -> None:
    """Have the hold of a situation made while the precheck of `a` runs."""
    first, *_others, last = installation.queued()
    take(installation, first)
    if situation in ("starts", "phases"):
        verb(installation, "pause", scope=situation)
    elif situation in FAILED:
        take(installation, last)
        end(installation, last, RunOutcome.FAILED, details="no")
    elif situation == "prepare":
        end(installation, first)
        (prepare,) = installation.rows(runs, state="queued", phase="prestage-prepare")
        take(installation, prepare["id"])
        end(installation, prepare["id"], RunOutcome.FAILED, details="no feed")
    else:
        hold = Command(type=CommandType.STEP_HOLD, subject="b", data={"held": True}, requested_by="alice")
        assert installation.execute(hold).status == 200


def open_holds(installation: Installation) -> list[int]:
    """Return the ids of the open holds."""
    return [row["id"] for row in installation.rows(holds) if row["ended_at"] is None]


def release(installation: Installation, situation: str) -> None:
    """End the hold as an operator does."""
    if situation == "site":
        command = Command(type=CommandType.STEP_HOLD, subject="b", data={"held": False})
        assert installation.execute(command).status == 200
    elif situation == "soak":
        pass_time(installation)
    elif situation == "gate":
        assert decide(installation).status == 200
    else:
        allowed = {"allow-failures": 9} if situation in (*FAILED, "prepare") else {}
        assert verb(installation, "resume", **allowed).status == 200


def finish_all(installation: Installation) -> None:
    """Let every run succeed until there is none."""
    for _round in range(30):
        for row in [*installation.rows(runs, state="running"), *installation.rows(runs, state="queued")]:
            if row["state"] == "queued":
                take(installation, row["id"])
            end(installation, row["id"])
        if not installation.queued():
            return
    raise AssertionError("the strategy does not come to an end")


@in_each_situation
def test_abort(installation: Installation, situation: str) -> None:
    """An abort is legal whatever is held: holds end, sites that have not started are aborted, the others go on."""
    bring(installation, situation)

    assert 200 == installation.verb("abort").status
    assert [] == open_holds(installation)
    finish_all(installation)

    assert state(installation) == ("failed" if situation in (*FAILED, "prepare") else "aborted")
    assert all(row["finished_at"] is not None for row in installation.rows(steps))


@in_each_situation
def test_cancel(installation: Installation, situation: str) -> None:
    """A cancel is legal too: sites without a running playbook end at once, the others when they were stopped."""
    bring(installation, situation)

    assert 200 == verb(installation, "cancel").status
    for row in installation.rows(runs, state="running"):
        assert row["cancel_requested"]
        end(installation, row["id"], RunOutcome.CANCELLED)

    assert state(installation) == ("failed" if situation in FAILED else "aborted")
    assert [] == open_holds(installation)


@in_each_situation
def test_delete(installation: Installation, situation: str) -> None:
    """A held strategy keeps the one slot: it cannot be deleted, and no other one is created."""
    bring(installation, situation)

    assert 422 == installation.verb("delete").status
    assert "already exists" in installation.create().detail


@in_each_situation
def test_unmanage(installation: Installation, situation: str) -> None:
    """A site that is unmanaged while it is held fails when it is to start."""
    bring(installation, situation)
    if situation in ("prepare", "site"):
        # Only its own hold keeps a site of these from having started.
        installation.execute(Command(type=CommandType.STEP_HOLD, subject="c", data={"held": True}))
    change = {"management-state": "unmanaged"}
    assert 200 == installation.ask(CommandType.SUBCLOUD_UPDATE, subject="c", **change).status

    installation.execute(Command(type=CommandType.STEP_HOLD, subject="c", data={"held": False}))
    release(installation, situation)
    if situation == "stage-budget":
        # The site that goes on keeps its stage open.
        assert "initial" == installation.step("c")["state"]
        finish_all(installation)

    assert "failed" == installation.step("c")["state"]


@in_each_situation
def test_a_prestage_by_itself(installation: Installation, situation: str) -> None:
    """A site outside of the strategy is prestaged by itself, whatever is held."""
    bring(installation, situation)
    installation.add_site("z")

    assert 200 == installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="z").status

    assert installation.step("z")["run_id"] in installation.queued()


@in_each_situation
def test_a_lost_worker(installation: Installation, situation: str) -> None:
    """A run whose worker is lost is run again, under a hold of phases not before it ends; the attempt counts.

    Between two stages only a site that is retried has a run.
    """
    bring(installation, situation, RunOutcome.FAILED)
    if situation in BETWEEN:
        assert 200 == installation.ask(CommandType.STEP_RETRY, subject="b").status
        take(installation, installation.queued()[0])
    lost = [row["id"] for row in installation.rows(runs, state="running")]
    for run_id in lost:
        end(installation, run_id, RunOutcome.LOST)
    again = [row["attempt"] for row in installation.rows(runs, state="queued") if row["attempt"] == 2]
    assert len(again) == (0 if situation == "phases" else len(lost))

    release(installation, situation)

    again = [row["attempt"] for row in installation.rows(runs, state="queued") if row["attempt"] == 2]
    assert len(again) == len(lost)


@in_each_situation
def test_a_new_coordinator(installation: Installation, situation: str) -> None:
    """A coordinator that starts anew finds the hold in the rows: it hands nothing out and ends nothing."""
    bring(installation, situation)
    before = installation.queued(), open_holds(installation), installation.rows(steps)

    Coordinator(installation.database, DeclaredInspector(), CoordinatorRules(release="23.09")).coordinate()

    assert before == (installation.queued(), open_holds(installation), installation.rows(steps))


@in_each_situation
def test_a_pause(installation: Installation, situation: str) -> None:
    """A pause is legal beside every other hold; its resume ends what a resume ends, and leaves the others."""
    bring(installation, situation)

    assert 200 == verb(installation, "pause", scope="phases").status
    kinds = [row["kind"] for row in installation.rows(holds) if row["ended_at"] is None]
    assert ("operator" in kinds, len(kinds)) == (True, 1 if situation in ("starts", "phases") else 2)
    before = installation.queued()
    assert 200 == verb(installation, "resume", **({"allow-failures": 9} if situation in FAILED else {})).status

    left = [row["kind"] for row in installation.rows(holds) if row["ended_at"] is None]
    assert left == {"site": ["operator"], "soak": ["soak"], "gate": ["gate"]}.get(situation, [])
    assert not before


@in_each_situation
def test_the_end(installation: Installation, situation: str) -> None:
    """Every strategy ends once its hold is gone, and no hold is left."""
    bring(installation, situation)
    release(installation, situation)
    finish_all(installation)

    assert state(installation) == ("failed" if situation in FAILED else "complete")
    assert [] == open_holds(installation)
