"""Staged releases that subclouds show, as the steps of prestages and removals change them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Row, RowMapping, String, case, exists, func, select, update

from db.json_table import given_rows
from db.schema import runs, steps, subclouds
from db.unit_of_work import UnitOfWork
from messages.event_types import SubcloudUpdated
from messages.serializers import NO_ERRORS, PRESTAGE_VERSIONS
from statemachine.actions import MoveStep
from statemachine.releases import NOTHING_STAGED, is_outlived, names_release
from statemachine.states import STRATEGY_TYPES, Effect, PrestageStatus, RunOutcome, StepState, StrategyType

# Columns that the rules about a staged release read.
_COLUMNS = (
    subclouds.c.id,
    subclouds.c.name,
    subclouds.c.software_version,
    subclouds.c.prestage_status,
    subclouds.c.earlier_prestage_status,
    subclouds.c.prestage_versions,
    subclouds.c.prestage_from_version,
)


_SHOWN: Final = given_rows("shown", step_id=BigInteger, text=String)
# The staged versions that the playbooks of a step reported last.
_REPORTED = runs.c.facts[PRESTAGE_VERSIONS].as_string()
_REPORTED_VERSIONS: Final = (
    select(func.substr(_REPORTED, 1, 255))
    .where(runs.c.step_id == steps.c.id, runs.c.outcome == RunOutcome.SUCCEEDED, _REPORTED.is_not(None))
    .order_by(runs.c.id.desc())
    .limit(1)
    .correlate(steps)
    .scalar_subquery()
)
# The staged versions that a subcloud shows, in upstream's words; the case is for playbooks that report none.
_VERSIONS: Final = func.coalesce(
    _REPORTED_VERSIONS,
    case(
        (steps.c.for_sw_deploy, "for-install: None - for-sw-deploy: " + steps.c.release),
        else_="for-install: " + steps.c.release + " - for-sw-deploy: None",
    ),
)


# A subcloud that begins to be prestaged; a repeat keeps what it was before.
BEGINS_PRESTAGE: Final[Mapping[str, Any]] = {
    "prestage_status": PrestageStatus.PRESTAGING,
    "earlier_prestage_status": case(
        (subclouds.c.prestage_status == PrestageStatus.PRESTAGING, subclouds.c.earlier_prestage_status),
        else_=subclouds.c.prestage_status,
    ),
}
# Content may be half there once packages or images had begun; before that the site is as it was.
_HAS_CONTENT: Final = (
    exists()
    .where(
        runs.c.step_id == steps.c.id,
        runs.c.phase.in_((StepState.PACKAGES, StepState.IMAGES)),
        runs.c.started_at.is_not(None),
    )
    .correlate(steps)
)
_EARLIER: Final = subclouds.c.earlier_prestage_status
_CANCELLED: Final = case(
    (_HAS_CONTENT, PrestageStatus.FAILED),
    (subclouds.c.prestage_status != PrestageStatus.PRESTAGING, subclouds.c.prestage_status),
    # What was staged may have ended meanwhile.
    (subclouds.c.prestage_versions.is_(None), func.nullif(_EARLIER, PrestageStatus.COMPLETE)),
    else_=_EARLIER,
)


@dataclass(frozen=True, kw_only=True)
class MovedStep:
    """A step that has come to another state.

    Attributes:
        move: The move, with the states passed through.

        step: Row of the step: id, strategy, subcloud, stage, type, release and from-version.
    """

    move: MoveStep
    step: Row[*tuple[Any, ...]]

    @property
    def type(self) -> StrategyType:
        """Type of the step."""
        return STRATEGY_TYPES[self.step.type]

    @property
    def begins_work(self) -> bool:
        """Whether the site begins to change with this move."""
        return self.type.work_state in self.move.path


def show_moves(work: UnitOfWork, moved: Sequence[MovedStep]) -> None:
    """Write on the subclouds what the moves of their steps change of the staged release that they show."""
    _end_outlived_by(work, moved)
    _show_prestages(work, [one for one in moved if one.type.effect is Effect.STAGES])
    _show_removals(work, [one for one in moved if one.type.effect is Effect.REMOVES])


def _end_outlived_by(work: UnitOfWork, moved: Sequence[MovedStep]) -> None:
    """Apply the versions that prechecks have read, however they ended."""
    found = {
        one.step.subcloud_id: one.step.from_version
        for one in moved
        if one.move.completed_run is not None
        and one.move.completed_run.phase == one.type.states[0]
        and one.step.from_version is not None
        and one.step.subcloud_id is not None
    }
    end_outlived(work, found)


def _show_removals(work: UnitOfWork, moved: Sequence[MovedStep]) -> None:
    """End the staged release of a subcloud when its removal begins: from then on it may be incomplete."""
    begun = {one.step.subcloud_id: one.step.release for one in moved if one.begins_work}
    end_staged(
        work,
        begun.keys(),
        # Also below the failure of a later prestage, which keeps the versions that were complete before it.
        lambda row: names_release(row["prestage_versions"] or "", begun[row["id"]]),
    )
    moves = [one.move for one in moved]
    failed = [move for move in moves if move.path[-1] == StepState.FAILED]
    _set_status(work, [move.step_id for move in failed], texts=[move.details for move in failed])
    done = [move.step_id for move in moves if move.path[-1] == StepState.COMPLETE]
    _set_status(work, done, error_description=NO_ERRORS)


def _show_prestages(work: UnitOfWork, moved: Sequence[MovedStep]) -> None:
    """Show the state of a prestage on its subcloud; a skipped one leaves the subcloud as it was (contract 8.7)."""
    moves = [one.move for one in moved]
    begun = [one.move.step_id for one in moved if one.begins_work]
    done = [move.step_id for move in moves if move.path[-1] == StepState.COMPLETE and not move.details]
    failed = [move for move in moves if move.path[-1] == StepState.FAILED]
    # Accepted at once as prestaging, and skipped after all.
    skipped = [move.step_id for move in moves if move.path[-1] == StepState.COMPLETE and move.details]
    _set_status(work, skipped, prestage_status=func.nullif(subclouds.c.prestage_status, PrestageStatus.PRESTAGING))
    _set_status(work, begun, **BEGINS_PRESTAGE)
    cancelled = [move.step_id for move in moves if move.path[-1] == StepState.ABORTED]
    _set_status(work, cancelled, prestage_status=_CANCELLED)
    _set_status(
        work,
        done,
        prestage_status=PrestageStatus.COMPLETE,
        error_description=NO_ERRORS,
        prestage_versions=_VERSIONS,
        prestage_from_version=steps.c.from_version,
    )
    _set_status(
        work,
        [move.step_id for move in failed],
        texts=[move.details for move in failed],
        prestage_status=PrestageStatus.FAILED,
    )


def _set_status(work: UnitOfWork, step_ids: Sequence[int], texts: Sequence[str] | None = None, **values: Any) -> None:
    """Change the subclouds of steps; values may speak of the columns of subcloud and step."""
    if not step_ids:
        return
    if texts is not None:
        values["error_description"] = _SHOWN.c.text
    work.connection.execute(
        update(subclouds)
        .where(subclouds.c.id == steps.c.subcloud_id, steps.c.id == _SHOWN.c.step_id)
        .values(updated_at=work.at, **values),
        {
            "shown": [
                {"step_id": one, "text": text}
                for one, text in zip(step_ids, texts or [""] * len(step_ids), strict=True)
            ]
        },
    )


def end_outlived(work: UnitOfWork, versions: Mapping[int, str]) -> None:
    """End the staged release that subclouds show whose sites run another version than when it was staged.

    Args:
        work: The transaction, which gets the events.

        versions: Versions that the sites run, by the ids of their subclouds.
    """
    end_staged(work, versions.keys(), lambda row: _is_over(row, versions[row["id"]]))


def _is_over(subcloud: RowMapping, version: str) -> bool:
    """Return whether the staged release is gone that a subcloud shows, or that a cancel would show again."""
    shown = subcloud["prestage_status"]
    if shown == PrestageStatus.PRESTAGING:
        shown = subcloud["earlier_prestage_status"]
    return is_outlived({**subcloud, "prestage_status": shown}, version)


def end_staged(
    work: UnitOfWork,
    subcloud_ids: Collection[int],
    is_over: Callable[[RowMapping], bool],
) -> None:
    """End the staged release of the subclouds whose rows `is_over` picks; a failed prestage stays shown."""
    if not subcloud_ids:
        return
    query = select(*_COLUMNS).where(subclouds.c.id.in_(subcloud_ids)).order_by(subclouds.c.id)
    over = [row for row in work.connection.execute(query).mappings() if is_over(row)]
    if not over:
        return
    values = {**NOTHING_STAGED, "prestage_status": func.nullif(subclouds.c.prestage_status, PrestageStatus.COMPLETE)}
    work.connection.execute(
        update(subclouds).where(subclouds.c.id.in_([row["id"] for row in over])).values(**values, updated_at=work.at)
    )
    for row in over:
        fields = SubcloudUpdated(fields=sorted(NOTHING_STAGED))
        work.emit("subcloud.updated", f"subcloud/{row['name']}", fields)
