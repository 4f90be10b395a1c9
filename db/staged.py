"""Staged releases that subclouds show, as the steps of prestages and removals change them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Row, RowMapping, String, Update, bindparam, case, exists, func, select, update

from db.json_table import any_given, given_rows
from db.schema import is_among, runs, steps, subclouds
from db.unit_of_work import UnitOfWork
from messages.event_types import SubcloudUpdated
from messages.limits import PRESTAGE_VERSIONS
from messages.serializers import NO_ERRORS
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
_AT: Final = bindparam("at_moment", type_=subclouds.c.updated_at.type)
_WANTED: Final = select(*_COLUMNS).where(is_among(subclouds.c.id, "wanted_subclouds")).order_by(subclouds.c.id)
_END_STAGED: Final = (
    update(subclouds)
    .where(is_among(subclouds.c.id, "over"))
    .values(
        **{**NOTHING_STAGED, "prestage_status": func.nullif(subclouds.c.prestage_status, PrestageStatus.COMPLETE)},
        updated_at=_AT,
    )
)
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
_SHOWN: Final = given_rows("shown", subcloud_id=BigInteger, step_id=BigInteger, details=String)


def _show(**values: Any) -> Update:
    """Return the statement that changes the subclouds of `_SHOWN`; it is built once, whatever their number."""
    return update(subclouds).where(subclouds.c.id == any_given(_SHOWN.c.subcloud_id)).values(updated_at=_AT, **values)


# Content may be half there once packages or images had begun; before that the site is as it was.
_HAS_CONTENT: Final = (
    exists()
    .where(
        runs.c.step_id == _SHOWN.c.step_id,
        runs.c.phase.in_([StepState.PACKAGES, StepState.IMAGES]),
        runs.c.started_at.is_not(None),
    )
    .correlate(_SHOWN)
)
_EARLIER: Final = subclouds.c.earlier_prestage_status
_SHOW_SKIPPED: Final = _show(prestage_status=func.nullif(subclouds.c.prestage_status, PrestageStatus.PRESTAGING))
_SHOW_BEGUN: Final = _show(**BEGINS_PRESTAGE)
_SHOW_CANCELLED: Final = _show(
    prestage_status=case(
        (_HAS_CONTENT, PrestageStatus.FAILED),
        (subclouds.c.prestage_status != PrestageStatus.PRESTAGING, subclouds.c.prestage_status),
        # What was staged may have ended meanwhile.
        (subclouds.c.prestage_versions.is_(None), func.nullif(_EARLIER, PrestageStatus.COMPLETE)),
        else_=_EARLIER,
    )
)
_SHOW_DONE: Final = _show(
    prestage_status=PrestageStatus.COMPLETE,
    error_description=NO_ERRORS,
    prestage_versions=_VERSIONS,
    prestage_from_version=steps.c.from_version,
).where(steps.c.id == _SHOWN.c.step_id)
_SHOW_FAILED: Final = _show(prestage_status=PrestageStatus.FAILED, error_description=_SHOWN.c.details)
_SHOW_REMOVED: Final = _show(error_description=NO_ERRORS)
_SHOW_NOT_REMOVED: Final = _show(error_description=_SHOWN.c.details)


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

    def ends_as(self, state: StepState) -> bool:
        """Return whether the step comes to `state` with this move."""
        return self.move.path[-1] == state


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
    begun = {
        one.step.subcloud_id: one.step.release for one in moved if one.begins_work and one.step.subcloud_id is not None
    }
    end_staged(
        work,
        begun.keys(),
        # Also below the failure of a later prestage, which keeps the versions that were complete before it.
        lambda row: names_release(row["prestage_versions"] or "", begun[row["id"]]),
    )
    _change(work, _SHOW_NOT_REMOVED, [one for one in moved if one.ends_as(StepState.FAILED)])
    _change(work, _SHOW_REMOVED, [one for one in moved if one.ends_as(StepState.COMPLETE)])


def _show_prestages(work: UnitOfWork, moved: Sequence[MovedStep]) -> None:
    """Show the state of a prestage on its subcloud; a skipped one leaves the subcloud as it was (contract 8.7)."""
    complete = [one for one in moved if one.ends_as(StepState.COMPLETE)]
    # Accepted at once as prestaging, and skipped after all.
    _change(work, _SHOW_SKIPPED, [one for one in complete if one.move.details])
    _change(work, _SHOW_BEGUN, [one for one in moved if one.begins_work])
    _change(work, _SHOW_CANCELLED, [one for one in moved if one.ends_as(StepState.ABORTED)])
    _change(work, _SHOW_DONE, [one for one in complete if not one.move.details])
    _change(work, _SHOW_FAILED, [one for one in moved if one.ends_as(StepState.FAILED)])


def _change(work: UnitOfWork, statement: Update, moved: Sequence[MovedStep]) -> None:
    """Change the subclouds of steps in one statement; of several steps of a subcloud the last one counts."""
    shown = {
        one.step.subcloud_id: {
            "subcloud_id": one.step.subcloud_id,
            "step_id": one.move.step_id,
            "details": one.move.details,
        }
        for one in moved
        # A step outlives its subcloud.
        if one.step.subcloud_id is not None
    }
    if shown:
        work.connection.execute(statement, {"shown": [*shown.values()], "at_moment": work.at})


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
    wanted = {"wanted_subclouds": list(subcloud_ids)}
    over = [row for row in work.connection.execute(_WANTED, wanted).mappings() if is_over(row)]
    if not over:
        return
    work.connection.execute(_END_STAGED, {"over": [row["id"] for row in over], "at_moment": work.at})
    for row in over:
        fields = SubcloudUpdated(fields=sorted(NOTHING_STAGED))
        work.emit("subcloud.updated", f"subcloud/{row['name']}", fields)
