"""A random history of the rows of one installation, through the functions that processes use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from typing import Any

from sqlalchemy import Connection, and_, func, insert, select, update

from db.holds import NewHold, cancel_strategy, end_holds, hold_clock, open_hold, request_cancel
from db.rollout_stages import write_stage
from db.runs import hand_back, lose_runs_of, renew
from db.schema import holds, preparations, steps, strategies, strategy_is_active, strategy_stages, subclouds
from db.unit_of_work import UnitOfWork
from statemachine.rollout import BETWEEN_STAGES, HoldKind, HoldScope, RolloutMode
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
            hand_back(self.installation.connection, [run_id], self.installation.run(run_id).owner)

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


class HeldDice(Dice):
    """A history with holds, failure budgets, a sliding window, stages with soak times and gates, and cancels."""

    def happen(self) -> None:
        """Let one thing happen."""
        if self.random.random() < 0.7 or self._strategy() is None:
            super().happen()
            return
        self.random.choice(
            [
                *(self.hold, self.hold_site, self.end_holds, self.cancel_site, self.cancel_site, self.put_first),
                *(self.change, self.approve),
            ]
        )()
        if self.random.random() < 0.7:
            self.coordinate()

    def create(self) -> None:
        """Create a strategy of either mode; those of a window have three stages, with widths or without."""
        pick = self.random.choice
        places = list(range(1, SITES - 1))
        mode = pick([RolloutMode.STAGES, RolloutMode.WINDOW, RolloutMode.WINDOW])
        size = 3 if mode == RolloutMode.WINDOW else 2
        stages = {one: 1 + place // size for place, one in enumerate(places)}
        strategy_id = self.installation.add_strategy(stages, state="applying", stop=pick([True, False, False]))
        timeouts = {"strategy-s": 90, "on-strategy-limit": pick(["abort", "cancel"])} if pick([True, False]) else {}
        rollout = {
            "on-budget": pick(["pause", "stop"]),
            "on-prepare-failure": pick(["fail", "pause"]),
            **({"timeouts": timeouts} if timeouts else {}),
            **({"ramp": {"start": 1}} if pick([True, False]) else {}),
        }
        numbers = sorted(set(stages.values()))
        is_staged = mode == RolloutMode.WINDOW and pick([True, False])
        if is_staged:
            rollout["stages"] = [
                {
                    "name": f"stage-{one}",
                    "stage": one,
                    "passed-at": None,
                    "soak-s": pick([None, 40]),
                    "gate": pick([None, "approval"]),
                }
                for one in numbers
            ]
        width = pick([None, 2, 4])
        connection = self.installation.connection
        connection.execute(
            update(strategies)
            .where(strategies.c.id == strategy_id)
            .values(
                mode=mode,
                rollout=rollout,
                stage_by_stage=is_staged,
                max_failures=pick([None, 0, 1]),
                max_parallel_subclouds=width,
                applied_at=hold_clock(connection),
            )
        )
        if mode == RolloutMode.WINDOW:
            rows = [
                {
                    "strategy_id": strategy_id,
                    "stage": stage,
                    "width": None if width else pick([1, 2]),
                    "max_failures": pick([None, 0]) if is_staged else None,
                }
                for stage in numbers
            ]
            connection.execute(insert(strategy_stages), rows)
            for one in places:
                of_site = and_(steps.c.strategy_id == strategy_id, steps.c.subcloud_id == one)
                connection.execute(update(steps).where(of_site).values(position=pick([0, 1, 2])))
        if is_staged and pick([True, True, False]):
            self._end_first_stage(strategy_id)

    def _end_first_stage(self, strategy_id: int) -> None:
        """Have the sites of the first stage ended already, for few histories come so far."""
        state, outcome = self.random.choice([("complete", "complete"), ("complete", "skipped"), ("failed", "failed")])
        of_stage = and_(steps.c.strategy_id == strategy_id, steps.c.stage == 1)
        ended = update(steps).where(of_stage).values(state=state, outcome=outcome, finished_at=AT)
        self.installation.connection.execute(ended)

    def hold(self) -> None:
        """Pause the strategy, whole or after a stage."""
        scope = self.random.choice([HoldScope.STARTS, HoldScope.PHASES])
        stage = self.random.choice([None, None, 1])
        kind = HoldKind.OPERATOR if stage is None else HoldKind.BUDGET
        self._open(NewHold(strategy_id=self._applying(), kind=kind, scope=scope, stage=stage))

    def hold_site(self) -> None:
        """Hold one site."""
        hold = NewHold(strategy_id=self._applying(), kind=HoldKind.OPERATOR, scope=HoldScope.PHASES)
        for step_id in self._some(self._open_steps())[:1]:
            self._open(replace(hold, step_id=step_id))

    def _open(self, hold: NewHold) -> None:
        if hold.strategy_id:
            with self._work() as work:
                open_hold(work, hold)

    def approve(self) -> None:
        """Approve what comes after a stage, at its gate or beforehand."""
        strategy_id = self._applying()
        stages = self._stages() if strategy_id else []
        for one in self.random.sample(stages, min(1, len(stages))):
            gate = and_(holds.c.strategy_id == strategy_id, holds.c.kind == HoldKind.GATE)
            with self._work() as work:
                is_waiting = end_holds(work, and_(gate, holds.c.stage == one["stage"]), "bob") > 0
            values = {"decision": {"verdict": "approved"}, **({"passed-at": AT.isoformat()} if is_waiting else {})}
            write_stage(self.installation.connection, strategy_id, one["stage"], values)

    def _stages(self) -> list[dict[str, Any]]:
        options = self.installation.connection.execute(select(strategies.c.rollout).where(strategy_is_active)).scalar()
        return [one for one in (options or {}).get("stages") or () if one["passed-at"] is None]

    def end_holds(self) -> None:
        """Resume: failed preparations are void, and the budgets grow; what is between two stages stays."""
        connection = self.installation.connection
        with self._work() as work:
            of_strategy = and_(holds.c.strategy_id == self._strategy(), holds.c.kind.not_in(BETWEEN_STAGES))
            end_holds(work, of_strategy, "alice")
        connection.execute(update(preparations).where(preparations.c.state == "failed").values(state="void"))
        connection.execute(
            update(strategies)
            .where(strategy_is_active, strategies.c.max_failures.is_not(None))
            .values(max_failures=strategies.c.max_failures + 1)
        )
        connection.execute(
            update(strategy_stages)
            .where(strategy_stages.c.strategy_id == self._strategy(), strategy_stages.c.max_failures.is_not(None))
            .values(max_failures=strategy_stages.c.max_failures + 1)
        )

    def cancel_site(self) -> None:
        """Cancel one site, rarely all of them."""
        strategy_id = self._strategy()
        if strategy_id and self.random.random() < 0.15 and self.installation.strategy_state() == "applying":
            self.installation.set_strategy("abort requested")
            with self._work() as work:
                cancel_strategy(work, strategy_id, by="alice")
        for step_id in self._some(self._open_steps())[:1]:
            with self._work() as work:
                request_cancel(work, steps.c.id == step_id, by="bob")

    def put_first(self) -> None:
        """Put a site before all others."""
        smallest = select(func.min(steps.c.position)).where(steps.c.strategy_id == self._strategy()).scalar_subquery()
        connection = self.installation.connection
        position = min(0, connection.execute(select(smallest)).scalar() or 0) - 1
        for step_id in self._some(self._open_steps())[:1]:
            connection.execute(update(steps).where(steps.c.id == step_id).values(position=position))

    def change(self) -> None:
        """Change the width of a window."""
        connection = self.installation.connection
        connection.execute(
            update(strategies).where(strategy_is_active).values(max_parallel_subclouds=self.random.choice([1, 3]))
        )
        of_strategy = strategy_stages.c.strategy_id == self._strategy()
        connection.execute(update(strategy_stages).where(of_strategy).values(width=None))

    def _strategy(self) -> int | None:
        return self.installation.connection.execute(select(strategies.c.id).where(strategy_is_active)).scalar()

    def _applying(self) -> int:
        return (self._strategy() or 0) if self.installation.strategy_state() == "applying" else 0

    def _open_steps(self) -> list[int]:
        query = select(steps.c.id).where(steps.c.strategy_id == self._strategy(), steps.c.finished_at.is_(None))
        return list(self.installation.connection.execute(query.order_by(steps.c.id)).scalars())

    @contextmanager
    def _work(self) -> Iterator[UnitOfWork]:
        work = UnitOfWork(self.installation.connection, AT)
        yield work
        work.finish()
