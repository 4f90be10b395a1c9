from __future__ import annotations

from random import Random
from typing import Any

import pytest
from sqlalchemy import Connection, select, update

from db.load_snapshot import database_time, load_all_open, load_snapshot
from db.runs import hand_back, lose_runs_of, renew
from db.schema import steps, strategies, strategy_is_active, subclouds
from statemachine.plan import plan
from statemachine.states import RunOutcome
from tests.integration.db.db_rows import AT, LIMITS, InstallationRows

SITES = 9
OPERATIONS = 45


class Dice:
    """A random history of one installation, through the functions that the processes use."""

    def __init__(self, connection: Connection, seed: int) -> None:
        self.installation = InstallationRows(connection)
        self.random = Random(seed)
        self.installation.add_subclouds(SITES)
        self.create()

    def happen(self) -> None:
        """Let one thing happen."""
        operations = [self.coordinate, self.coordinate, self.claim, self.claim, self.claim, self.finish, self.finish]
        operations += [self.finish, self.lose, self.renew, self.command, self.standalone, self.manage]
        self.random.choice(operations)()

    def create(self) -> None:
        """Create a strategy over most of the sites, two or three to a stage."""
        width = self.random.choice([2, 3])
        stages = {one: 1 + place // width for place, one in enumerate(range(1, SITES - 1))}
        state = self.random.choice(["initial", "applying", "applying", "applying"])
        self.installation.add_strategy(stages, state=state, stop=self.random.random() < 0.5)

    def coordinate(self) -> None:
        self.installation.coordinate(later_s=self.random.choice([0.0, 0.0, 0.0, 50.0, 100.0]))

    def claim(self) -> None:
        for run_id in self._some(self.installation.queued()):
            self.installation.claim(run_id, self._owner())

    def finish(self) -> None:
        for run_id in self._some(self.installation.running()):
            run = self.installation.run(run_id)
            precheck = run.phase == "prestage-precheck"
            outcome = self.random.choice(
                [RunOutcome.SUCCEEDED] * 5
                + [RunOutcome.FAILED, RunOutcome.LOST, RunOutcome.SKIPPED if precheck else RunOutcome.LOST]
            )
            passed = precheck and outcome == RunOutcome.SUCCEEDED
            version = self.random.choice(["21.12", "22.06", "22.12"]) if passed else None
            self.installation.finish(run_id, outcome, "it broke", owner=run.owner, from_version=version)

    def lose(self) -> None:
        if self.random.random() < 0.5:
            lose_runs_of(self.installation.connection, self._owner().split("/")[0], AT)
        for run_id in self._some(self.installation.running())[:1]:
            hand_back(self.installation.connection, run_id, self.installation.run(run_id).owner)

    def renew(self) -> None:
        renew(self.installation.connection, self._owner())

    def command(self) -> None:
        state = self.installation.strategy_state()
        if state is None:
            self.create()
        elif state == "initial":
            self.installation.set_strategy("applying")
        elif state == "applying" and self.random.random() < 0.3:
            self.installation.set_strategy("abort requested")
        elif state in ("complete", "failed", "aborted"):
            self._delete()

    def _delete(self) -> None:
        active = select(strategies.c.id).where(strategy_is_active).scalar_subquery()
        unfinished = steps.c.finished_at.is_(None)
        connection = self.installation.connection
        connection.execute(update(steps).where(steps.c.strategy_id == active, unfinished).values(finished_at=AT))
        connection.execute(update(strategies).where(strategy_is_active).values(deleted_at=AT))

    def standalone(self) -> None:
        self.installation.add_standalone(self.random.choice([SITES - 1, SITES]))

    def manage(self) -> None:
        one = self.random.randint(1, SITES)
        managed = self.random.choice(["managed", "unmanaged"])
        self.installation.connection.execute(
            update(subclouds).where(subclouds.c.id == one).values(management_state=managed)
        )

    def _owner(self) -> str:
        return self.random.choice(["worker1/1", "worker2/1"])

    def _some(self, ids: list[int]) -> list[int]:
        return self.random.sample(ids, min(len(ids), self.random.randint(1, 3)))


def _plans(connection: Connection, *times: float) -> list[tuple[Any, Any]]:
    """Return what is planned at each time over all open rows, and over those that the loader picks then."""
    everything = load_all_open(connection)
    return [(plan(everything, now, LIMITS), plan(load_snapshot(connection, now, LIMITS), now, LIMITS)) for now in times]


@pytest.mark.parametrize("seed", range(6))
def test_the_loader_hides_nothing(connection: Connection, seed: int) -> None:
    """The plan over the few rows that the loader picks equals the plan over all open rows, at any time of a history."""
    dice = Dice(connection, seed)
    for _ in range(OPERATIONS):
        dice.happen()
        now = database_time(connection)
        for everything, picked in _plans(connection, now, now + 50.0, now + 100.0):
            assert everything == picked


@pytest.mark.parametrize("seed", range(3))
def test_random_histories_come_to_rest(connection: Connection, seed: int) -> None:
    """Under fair scheduling every history of the database comes to an end, as those in memory do."""
    dice = Dice(connection, 100 + seed)
    installation = dice.installation
    for _ in range(OPERATIONS):
        dice.happen()
    for _ in range(60):
        installation.coordinate(later_s=50.0)
        for run_id in installation.queued():
            installation.claim(run_id)
        for run_id in installation.running():
            run = installation.run(run_id)
            version = "21.12" if run.phase == "prestage-precheck" else None
            installation.finish(run_id, owner=run.owner, from_version=version)
        installation.coordinate()
        if not installation.queued() and not installation.running():
            break

    assert installation.strategy_state() in {None, "initial", "complete", "failed", "aborted"}
    assert _plans(connection, database_time(connection)) == [([], [])]


def test_stages_of_the_strategy(connection: Connection) -> None:
    """The loader tells the smallest open stage, the largest failed one, and whether any step was aborted."""
    installation = InstallationRows(connection)
    installation.add_subclouds(5)
    installation.add_strategy({1: 1, 2: 2, 3: 2, 4: 3, 5: 4})
    ended = {"finished_at": AT}
    connection.execute(update(steps).where(steps.c.stage <= 2).values(state="failed", **ended))
    connection.execute(update(steps).where(steps.c.stage == 4).values(state="aborted", **ended))
    strategy = load_all_open(connection).strategy

    assert strategy is not None
    assert (3, 2, True) == (strategy.open_stage, strategy.failed_stage, strategy.any_aborted)


def test_rows_become_views(connection: Connection) -> None:
    """What the plan is shown is what the rows say, run and management state with it."""
    installation = InstallationRows(connection)
    installation.add_subclouds(2)
    installation.add_strategy({1: 1, 2: 2}, stop=True)
    connection.execute(update(subclouds).where(subclouds.c.id == 1).values(management_state="unmanaged"))
    installation.add_subclouds(1, first=3)
    standalone = installation.add_standalone(3)
    installation.coordinate()
    snapshot = load_all_open(connection)

    assert snapshot.strategy is not None
    assert (snapshot.strategy.state, snapshot.strategy.stop_on_failure) == ("failed", True)
    waiting, alone = snapshot.steps
    assert (2, True, None, "site2") == (waiting.stage, waiting.managed, waiting.run, waiting.subcloud_name)
    assert (standalone, None, "initial") == (alone.id, alone.strategy_id, alone.state)
    assert alone.run is not None
    assert ("queued", "prestage-precheck", 1) == (alone.run.state, alone.run.phase, alone.run.attempt)
