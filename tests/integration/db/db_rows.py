"""A small installation in a real database, driven through the functions that the processes use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, event, func, insert, select, update

from db.apply_plan import PlanWriter
from db.claims import claim_runs
from db.load_snapshot import database_time, load_snapshot
from db.runs import RunResult, finish_runs
from db.schema import events, outbox, preparations, runs, secrets, steps, strategies, strategy_is_active, subclouds
from db.unit_of_work import UnitOfWork
from statemachine.actions import Action, StepChange
from statemachine.plan import plan
from statemachine.snapshot import PlanLimits
from statemachine.states import RunOutcome, RunState, StepState

AT = datetime(2022, 3, 3, 10, 0, 0, tzinfo=UTC)
LIMITS = PlanLimits(max_attempts=2)
RELEASE = "22.12"
OWNER = "worker1/1"
ABORT = StepChange(from_state=StepState.INITIAL, to_state=StepState.ABORTED)


class InstallationRows:
    """The rows of one connection's transaction."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def add_subclouds(self, count: int, first: int = 1, **values: Any) -> list[int]:
        """Add simplex sites that are managed, online and run 21.12; return their ids."""
        ids = list(range(first, first + count))
        self.connection.execute(
            insert(subclouds),
            [
                {
                    "id": one,
                    "name": f"site{one}",
                    "group_id": 1,
                    "software_version": "21.12",
                    "management_state": "managed",
                    "availability_status": "online",
                    "deploy_status": "complete",
                    "error_description": "No errors present",
                    "region_name": f"site{one}",
                    "openstack_installed": False,
                    "system_mode": "simplex",
                    "management_alarms": 0,
                    "connection": {},
                    "probe_failures": 0,
                    "created_at": AT,
                    **values,
                }
                for one in ids
            ],
        )
        return ids

    def add_strategy(self, stages: Mapping[int, int], *, state: str = "applying", stop: bool = False) -> int:
        """Add a strategy with a sealed secret over subcloud id → stage; return its id."""
        strategy_id: int = self.connection.execute(
            insert(strategies)
            .values(
                type="prestage",
                stop_on_failure=stop,
                force=False,
                release=RELEASE,
                for_sw_deploy=False,
                state=state,
                excluded=[],
                created_at=AT,
            )
            .returning(strategies.c.id)
        ).scalar_one()
        self.connection.execute(
            insert(steps), [new_step(one, stage) | {"strategy_id": strategy_id} for one, stage in stages.items()]
        )
        self.connection.execute(insert(secrets).values(strategy_id=strategy_id, **SECRET))
        return strategy_id

    def add_standalone(self, subcloud_id: int) -> int:
        """Add a standalone prestage with a sealed secret; return its id."""
        step_id: int = self.connection.execute(
            insert(steps).values(**new_step(subcloud_id, 1), strategy_id=None).returning(steps.c.id)
        ).scalar_one()
        self.connection.execute(insert(secrets).values(step_id=step_id, **SECRET))
        return step_id

    def carry_out(self, *actions: Action) -> None:
        """Carry actions out and write their events and messages."""
        work = UnitOfWork(self.connection, AT)
        PlanWriter(work).carry_out(actions)
        work.finish()

    def coordinate(self, *, later_s: float = 0.0) -> None:
        """Plan and carry out until nothing is unlocked; `later_s` moves the clock that is looked at."""
        for _round in range(20):
            now = database_time(self.connection) + later_s
            actions = plan(load_snapshot(self.connection, now, LIMITS), now, LIMITS)
            self.carry_out(*actions)
            if not any(action.unlocks for action in actions):
                return
        raise AssertionError("the plan never comes to rest")

    def claim(self, run_id: int, owner: str = OWNER) -> bool:
        """Claim a run; return whether it was to be had."""
        work = UnitOfWork(self.connection, AT)
        taken = claim_runs(work, [run_id], owner)
        work.finish()
        return bool(taken)

    def finish(
        self,
        run_id: int,
        outcome: RunOutcome = RunOutcome.SUCCEEDED,
        details: str = "",
        *,
        owner: str = OWNER,
        from_version: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> bool:
        """Report a run; return whether it was still the owner's."""
        report = RunResult(
            run_id=run_id,
            outcome=outcome,
            details=details,
            facts=facts or {},
            from_version=from_version,
            oam_address="10.10.10.12" if from_version else None,
        )
        return run_id in finish_runs(self.connection, [report], owner, AT)

    def work(self, run_id: int, **report: Any) -> None:
        """Claim a run, finish it and plan on."""
        assert self.claim(run_id)
        if self.run(run_id).phase == "prestage-precheck" and "outcome" not in report:
            report.setdefault("from_version", "21.12")
        assert self.finish(run_id, **report)
        self.coordinate()

    def queued(self) -> list[int]:
        """Return the runs that wait for a worker."""
        return self._run_ids(RunState.QUEUED)

    def running(self) -> list[int]:
        """Return the runs that a worker holds."""
        return self._run_ids(RunState.RUNNING)

    def _run_ids(self, state: str) -> list[int]:
        query = select(runs.c.id).where(runs.c.state == state, ~runs.c.consumed).order_by(runs.c.id)
        return list(self.connection.execute(query).scalars())

    def step(self, subcloud_id: int) -> Row[Any]:
        """Return the newest step of a subcloud."""
        query = select(steps).where(steps.c.subcloud_id == subcloud_id).order_by(steps.c.id.desc()).limit(1)
        return self.connection.execute(query).one()

    def run(self, run_id: int) -> Row[Any]:
        """Return a run."""
        return self.connection.execute(select(runs).where(runs.c.id == run_id)).one()

    def subcloud(self, subcloud_id: int) -> Row[Any]:
        """Return a subcloud."""
        return self.connection.execute(select(subclouds).where(subclouds.c.id == subcloud_id)).one()

    def strategy_state(self) -> str | None:
        """Return the state of the active strategy."""
        return self.connection.execute(select(strategies.c.state).where(strategy_is_active)).scalar()

    def preparations(self) -> list[Row[Any]]:
        """Return all preparations."""
        return list(self.connection.execute(select(preparations).order_by(preparations.c.id)))

    def states(self) -> list[str]:
        """Return the states of all steps, in id order."""
        return list(self.connection.execute(select(steps.c.state).order_by(steps.c.id)).scalars())

    def told(self) -> list[tuple[str, str]]:
        """Return the (type, subject) of all events."""
        return [(row.type, row.subject) for row in self.connection.execute(select(events).order_by(events.c.id))]

    def calls(self) -> list[tuple[str, int | None]]:
        """Return the (actor, argument) of all messages to publish."""
        return [(row.actor, row.argument) for row in self.connection.execute(select(outbox).order_by(outbox.c.id))]

    def secrets(self) -> int:
        """Return how many sealed secrets are kept."""
        return self.connection.execute(select(func.count()).select_from(secrets)).scalar_one()

    def set_strategy(self, state: str) -> None:
        """Set the state of the active strategy, as a command's handler does."""
        self.connection.execute(update(strategies).where(strategy_is_active).values(state=state))


SECRET = {"sealed": "c2VhbGVk", "bound_to": "command-1", "created_at": AT}


def new_step(subcloud_id: int, stage: int) -> dict[str, Any]:
    """Return a step that waits."""
    return {
        "subcloud_id": subcloud_id,
        "subcloud_name": f"site{subcloud_id}",
        "stage": stage,
        "state": "initial",
        "details": "",
        "release": RELEASE,
        "force": False,
        "for_sw_deploy": False,
        "version": 1,
        "created_at": AT,
    }


@contextmanager
def sent_statements(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """Collect the statements that are sent meanwhile with their parameters; a batch is one."""
    sent: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        sent.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)
