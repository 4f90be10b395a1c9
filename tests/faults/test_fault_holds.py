"""Holds, resumes and cancels at random moments while API, coordinator, worker and broker are killed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import cycle
from threading import Event
from typing import Any, Final
from urllib.error import URLError

import pytest
from sqlalchemy import select

from db.schema import holds, runs, steps
from statemachine.rollout import HoldKind, HoldScope
from statemachine.states import RunState
from tests.faults.fault_checks import violations
from tests.faults.fault_installation import STRATEGY, FaultInstallation, NewInstallation, scaled, seeded
from tests.support.installation_processes import START_S
from tests.support.rabbitmq_server import StrictRabbitmq
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

SITES = scaled(3, 10)
WIDTH = scaled(2, 3)
ROUNDS = scaled(1, 12)
# Of a playbook at its site, in seconds.
WORK_S = scaled(0.2, 0.5)
# Of the times that go by at random: most of the short form is starts of processes.
REST_PART = scaled(0.4, 1.0)
BROKER: Final = "broker"
VICTIMS: Final = ("api", "coordinator", "worker-a", BROKER)
ONE_SITE: Final = "one site"
# A preparation may still be stopped when the strategy has ended, in seconds.
REST_S: Final = 45.0

Row = Mapping[str, Any]


class Hurt:
    """An installation with a strategy, and the dice that say what is killed and when."""

    def __init__(self, installation: FaultInstallation, rabbitmq: StrictRabbitmq) -> None:
        self.installation = installation
        self.random = seeded()
        self.story: list[str] = []
        self._rabbitmq = rabbitmq
        victims = list(VICTIMS)
        self.random.shuffle(victims)
        self._victims = cycle(victims)

    def rest(self, longest_s: float) -> None:
        """Let a random time go by, in the short form a shorter one."""
        Event().wait(self.random.uniform(0.0, longest_s * REST_PART))

    def ask(self, method: str, path: str, body: Row) -> Any:
        """Give a command until it is carried out, over all that is down; None: the strategy had ended before."""
        answers: list[Any] = []

        def is_answered() -> bool:
            try:
                status, answer = self.installation.api.ask(method, f"{STRATEGY}{path}", dict(body))
            except (URLError, ConnectionError, TimeoutError):
                return False
            assert status in {200, 422, 503, 504}, answer
            answers.append(answer if status == 200 else None)
            return status == 200 or (status == 422 and self.installation.has_ended())

        wait_for(is_answered, START_S, self.installation.story)
        return answers[-1]

    def kill(self) -> None:
        """Kill the next victim and start it again; returns when it is up."""
        name = next(self._victims)
        self.story.append(name)
        if name == BROKER:
            self._rabbitmq.kill()
            self._rabbitmq.start()
        else:
            self.installation.parts[name].kill()
            self.installation.launch(name)

    def begun(self, scope: str) -> set[tuple[str, int]]:
        """Return what a hold keeps from growing: claimed runs, or of a hold of starts the sites that have any."""
        query = select(steps.c.subcloud_name, runs.c.id, runs.c.phase).join(steps, steps.c.id == runs.c.step_id)
        claimed = self.installation.rows(query.where(runs.c.started_at.is_not(None)))
        if scope == HoldScope.STARTS:
            return {(row.subcloud_name, 0) for row in claimed}
        return {(row.subcloud_name, row.id) for row in claimed if scope in {HoldScope.PHASES, row.subcloud_name}}

    def check_width(self) -> None:
        """Hold the runs of sites to the width of the window."""
        going_on = select(runs.c.id).where(
            runs.c.step_id.is_not(None), runs.c.state.in_((RunState.QUEUED, RunState.RUNNING))
        )
        assert len(self.installation.rows(going_on)) <= WIDTH

    def hold(self, kind: str) -> tuple[str, tuple[str, str, Row]]:
        """Hold the strategy or a site; return what is held and the request that ends it."""
        if kind == ONE_SITE:
            site = f"site{self.random.randrange(SITES)}"
            self.ask("PATCH", f"/steps/{site}", {"held": True})
            return site, ("PATCH", f"/steps/{site}", {"held": False})
        self.ask("POST", "/actions", {"action": "pause", "scope": kind})
        return kind, ("POST", "/actions", {"action": "resume"})


def test_a_held_strategy_that_is_hurt(new_installation: NewInstallation, rabbitmq: StrictRabbitmq) -> None:
    """What a hold covers does not begin between its answer and the resume, whatever is killed meanwhile.

    That is each phase of each site, each site that has not started, or one site. Never are more sites at work than the
    window is wide. The strategy ends when nothing holds it any more, or by a cancel, which leaves no process of a
    playbook.
    """
    installation = started(new_installation)
    installation.add_sites(SITES)
    installation.apply_strategy(WIDTH, rollout={"mode": "window"})
    hurt = Hurt(installation, rabbitmq)
    kinds = [*HoldScope, ONE_SITE]
    hurt.random.shuffle(kinds)
    for _, kind in zip(range(ROUNDS), cycle(kinds), strict=False):
        hurt.rest(1.5)
        held, end = hurt.hold(kind)
        before = hurt.begun(held)
        hurt.rest(0.5)
        hurt.kill()
        hurt.rest(1.0)
        assert hurt.begun(held) <= before, f"{held} {hurt.story}"
        hurt.check_width()
        hurt.ask(*end)
        hurt.rest(1.0)
        hurt.check_width()
    if is_cancelled := hurt.random.random() < 0.5:
        hurt.ask("POST", "/actions", {"action": "cancel", "grace-s": 1})
        if hurt.random.random() < 0.5:
            hurt.kill()
    state = installation.wait_for_end()
    sys.stdout.write(f"{kinds[0]} first, killed {' '.join(hurt.story)}; {state}\n")

    assert state in ({"aborted", "complete"} if is_cancelled else {"complete"})
    wait_for(lambda: not violations(installation), REST_S, lambda: str(violations(installation)))
    wait_for(lambda: not any(worker.works() for worker in installation.workers), REST_S)


def test_a_budget_that_is_hurt(new_installation: NewInstallation, rabbitmq: StrictRabbitmq) -> None:
    """A strategy over its failure budget starts no further site, whatever is killed, until failures are allowed.

    Only the site that fails by itself has failed in the end.
    """
    installation = started(new_installation)
    installation.add_broken_site()
    installation.add_sites(SITES)
    hurt = Hurt(installation, rabbitmq)
    installation.apply_strategy(WIDTH, rollout={"mode": "window", "max-failures": 0})
    if hurt.random.random() < 0.5:
        hurt.kill()
    budget = select(holds.c.id).where(holds.c.kind == HoldKind.BUDGET)
    wait_for(lambda: installation.rows(budget), START_S, installation.story)
    before = hurt.begun(HoldScope.STARTS)

    hurt.kill()
    hurt.rest(1.0)

    assert hurt.begun(HoldScope.STARTS) <= before, f"killed {hurt.story}"
    status, refused = installation.api.ask("POST", f"{STRATEGY}/actions", {"action": "resume"})
    assert status == 422, refused
    assert "allow-failures" in refused["description"]
    hurt.ask("POST", "/actions", {"action": "resume", "allow-failures": 0})
    assert "failed" == installation.wait_for_end()
    sys.stdout.write(f"killed {' '.join(hurt.story)}\n")
    ends = {row.subcloud_name: row.state for row in installation.rows(select(steps.c.subcloud_name, steps.c.state))}
    assert {"broken": "failed"} | {f"site{place}": "complete" for place in range(SITES)} == ends
    wait_for(lambda: not violations(installation), REST_S, lambda: str(violations(installation)))


def started(new_installation: NewInstallation) -> FaultInstallation:
    """Start an installation with a slot for each site."""
    installation = new_installation(SLOTS=SITES, seconds=WORK_S)
    installation.launch()
    return installation
