"""Carry out what the plan decided for steps: few statements, however many steps move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Update, bindparam, case, delete, func, select, update

from db.dispatch_runs import add_runs, mark_processed, new_run
from db.schema import runs, secrets, steps, subclouds
from db.staged import end_outlived, end_staged
from db.unit_of_work import RunIds, UnitOfWork
from messages.event_types import AbortedStep, StepsAborted
from messages.events import step_event_data
from messages.serializers import NO_ERRORS, PRESTAGE_VERSIONS
from statemachine.actions import MoveStep, StepChange
from statemachine.errors import PrestagerError
from statemachine.phases import STRATEGY_TYPES, Effect
from statemachine.releases import names_release
from statemachine.snapshot import RunView
from statemachine.states import TERMINAL_STEPS, PrestageStatus, RunOutcome, StepState

# What the playbooks of a step said is on its site now, the newest word of it.
_TOLD = runs.c.facts[PRESTAGE_VERSIONS].as_string()
_VERSIONS_TOLD: Final = (
    select(func.substr(_TOLD, 1, 255))
    .where(runs.c.step_id == steps.c.id, runs.c.outcome == RunOutcome.SUCCEEDED, _TOLD.is_not(None))
    .order_by(runs.c.id.desc())
    .limit(1)
    .correlate(steps)
    .scalar_subquery()
)
# What a subcloud shows of its last prestage, in upstream's words; the case is for playbooks that do not tell.
_VERSIONS: Final = func.coalesce(
    _VERSIONS_TOLD,
    case(
        (steps.c.for_sw_deploy, "for-install: None - for-sw-deploy: " + steps.c.release),
        else_="for-install: " + steps.c.release + " - for-sw-deploy: None",
    ),
)


class StalePlanError(PrestagerError):
    """A row has changed since the decision was made; roll back, load again, decide again."""


@dataclass(frozen=True, kw_only=True)
class _Moved:
    """A step that comes to another state."""

    move: MoveStep
    # Its row.
    step: Row[*tuple[Any, ...]]


class StepWriter:
    """Moves steps inside the caller's transaction; `at` is the moment that rows are stamped with (UTC)."""

    def __init__(self, work: UnitOfWork) -> None:
        self._work = work
        self._connection = work.connection
        self._at = work.at

    def carry_out(self, moves: Sequence[MoveStep]) -> None:
        """Move the steps.

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
        changed = [(move, run_of[move.step_id].id if move.step_id in run_of else None) for move in moves]
        for with_path, ended in ((False, False), (True, False), (True, True)):
            self._update_steps([one for one in changed if _shape(one[0]) == (with_path, ended)], with_path, ended)
        moved = self._moved([move for move in moves if move.path])
        self._end_outlived(moved)
        self._show_prestages([one for one in moved if _effect(one) is Effect.STAGES])
        self._show_removals([one for one in moved if _effect(one) is Effect.REMOVES])
        self._wipe_standalone_secrets([move.step_id for move in moves if _shape(move)[1]])
        self._tell_moves(moved, run_of)

    def start(self, step_id: int, change: StepChange, run: RunIds) -> None:
        """Change the state of a step whose first run was claimed; a step in another state stays as it is."""
        row = self._connection.execute(
            self._change(change, steps.c.id == step_id)
            .values(started_at=self._at)
            .returning(steps.c.strategy_id, steps.c.subcloud_name, steps.c.stage, steps.c.type)
        ).one_or_none()
        if row is not None:
            about = step_event_data(strategy_id=row.strategy_id, subcloud=row.subcloud_name, stage=row.stage)
            self._work.emit(f"step.{row.type}.{change.to_state}", f"step/{step_id}", about, run=run)

    def abort(self, strategy_id: int, change: StepChange) -> None:
        """Change the state of all steps of a strategy that have not started, with one event for all of them."""
        rows = self._connection.execute(
            self._change(change, steps.c.strategy_id == strategy_id)
            .values(details="", run_id=None, finished_at=self._at)
            .returning(steps.c.id, steps.c.subcloud_name)
        )
        # PostgreSQL returns rows in the order it met them.
        aborted = [AbortedStep(step=row.id, subcloud=row.subcloud_name) for row in sorted(rows, key=lambda row: row.id)]
        if aborted:
            self._work.emit("step.prestage.aborted", f"strategy/{strategy_id}", StepsAborted(steps=aborted))

    def _change(self, change: StepChange, of: ColumnElement[bool]) -> Update:
        return (
            update(steps)
            .where(of, steps.c.state == change.from_state)
            .values(state=change.to_state, updated_at=self._at, version=steps.c.version + 1)
        )

    def _update_steps(self, moves: Sequence[tuple[MoveStep, int | None]], with_path: bool, ended: bool) -> None:  # noqa: FBT001
        if not moves:
            return
        values: dict[str, Any] = {
            "run_id": bindparam("new_run_id"),
            "updated_at": self._at,
            "version": steps.c.version + 1,
        }
        if with_path:
            values |= {"state": bindparam("new_state"), "details": bindparam("new_details")}
        if ended:
            values["finished_at"] = self._at
        statement = (
            update(steps)
            .where(steps.c.id == bindparam("step_id"), steps.c.version == bindparam("seen_version"))
            .values(values)
        )
        result = self._connection.execute(
            statement,
            [
                {
                    "step_id": move.step_id,
                    "seen_version": move.version,
                    "new_run_id": run_id,
                    **({"new_state": move.path[-1], "new_details": move.details} if with_path else {}),
                }
                for move, run_id in moves
            ],
        )
        if result.rowcount != len(moves):
            raise StalePlanError

    def _moved(self, moves: Sequence[MoveStep]) -> list[_Moved]:
        if not moves:
            return []
        query = select(
            steps.c.id,
            steps.c.strategy_id,
            steps.c.subcloud_id,
            steps.c.subcloud_name,
            steps.c.stage,
            steps.c.type,
            steps.c.release,
            steps.c.from_version,
        )
        rows = self._connection.execute(query.where(steps.c.id.in_([move.step_id for move in moves])))
        known = {row.id: row for row in rows}
        return [_Moved(move=move, step=known[move.step_id]) for move in moves]

    def _end_outlived(self, moved: Sequence[_Moved]) -> None:
        """Show no longer what a site had staged that runs another version now, however its precheck ended."""
        found = {
            one.step.subcloud_id: one.step.from_version
            for one in moved
            if one.move.completed_run is not None
            and one.move.completed_run.phase == STRATEGY_TYPES[one.step.type].states[0]
            and one.step.from_version is not None
            and one.step.subcloud_id is not None
        }
        end_outlived(self._work, found)

    def _show_removals(self, moved: Sequence[_Moved]) -> None:
        """Show no longer as staged what is being removed: from its begin on nobody knows what is left."""
        begun = {one.step.subcloud_id: one.step.release for one in moved if _begins_work(one)}
        end_staged(
            self._work,
            begun.keys(),
            # Also below the failure of a later prestage, which keeps what was complete before it.
            lambda row: names_release(row["prestage_versions"] or "", begun[row["id"]]),
        )
        failed = [one.move for one in moved if one.move.path[-1] == StepState.FAILED]
        self._set_status([move.step_id for move in failed], texts=[move.details for move in failed])
        done = [one.move.step_id for one in moved if one.move.path[-1] == StepState.COMPLETE]
        self._set_status(done, error_description=NO_ERRORS)

    def _show_prestages(self, moved: Sequence[_Moved]) -> None:
        """Show on the subcloud what its step came to; a skipped one keeps what it showed (contract 8.7)."""
        moves = [one.move for one in moved]
        begun = [one.move.step_id for one in moved if _begins_work(one)]
        done = [move.step_id for move in moves if move.path[-1] == StepState.COMPLETE and not move.details]
        failed = [(move.step_id, move.details) for move in moves if move.path[-1] == StepState.FAILED]
        # Accepted at once as prestaging, and passed over after all.
        passed_over = [move.step_id for move in moves if move.path[-1] == StepState.COMPLETE and move.details]
        self._set_status(
            passed_over,
            prestage_status=func.nullif(subclouds.c.prestage_status, PrestageStatus.PRESTAGING),
        )
        self._set_status(begun, prestage_status=PrestageStatus.PRESTAGING)
        self._set_status(
            done,
            prestage_status=PrestageStatus.COMPLETE,
            error_description=NO_ERRORS,
            prestage_versions=select(_VERSIONS).where(steps.c.id == bindparam("for_step")).scalar_subquery(),
            prestage_from_version=select(steps.c.from_version)
            .where(steps.c.id == bindparam("for_step"))
            .scalar_subquery(),
        )
        self._set_status(
            [step_id for step_id, _ in failed],
            texts=[details for _, details in failed],
            prestage_status=PrestageStatus.FAILED,
        )

    def _set_status(self, step_ids: Sequence[int], texts: Sequence[str] | None = None, **values: Any) -> None:
        if not step_ids:
            return
        if texts is not None:
            values["error_description"] = bindparam("text")
        owner = select(steps.c.subcloud_id).where(steps.c.id == bindparam("for_step")).scalar_subquery()
        self._connection.execute(
            update(subclouds).where(subclouds.c.id == owner).values(updated_at=self._at, **values),
            [
                {"for_step": step_id, **({"text": texts[place]} if texts is not None else {})}
                for place, step_id in enumerate(step_ids)
            ],
        )

    def _wipe_standalone_secrets(self, step_ids: Sequence[int]) -> None:
        if step_ids:
            self._connection.execute(
                delete(secrets).where(secrets.c.step_id == bindparam("ended_step")),
                [{"ended_step": step_id} for step_id in step_ids],
            )

    def _tell_moves(self, moved: Sequence[_Moved], run_of: Mapping[int, RunIds]) -> None:
        if not moved:
            return
        ended_runs = self._ended_runs([one.move.completed_run for one in moved if one.move.completed_run is not None])
        for one in moved:
            move, row = one.move, one.step
            about = step_event_data(
                strategy_id=row.strategy_id, subcloud=row.subcloud_name, stage=row.stage, details=move.details
            )
            for state in move.path:
                # A phase is about the run that it begins with, an end about the run that came to it.
                begins = state == move.run_phase
                run = run_of.get(move.step_id) if begins else ended_runs.get(move.consumed_run_id or 0)
                self._work.emit(f"step.{row.type}.{state}", f"step/{move.step_id}", about, run=run)

    def _ended_runs(self, views: Sequence[RunView]) -> dict[int, RunIds]:
        traces: dict[int, str | None] = {}
        if self._work.tracer.is_on:
            query = select(runs.c.id, runs.c.trace).where(runs.c.id.in_([view.id for view in views]))
            traces = {row.id: row.trace for row in self._connection.execute(query)}
        return {
            view.id: RunIds(id=view.id, phase=view.phase, attempt=view.attempt, trace=traces.get(view.id))
            for view in views
        }


def _effect(moved: _Moved) -> Effect:
    return STRATEGY_TYPES[moved.step.type].effect


def _begins_work(moved: _Moved) -> bool:
    return STRATEGY_TYPES[moved.step.type].work_state in moved.move.path


def _shape(move: MoveStep) -> tuple[bool, bool]:
    """Tell whether a move changes the state, and whether it ends the step: moves of one shape share a statement."""
    return bool(move.path), bool(move.path) and move.path[-1] in TERMINAL_STEPS
