"""Pause, resume and cancel at random moments while coordinator and worker are killed."""

from __future__ import annotations

import sys
from random import Random
from threading import Event

import pytest
from sqlalchemy import select

from db.schema import runs
from statemachine.states import RunState
from tests.faults.fault_checks import violations
from tests.faults.fault_installation import STRATEGY, FaultInstallation, NewInstallation, scaled, seeded
from tests.support.installation_processes import START_S
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

SITES = scaled(3, 8)
WIDTH = scaled(2, 3)
ROUNDS = scaled(1, 8)


def of_sites(installation: FaultInstallation, *states: RunState) -> set[int]:
    """Return the runs of sites in these states."""
    query = select(runs.c.id).where(runs.c.step_id.is_not(None), runs.c.state.in_(states))
    return {row.id for row in installation.rows(query)}


def started(installation: FaultInstallation) -> set[int]:
    """Return the runs of sites that a worker has ever claimed."""
    query = select(runs.c.id).where(runs.c.step_id.is_not(None), runs.c.started_at.is_not(None))
    return {row.id for row in installation.rows(query)}


def act(installation: FaultInstallation, body: dict[str, object]) -> None:
    """Give the strategy a command until it is carried out; one that ended in between takes none."""

    def is_answered() -> bool:
        status, answer = installation.api.ask("POST", f"{STRATEGY}/actions", body)
        assert status in {200, 422, 503, 504}, answer
        return status == 200 or (status == 422 and installation.has_ended())

    wait_for(is_answered, START_S, installation.story)


def kill_one(installation: FaultInstallation, moments: Random) -> str:
    """Kill a coordinator or a worker, and start it again."""
    name = moments.choice([name for name, part in installation.parts.items() if part.kind != "api"])
    installation.parts[name].kill()
    installation.launch(name)
    return name


def test_a_held_strategy_that_is_hurt(new_installation: NewInstallation) -> None:
    """Nothing begins at a site between the answer of a pause and its resume, whatever is killed meanwhile.

    Never are more sites at work than the window is wide. The strategy ends when nothing holds it any more, or by a
    cancel, which leaves no process of a playbook.
    """
    installation = new_installation(SLOTS=SITES)
    installation.launch()
    installation.add_sites(SITES)
    moments = seeded()
    installation.apply_strategy(WIDTH, rollout={"mode": "window"})
    victims = []
    for _ in range(ROUNDS):
        Event().wait(moments.uniform(0.2, 1.5))
        act(installation, {"action": "pause", "scope": "phases"})
        before = started(installation)
        victims.append(kill_one(installation, moments))
        assert before == started(installation)
        assert len(of_sites(installation, RunState.QUEUED, RunState.RUNNING)) <= WIDTH
        act(installation, {"action": "resume"})
        Event().wait(moments.uniform(0.0, 1.0))
        assert len(of_sites(installation, RunState.QUEUED, RunState.RUNNING)) <= WIDTH
    if is_cancelled := moments.random() < 0.5:
        act(installation, {"action": "cancel", "grace-s": 1})
    state = installation.wait_for_end()
    sys.stdout.write(f"killed {' '.join(victims)}; {state}\n")

    assert state in ({"aborted", "complete"} if is_cancelled else {"complete"})
    # A preparation may still be stopped when the strategy has ended.
    wait_for(lambda: not violations(installation), 45.0, lambda: str(violations(installation)))
    assert [] == [worker for worker in installation.workers if worker.works()]
