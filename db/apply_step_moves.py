"""Write the states of steps and dispatch their runs, in few statements however many steps move.

No other module writes the state of a step; every state comes from a transition that the core has fired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    ColumnElement,
    Integer,
    String,
    Update,
    and_,
    bindparam,
    case,
    delete,
    exists,
    false,
    func,
    insert,
    literal,
    select,
    update,
)

from db.errors import StalePlanError
from db.json_table import given_rows
from db.phase_spans import reserve_traces
from db.schema import database_now, is_among, problems, runs, secrets, step_is_open, steps
from db.staged import MovedStep, show_moves
from db.unit_of_work import RunIds, UnitOfWork
from messages.event_types import AbortedStep, StepsAborted, event_name
from messages.events import step_event_data
from statemachine.actions import MoveStep, StepChange
from statemachine.rollout import StepOutcome
from statemachine.snapshot import RunView
from statemachine.states import PHASES, TERMINAL_STEPS, RunState, StepState
from statemachine.window import StepPlace

_AT: Final = bindparam("at_moment", type_=steps.c.started_at.type)
_BEGUN: Final = given_rows("begun", step_id=BigInteger)
_START: Final = (
    update(steps)
    .where(steps.c.id == _BEGUN.c.step_id, steps.c.state == bindparam("seen_state"))
    .values(state=bindparam("new_state"), updated_at=_AT, started_at=_AT, version=steps.c.version + 1)
    .returning(steps.c.id, steps.c.strategy_id, steps.c.subcloud_name, steps.c.stage, steps.c.type)
)
_MOVES: Final = given_rows(
    "moves",
    step_id=BigInteger,
    seen_version=Integer,
    run_id=BigInteger,
    state=String,
    details=String,
    outcome=String,
    attempt=Integer,
    preparing=Boolean,
    proved_by=BigInteger,
    passed_content=String,
    ended=Boolean,
    failure_class=String,
    problem=String,
)
# A move without a state leaves state and details as they are.
_MOVE: Final = (
    update(steps)
    .where(steps.c.id == _MOVES.c.step_id, steps.c.version == _MOVES.c.seen_version)
    .values(
        run_id=_MOVES.c.run_id,
        state=func.coalesce(_MOVES.c.state, steps.c.state),
        details=func.coalesce(_MOVES.c.details, steps.c.details),
        outcome=_MOVES.c.outcome,
        attempt=_MOVES.c.attempt,
        preparing=_MOVES.c.preparing,
        proved_by=func.coalesce(_MOVES.c.proved_by, steps.c.proved_by),
        passed_content=func.coalesce(_MOVES.c.passed_content, steps.c.passed_content),
        failure_class=_MOVES.c.failure_class,
        problem=_MOVES.c.problem,
        updated_at=_AT,
        finished_at=case((_MOVES.c.ended, _AT), else_=steps.c.finished_at),
        version=steps.c.version + 1,
    )
    .returning(
        steps.c.id,
        steps.c.strategy_id,
        steps.c.subcloud_id,
        steps.c.subcloud_name,
        steps.c.stage,
        steps.c.type,
        steps.c.release,
        steps.c.from_version,
    )
)
_WIPE: Final = delete(secrets).where(is_among(secrets.c.step_id, "ended_steps"))
_CONSUME: Final = update(runs).where(is_among(runs.c.id, "processed_runs")).values(consumed=True)
# Columns that all queued runs have alike.
_OF_QUEUED: Final = {
    "state": literal(RunState.QUEUED),
    "details": literal(""),
    "facts": literal({}, JSON),
    "cancel_requested": false(),
    "consumed": false(),
    "dispatched_at": database_now(),
}
_NEW_RUNS: Final = given_rows(
    "new_runs", step_id=BigInteger, preparation_id=BigInteger, phase=String, attempt=Integer, trace=String
)
_ADD_RUNS: Final = (
    insert(runs)
    .from_select(
        [*(column.name for column in _NEW_RUNS.c), *_OF_QUEUED],
        select(*_NEW_RUNS.c, *_OF_QUEUED.values()),
    )
    .returning(runs.c.id, runs.c.step_id, runs.c.preparation_id, runs.c.dispatched_at)
)

# Columns of a step that has not started.
_AT_THE_BEGINNING: Final[Mapping[str, Any]] = {
    "details": "",
    "outcome": None,
    "failure_class": None,
    "problem": None,
    "run_id": None,
    "attempt": 1,
    "preparing": False,
    "worked_s": 0.0,
    "proved_by": None,
    "passed_content": None,
    "started_at": None,
    "finished_at": None,
    "cancel_requested_at": None,
    "cancel_requested_by": None,
}


_NEW_PROBLEMS: Final = given_rows(
    "new_problems", strategy_id=BigInteger, id=String, phase=String, failure_class=String, task=String, text=String
)
_ADD_PROBLEMS: Final = insert(problems).from_select(
    [column.name for column in _NEW_PROBLEMS.c],
    select(*_NEW_PROBLEMS.c).where(
        ~exists().where(problems.c.strategy_id == _NEW_PROBLEMS.c.strategy_id, problems.c.id == _NEW_PROBLEMS.c.id)
    ),
)


class StepWriter:
    """The only writer of step states; it works inside the transaction of `work`."""

    def __init__(self, work: UnitOfWork) -> None:
        self._work = work
        self._connection = work.connection
        self._at = work.at

    def carry_out(self, moves: Sequence[MoveStep]) -> None:
        """Write moves that the plan decided, with their runs, events and effects on subclouds.

        Raises:
            StalePlanError: One of them has changed since the plan was made.
        """
        mark_processed(
            self._work,
            [move.consumed_run_id for move in moves if move.consumed_run_id is not None],
        )
        starting = [move for move in moves if move.run_phase is not None]
        added = add_runs(
            self._work,
            [new_run(move.run_phase, move.attempt, step_id=move.step_id) for move in starting if move.run_phase],
        )
        run_of = dict(zip((move.step_id for move in starting), added, strict=True))
        moved = self._update_steps(moves, {step_id: run.id for step_id, run in run_of.items()})
        show_moves(self._work, moved)
        self._wipe_standalone_secrets([one for one in moved if _ends(one.move)])
        self._emit_moves(moved, run_of)

    def start(self, run_of: Mapping[int, RunIds], change: StepChange) -> None:
        """Change the state of steps whose first runs were claimed; those in another state stay as they are."""
        begun = [{"step_id": step_id} for step_id in run_of]
        states = {"seen_state": change.from_state, "new_state": change.to_state}
        rows = self._connection.execute(_START, {"begun": begun, "at_moment": self._at, **states})
        # PostgreSQL returns rows in the order it met them.
        for row in sorted(rows, key=lambda row: run_of[row.id].id):
            about = step_event_data(strategy_id=row.strategy_id, subcloud=row.subcloud_name, stage=row.stage)
            event = event_name("step", row.type, change.to_state)
            self._work.emit(event, f"step/{row.id}", about, run=run_of[row.id])

    def abort(self, strategy_id: int, change: StepChange) -> None:
        """Change the state of all steps of a strategy that have not started, with one event for all of them."""
        rows = self._connection.execute(
            self._change(change, and_(steps.c.strategy_id == strategy_id, step_is_open))
            .values(details="", run_id=None, finished_at=self._at, outcome=StepOutcome.ABORTED, preparing=False)
            .returning(steps.c.id, steps.c.subcloud_name, steps.c.type)
        )
        # PostgreSQL returns rows in the order it met them.
        ordered = sorted(rows.all(), key=lambda row: row.id)
        if ordered:
            aborted = [AbortedStep(step=row.id, subcloud=row.subcloud_name) for row in ordered]
            event = event_name("step", ordered[0].type, change.to_state)
            self._work.emit(event, f"strategy/{strategy_id}", StepsAborted(steps=aborted))

    def begin_anew(self, step_id: int, change: StepChange, place: StepPlace, *, resumes: bool) -> None:
        """Bring an ended step back to its beginning, for its next series of runs, with an event.

        Its runs of before stay; what they worked does not count against the time limit of the site. With `resumes` it
        passes phases that they have proved.

        Raises:
            StalePlanError: It is in another state.
        """
        row = self._connection.execute(
            self._change(change, steps.c.id == step_id)
            .values(
                series=steps.c.series + 1,
                stage=place.stage,
                position=place.position,
                resumes=resumes,
                **_AT_THE_BEGINNING,
            )
            .returning(steps.c.strategy_id, steps.c.subcloud_name, steps.c.type)
        ).one_or_none()
        if row is None:
            raise StalePlanError
        about = step_event_data(strategy_id=row.strategy_id, subcloud=row.subcloud_name, stage=place.stage)
        self._work.emit(event_name("step", row.type, change.to_state), f"step/{step_id}", about)

    def _change(self, change: StepChange, of: ColumnElement[bool]) -> Update:
        return (
            update(steps)
            .where(of, steps.c.state == change.from_state)
            .values(state=change.to_state, updated_at=self._at, version=steps.c.version + 1)
        )

    def _update_steps(self, moves: Sequence[MoveStep], run_ids: Mapping[int, int]) -> list[MovedStep]:
        """Write all moves; return those that change the state of their step, in the order of `moves`."""
        given = [
            {
                "step_id": move.step_id,
                "seen_version": move.version,
                "run_id": run_ids.get(move.step_id),
                "state": move.path[-1] if move.path else None,
                "details": move.details if move.path else None,
                "outcome": move.outcome,
                "attempt": move.attempt,
                "preparing": move.preparing,
                "proved_by": move.proved_by,
                "passed_content": move.passed_content,
                "ended": _ends(move),
                "failure_class": move.failure.failure_class if move.failure is not None else None,
                "problem": move.problem,
            }
            for move in moves
        ]
        rows = {row.id: row for row in self._connection.execute(_MOVE, {"moves": given, "at_moment": self._at})}
        if len(rows) != len(moves):
            raise StalePlanError
        moved = [MovedStep(move=move, step=rows[move.step_id]) for move in moves if move.path]
        self._add_problems(moved)
        return moved

    def _add_problems(self, moved: Sequence[MovedStep]) -> None:
        """Write what the fingerprints of the moved steps stand for, once for each strategy."""
        found = {
            (one.step.strategy_id, one.move.problem): {
                "strategy_id": one.step.strategy_id,
                "id": one.move.problem,
                "phase": one.move.failed_phase,
                "failure_class": one.move.failure.failure_class,
                "task": one.move.failure.task,
                "text": one.move.failure.text,
            }
            for one in moved
            if one.move.failure is not None and one.step.strategy_id is not None
        }
        if found:
            self._connection.execute(_ADD_PROBLEMS, {"new_problems": list(found.values())})

    def _wipe_standalone_secrets(self, ended: Sequence[MovedStep]) -> None:
        """Wipe the secrets of ended steps without a strategy; the end of a strategy wipes its own."""
        standalone = [one.step.id for one in ended if one.step.strategy_id is None]
        if standalone:
            self._connection.execute(_WIPE, {"ended_steps": standalone})

    def _emit_moves(self, moved: Sequence[MovedStep], run_of: Mapping[int, RunIds]) -> None:
        if not moved:
            return
        without_run: list[MovedStep] = []
        ended_runs = self._ended_runs([one.move.completed_run for one in moved if one.move.completed_run is not None])
        for one in moved:
            move, row = one.move, one.step
            about = step_event_data(
                strategy_id=row.strategy_id,
                subcloud=row.subcloud_name,
                stage=row.stage,
                details=move.details,
            )
            if move.failure is not None:
                about |= {"class": move.failure.failure_class, "problem": move.failure.problem_id(move.failed_phase)}
            for state in move.path:
                # A phase is about the run that it begins with, an end about the run that came to it.
                begins = state == move.run_phase
                run = run_of.get(move.step_id) if begins else ended_runs.get(move.consumed_run_id or 0)
                event = event_name("step", row.type, state)
                if state == StepState.ABORTED and run is None and row.strategy_id is not None:
                    without_run.append(one)
                elif state == StepState.ABORTED:
                    self._work.emit(event, _subject_of_abort(one), _cancelled([one]), run=run)
                else:
                    data = about if state not in move.passed else {**about, "proved_by": move.proved_by or 0}
                    self._work.emit(event, f"step/{move.step_id}", data, run=run)

        if without_run:
            # Of the active strategy, so of one type.
            event = event_name("step", without_run[0].step.type, StepState.ABORTED)
            self._work.emit(event, _subject_of_abort(without_run[0]), _cancelled(without_run))

    def _ended_runs(self, views: Sequence[RunView]) -> dict[int, RunIds]:
        traces: dict[int, str | None] = {}
        if self._work.tracer.is_on:
            query = select(runs.c.id, runs.c.trace).where(runs.c.id.in_([view.id for view in views]))
            traces = {row.id: row.trace for row in self._connection.execute(query)}
        return {
            view.id: RunIds(id=view.id, phase=view.phase, attempt=view.attempt, trace=traces.get(view.id))
            for view in views
        }


def _subject_of_abort(one: MovedStep) -> str:
    strategy_id = one.step.strategy_id
    return f"step/{one.step.id}" if strategy_id is None else f"strategy/{strategy_id}"


def _cancelled(moved: Sequence[MovedStep]) -> StepsAborted:
    return StepsAborted(
        steps=[
            AbortedStep(step=one.step.id, subcloud=one.step.subcloud_name, details=one.move.details) for one in moved
        ]
    )


def _ends(move: MoveStep) -> bool:
    return bool(move.path) and move.path[-1] in TERMINAL_STEPS


def new_run(
    phase: StepState, attempt: int, *, step_id: int | None = None, preparation_id: int | None = None
) -> dict[str, Any]:
    """Return the values of a queued run, of either a step or a preparation."""
    return {"step_id": step_id, "preparation_id": preparation_id, "phase": phase, "attempt": attempt}


def add_runs(work: UnitOfWork, rows: Sequence[dict[str, Any]]) -> list[RunIds]:
    """Add queued runs and the messages that dispatch them to workers; return them in the order of `rows`.

    Ids follow that order. Each step and each preparation has one row at most.
    """
    if not rows:
        return []
    traces = reserve_traces(work.connection, work.tracer, rows)
    values = [{**row, "trace": trace} for row, trace in zip(rows, traces, strict=True)]
    written = work.connection.execute(_ADD_RUNS, {"new_runs": values})
    known = {(row.step_id, row.preparation_id): row for row in written}
    added = []
    for row in values:
        run = known[row["step_id"], row["preparation_id"]]
        added.append(
            RunIds(
                id=run.id,
                phase=row["phase"],
                attempt=row["attempt"],
                trace=row["trace"],
                dispatched_epoch=run.dispatched_at,
            )
        )
        work.enqueue(PHASES[row["phase"]].actor, [run.id], trace=row["trace"])
    work.dispatched += added
    return added


def mark_processed(work: UnitOfWork, run_ids: Sequence[int]) -> None:
    """Mark finished runs as consumed: no later snapshot has them. A repeat changes nothing."""
    if run_ids:
        work.connection.execute(_CONSUME, {"processed_runs": run_ids})
        work.completed += run_ids
