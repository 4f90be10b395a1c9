"""Hold, release, put first, cancel and retry the step of one site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import RowMapping, func, select, update

from actors.coordinator.context import CommandContext, read_body
from actors.coordinator.errors import conflict, not_found, unprocessable
from actors.coordinator.strategy_control import refuse_stopped
from db.apply_step_moves import StepWriter
from db.holds import NewHold, end_holds, open_hold, request_cancel, site_hold, tell_cancel
from db.load_situation import step_situation
from db.read_queries import works_of_steps
from db.schema import holds, preparations, steps, strategies, strategy_is_active
from db.site_records import site_records
from messages.commands import Command
from messages.event_types import STRATEGY_UPDATED, StrategyUpdated
from messages.requests.strategy_control import StepCancelRequest, StepHoldRequest
from messages.step_schemas import CancelledStep, Step
from messages.step_serializers import step_resource
from statemachine.legal_commands import step_refusal
from statemachine.plan import retry_of
from statemachine.proofs import may_prove
from statemachine.rollout import HoldKind, HoldScope
from statemachine.states import PreparationState, StepState
from statemachine.window import StepPlace, retried_place


def hold_step(context: CommandContext, command: Command) -> Step:
    """Hold one site of the strategy, or end its hold: a held site begins no further phase, others go on.

    A repeat changes nothing.

    Raises:
        CommandRefusedError: 400 for the first wrong field; 404 without such a step; 422 for one that has ended or whose
            strategy goes on no more.
    """
    request = read_body(StepHoldRequest, command.data)
    step = _find_legal(context, command, "hold", "hold")
    if request.held:
        hold = NewHold(
            strategy_id=step["strategy_id"],
            step_id=step["id"],
            kind=HoldKind.OPERATOR,
            scope=HoldScope.PHASES,
            reason=request.reason,
            by=command.requested_by,
        )
        if open_hold(context.work, hold):
            context.notes.append(f"Held{f': {request.reason}' if request.reason else ''}.")
    elif end_holds(context.work, holds.c.step_id == step["id"], by=command.requested_by):
        context.notes.append("Released.")
    return _shown(context, step)


def put_step_first(context: CommandContext, command: Command) -> Step:
    """Start one site of a sliding window before all that have not started.

    Raises:
        CommandRefusedError: 404 without such a step; 422 for one that has started, or outside of a sliding window.
    """
    step = _find_legal(context, command, "first", "put first")
    least = select(func.min(steps.c.position)).where(steps.c.strategy_id == step["strategy_id"])
    position = min(0, context.connection.execute(least).scalar_one()) - 1
    context.connection.execute(
        update(steps).where(steps.c.id == step["id"]).values(position=position, updated_at=context.at)
    )
    context.notes.append("Put first.")
    changed = StrategyUpdated(fields=["first"], subcloud=step["subcloud_name"])
    context.work.emit(STRATEGY_UPDATED, f"strategy/{step['strategy_id']}", changed)
    return _shown(context, step)


def cancel_step(context: CommandContext, command: Command) -> CancelledStep:
    """Stop the work on one site, in the strategy or of a prestage or removal by itself.

    A site without a running playbook ends in the transaction of the answer, others when their worker has stopped them.
    A hold of the site alone ends with it. A step that has ended already stays as it is.

    Raises:
        CommandRefusedError: 400 for the first wrong field; 404 without such a step.
    """
    request = read_body(StepCancelRequest, command.data)
    step = _find_latest(context, command)
    if step["finished_at"] is not None:
        return {**_shown(context, step), "already-ended": True}
    request_cancel(context.work, steps.c.id == step["id"], by=command.requested_by, grace_s=request.grace_s)
    strategy_id = step["strategy_id"]
    subject = f"step/{step['id']}" if strategy_id is None else f"strategy/{strategy_id}"
    tell_cancel(context.work, subject, by=command.requested_by, grace_s=request.grace_s, subcloud=step["subcloud_name"])
    end_holds(context.work, holds.c.step_id == step["id"], by=command.requested_by)
    context.notes.append(f"Cancelled with a grace of {request.grace_s} s.")

    def planned_body() -> CancelledStep:
        return {**_shown(context, step), "already-ended": False}

    # A site without a running playbook has ended by then.
    context.planned_body = planned_body
    return planned_body()


def retry_step(context: CommandContext, command: Command) -> Step:
    """Begin the work on one site anew whose step of the strategy failed or was cancelled.

    The step counts as failed no longer; a hold of the failure budget stays until it is resumed. A failed preparation
    that it needs is made once more.

    Raises:
        CommandRefusedError: 404 without such a step; 409 while another step of the site is open; 422 for a step that
            neither failed nor was cancelled, for a removed subcloud, and for a strategy that does not apply or that
            failures have stopped.
    """
    step = _find_legal(context, command, "retry", "retry")
    strategy = context.connection.execute(select(strategies).where(strategy_is_active)).mappings().one()
    refuse_stopped(context, strategy, "retry a step of")
    is_open = select(steps.c.id).where(steps.c.subcloud_id == step["subcloud_id"], steps.c.finished_at.is_(None))
    if context.connection.execute(is_open.limit(1)).first() is not None:
        raise conflict(
            f"Unable to retry the step of '{step['subcloud_name']}': another step of that site is open. Try again when"
            " it has ended."
        )
    _forget_failed_preparation(context, step)
    records = site_records(context.connection, {step["subcloud_id"]: step["for_sw_deploy"]})
    StepWriter(context.work).begin_anew(
        step["id"],
        retry_of(step["state"]),
        _place_of_retry(context, step),
        resumes=may_prove(step["release"], records[step["subcloud_id"]]),
    )
    context.notes.append("Retried.")
    return _shown(context, step)


def _forget_failed_preparation(context: CommandContext, step: RowMapping) -> None:
    """Have the preparation that the step waited for made once more, if it failed."""
    context.connection.execute(
        update(preparations)
        .where(
            preparations.c.strategy_id == step["strategy_id"],
            preparations.c.release == step["release"],
            preparations.c.from_version == step["from_version"],
            preparations.c.state == PreparationState.FAILED,
        )
        .values(state=PreparationState.VOID, opened_by_step_id=step["id"])
    )


def _place_of_retry(context: CommandContext, step: RowMapping) -> StepPlace:
    of_strategy = steps.c.strategy_id == step["strategy_id"]
    open_stage = select(func.min(steps.c.stage)).where(of_strategy, steps.c.finished_at.is_(None))
    last_position = select(func.max(steps.c.position)).where(of_strategy)
    return retried_place(
        step["mode"],
        StepPlace(stage=step["stage"], position=step["position"]),
        open_stage=context.connection.execute(open_stage).scalar(),
        last_position=context.connection.execute(last_position).scalar_one(),
    )


def _find_legal(context: CommandContext, command: Command, name: str, verb: str) -> RowMapping:
    """Return the step of the active strategy that a command names, with the strategy's state and mode.

    Raises:
        CommandRefusedError: 404 without such a step; 422 where the command `name` is not legal for it.
    """
    step = _find_in_strategy(context, command)
    situation = step_situation(context.connection, cast("Mapping[str, Any]", step))
    reason = step_refusal(name, situation)
    if reason is not None:
        raise unprocessable(f"Unable to {verb} the step of '{step['subcloud_name']}': {reason}.")
    return step


def _find_in_strategy(context: CommandContext, command: Command) -> RowMapping:
    query = (
        select(steps, strategies.c.state.label("strategy_state"), strategies.c.mode)
        .join(strategies, strategies.c.id == steps.c.strategy_id)
        .where(strategy_is_active, steps.c.subcloud_name == command.subject)
    )
    step = context.connection.execute(query).mappings().one_or_none()
    if step is None:
        raise not_found("Strategy step not found")
    return step


def _find_latest(context: CommandContext, command: Command) -> RowMapping:
    """Return the open step of a subcloud, of the strategy or by itself, else that of the active strategy."""
    query = (
        select(steps)
        .outerjoin(strategies, strategies.c.id == steps.c.strategy_id)
        .where(
            steps.c.subcloud_name == command.subject,
            steps.c.finished_at.is_(None) | strategy_is_active,
        )
        .where(strategies.c.deleted_at.is_(None))
        .order_by(steps.c.finished_at.is_not(None), steps.c.state == StepState.INITIAL, steps.c.id.desc())
        .limit(1)
    )
    step = context.connection.execute(query).mappings().one_or_none()
    if step is None:
        raise not_found("Strategy step not found")
    return step


def _shown(context: CommandContext, step: RowMapping) -> Step:
    row = context.connection.execute(select(steps).where(steps.c.id == step["id"])).mappings().one()
    work = works_of_steps(context.connection, [row])[row["id"]]
    return step_resource(row, work, site_hold(context.connection, step["id"]))
