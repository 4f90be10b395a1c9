"""A random history of the rows of one installation, through the functions that processes use."""

from __future__ import annotations

from random import Random

from sqlalchemy import Connection, select, update

from db.runs import hand_back, lose_runs_of, renew
from db.schema import steps, strategies, strategy_is_active, subclouds
from statemachine.states import RunOutcome
from tests.integration.db.db_rows import AT, InstallationRows

SITES = 9


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
