"""Runs of workers in the database: assignments, leases and results; `db/claims.py` claims them.

Every write names the owner and the state that it expects. A run that another worker holds meanwhile changes no row: its
first worker is fenced and drops the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Executable, and_, bindparam, case, func, insert, or_, select, update

from db.live_output import UnsavedTail
from db.schema import database_now, is_among, run_outputs, runs, steps
from statemachine.problems import LOST, Failure, failure_of_run
from statemachine.snapshot import LEASE_S
from statemachine.states import PHASES, STRATEGY_TYPES, Effect, FailureClass, RunOutcome, RunState, StepState, StepType

# Seconds between TERM and KILL of a cancelled run whose row says none.
DEFAULT_GRACE_S: Final = 30.0


@dataclass(frozen=True, kw_only=True)
class RunAssignment:
    """A claimed run, with all that its worker needs to carry it out."""

    run_id: int
    phase: StepState
    # None for a preparation.
    step_id: int | None
    release: str
    force: bool
    # Meant for a deployment of software, not for an installation.
    for_sw_deploy: bool
    # Version that the site runs, as the precheck read it; before that the declared one.
    from_version: str
    # Address to which playbooks connect; None before the precheck has read it.
    oam_address: str | None
    # Row of the subcloud; for a preparation that of the step which opened it.
    subcloud: Mapping[str, Any]
    # State of another step of the same subcloud that is being worked on; read for prechecks only.
    busy_with: str | None
    sealed: str | None
    bound_to: str
    attempt: int = 1
    # See `StepType`.
    type: str = StepType.PRESTAGE
    # The step that log lines and traces name: for a preparation the one that opened it.
    for_step_id: int = 0
    strategy_id: int | None = None
    # Where its phase is in a trace; None: it is not traced.
    trace: str | None = None
    # From its dispatch to its claim, in seconds of the database's clock.
    waited_s: float = 0.0
    # An operator had it cancelled before it was claimed: it is not to be started.
    is_cancelled: bool = False
    # Time limits of the strategy in seconds, by their options (`rollout.timeouts`).
    timeouts: Mapping[str, float] = field(default_factory=dict)
    # Sum of the site's ended runs in this step, from claim to end, in seconds.
    worked_s: float = 0.0
    # Digest of the packages that an earlier run has brought, where this step passed them; None: it did not.
    passed_content: str | None = None
    # The operator has declared the system controller busy upgrading.
    controller_upgrading: bool = False

    @property
    def effect(self) -> Effect:
        """Change that the step makes to the staged release of its subcloud."""
        return STRATEGY_TYPES[self.type].effect


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """Result of a run, as its worker reports it."""

    run_id: int
    outcome: RunOutcome
    details: str
    facts: Mapping[str, Any]
    # zlib-compressed UTF-8.
    output: bytes = b""
    # Place of a gap in the output, and its length; 0: there is none.
    left_out_at_bytes: int = 0
    left_out_bytes: int = 0
    # Facts that the precheck read at the site.
    from_version: str | None = None
    oam_address: str | None = None
    # From its claim to its end, in seconds of the worker's monotonic clock.
    worked_s: float = 0.0
    # Last progress of a run that reported any.
    progress: Mapping[str, Any] | None = None
    # End of the output that was not saved when the process of such a run died.
    beyond: UnsavedTail | None = None
    # Why it failed, by class, task and text; None: `failure_class` and `details` say it.
    failure: Failure | None = None
    # Kind of trouble of a run that failed; None: `details` tell.
    failure_class: FailureClass | None = None

    def why(self, names: Iterable[str] = ()) -> Failure | None:
        """Return the failure of the run; None: it has none.

        Args:
            names: Names and addresses of its site.
        """
        if self.failure is not None and self.outcome == RunOutcome.FAILED:
            return self.failure
        return failure_of_run(self.outcome, self.details, failure_class=self.failure_class, names=names)


# Statements of the path of a run are built once: building them anew costs more than sending them.
_WANTED_RUN: Final = runs.c.id == bindparam("wanted_run")
_BY_OWNER: Final = bindparam("by_owner", type_=runs.c.owner.type)
_AT: Final = bindparam("at_moment", type_=runs.c.started_at.type)
_HELD: Final = and_(runs.c.state == RunState.RUNNING, runs.c.owner == _BY_OWNER)
# Columns of a run whose worker was lost.
LOST_RUN: Final[Mapping[str, Any]] = {
    "state": RunState.FINISHED,
    "outcome": RunOutcome.LOST,
    "failure_class": LOST.failure_class,
    "failure_task": LOST.task,
    "failure_text": LOST.text,
    "problem": case(*((runs.c.phase == phase, LOST.problem_id(phase)) for phase in PHASES)),
}
# Its end, by the database's clock.
NEW_LEASE: Final = database_now() + LEASE_S
_MINE: Final = (
    select(runs.c.id, runs.c.step_id, runs.c.phase)
    .where(is_among(runs.c.id, "wanted_runs"), _HELD)
    .order_by(runs.c.id)
    .with_for_update()
)
_FINISH: Final = (
    update(runs)
    .where(_WANTED_RUN)
    .values(
        state=RunState.FINISHED,
        outcome=bindparam("new_outcome"),
        details=bindparam("new_details"),
        facts=bindparam("new_facts", type_=runs.c.facts.type),
        failure_class=bindparam("new_failure_class"),
        failure_task=bindparam("new_failure_task"),
        failure_text=bindparam("new_failure_text"),
        problem=bindparam("new_problem"),
        lease_until=None,
        finished_at=_AT,
    )
)
_WORKED: Final = (
    update(steps)
    .where(steps.c.id == bindparam("step"))
    .values(worked_s=steps.c.worked_s + bindparam("ended_s", type_=steps.c.worked_s.type))
)
_FOUND: Final = _WORKED.values(from_version=bindparam("new_version"), oam_address=bindparam("new_address"))
_ADD_OUTPUT: Final = insert(run_outputs)
_HAND_BACK: Final = (
    update(runs)
    .where(is_among(runs.c.id, "wanted_runs"), _HELD)
    .values(state=RunState.QUEUED, owner=None, lease_until=None, started_at=None)
)


def hand_back(connection: Connection, run_ids: Iterable[int], owner: str) -> None:
    """Queue claimed runs again that were never begun; those that `owner` does not hold stay as they are."""
    wanted = {"wanted_runs": list(run_ids), "by_owner": owner}
    connection.execute(_MINE, wanted)
    connection.execute(_HAND_BACK, wanted)


def lock_runs_of(connection: Connection, of_steps: ColumnElement[bool]) -> None:
    """Lock the runs of steps that are not concluded, and those of preparations; on SQLite one writes at a time anyway.

    A transaction that writes steps whose runs a worker may hold calls it before: runs come before steps, and both in
    the order of ids, for workers report so. In another order the two would wait for each other.
    """
    mine = or_(runs.c.step_id.in_(select(steps.c.id).where(of_steps)), runs.c.preparation_id.is_not(None))
    connection.execute(select(runs.c.id).where(~runs.c.consumed, mine).order_by(runs.c.id).with_for_update())


def finish_runs(connection: Connection, reports: Sequence[RunResult], owner: str, at: datetime) -> frozenset[int]:
    """Record the results of runs, one of each; return the ids of those that `owner` holds, the others are not written.

    The number of statements does not depend on that of the runs.
    """
    wanted = {"wanted_runs": [one.run_id for one in reports], "by_owner": owner}
    rows = connection.execute(_MINE, wanted).all()
    step_of = {row.id: row.step_id for row in rows}
    phase_of = {row.id: row.phase for row in rows}
    mine = [one for one in reports if one.run_id in step_of]
    of_steps = [one for one in mine if step_of[one.run_id] is not None]
    found = [one for one in of_steps if one.from_version is not None]
    _write_each(connection, _FINISH, [_ended(one, at, phase_of[one.run_id]) for one in mine])
    _write_each(connection, _FOUND, [_worked(one, step_of) | _seen(one) for one in found])
    _write_each(
        connection, _WORKED, [_worked(one, step_of) for one in of_steps if one.worked_s and one.from_version is None]
    )
    _write_each(connection, _ADD_OUTPUT, [_kept_output(one) for one in mine if one.output])
    return frozenset(step_of)


def _write_each(connection: Connection, statement: Executable, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        connection.execute(statement, rows)


def _ended(report: RunResult, at: datetime, phase: str) -> dict[str, Any]:
    why = report.why()
    return {
        "wanted_run": report.run_id,
        "at_moment": at,
        "new_outcome": report.outcome,
        "new_details": report.details,
        "new_facts": dict(report.facts),
        "new_failure_class": why.failure_class if why is not None else None,
        "new_failure_task": why.task if why is not None else None,
        "new_failure_text": why.text if why is not None else None,
        "new_problem": why.problem_id(phase) if why is not None else None,
    }


def _worked(report: RunResult, step_of: Mapping[int, int | None]) -> dict[str, Any]:
    return {"step": step_of[report.run_id], "ended_s": report.worked_s}


def _seen(report: RunResult) -> dict[str, Any]:
    return {"new_version": report.from_version, "new_address": report.oam_address}


def _kept_output(report: RunResult) -> dict[str, Any]:
    return {
        "run_id": report.run_id,
        "content": report.output,
        "left_out_at_bytes": report.left_out_at_bytes,
        "left_out_bytes": report.left_out_bytes,
    }


@dataclass(frozen=True, kw_only=True)
class Renewal:
    """Runs of a worker after the renewal of its leases."""

    # Runs that the worker still holds.
    held: frozenset[int]
    # Those of them that are to be cancelled, with the seconds between TERM and KILL.
    cancelled: Mapping[int, float]


def renew(connection: Connection, owner: str) -> Renewal:
    """Renew the leases of all runs of a worker; return which it holds and which are to be cancelled."""
    # A running run is never consumed; saying so finds it by the index of the few.
    mine = (~runs.c.consumed, runs.c.owner == owner, runs.c.state == RunState.RUNNING)
    # Locked in id order, as reports are written: two writers of the same rows never wait for each other in a ring.
    connection.execute(select(runs.c.id).where(*mine).order_by(runs.c.id).with_for_update())
    rows = connection.execute(
        update(runs)
        .where(*mine)
        .values(lease_until=NEW_LEASE)
        .returning(runs.c.id, runs.c.cancel_requested, runs.c.cancel_grace_s)
    ).all()
    return Renewal(
        held=frozenset(row.id for row in rows),
        cancelled={
            row.id: DEFAULT_GRACE_S if row.cancel_grace_s is None else row.cancel_grace_s
            for row in rows
            if row.cancel_requested
        },
    )


def lose_runs_of(connection: Connection, worker: str, at: datetime) -> list[int]:
    """Finish as lost every run that an earlier process of `worker` held; return their ids.

    Only for a worker whose predecessor is dead, with all its processes.
    """
    # Not LIKE: SQLite's does not tell cases apart.
    mine = func.substr(runs.c.owner, 1, len(worker) + 1) == f"{worker}/"
    held = (~runs.c.consumed, mine, runs.c.state == RunState.RUNNING)
    connection.execute(select(runs.c.id).where(*held).order_by(runs.c.id).with_for_update())
    lost = connection.execute(
        update(runs).where(*held).values(lease_until=None, finished_at=at, **LOST_RUN).returning(runs.c.id)
    )
    return sorted(lost.scalars())
