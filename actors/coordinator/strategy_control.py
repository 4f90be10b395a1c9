"""Pause, resume and cancel the strategy: its holds, and the marks of what is to be stopped."""

from __future__ import annotations

from sqlalchemy import RowMapping, and_, delete, select, update

from actors.coordinator.context import CommandContext, read_body, require_password, seal
from actors.coordinator.strategies import change_strategy, find_strategy, fire, wrong_state
from db.cancellation import cancel_strategy as mark_strategy
from db.holds import NewHold, end_holds, open_hold, open_holds
from db.schema import holds, preparations, secrets
from messages.commands import Command
from messages.requests.strategy_control import CancelRequest, PauseRequest, ResumeRequest
from messages.schemas import ResumedStrategy, Strategy
from messages.serializers import strategy_resource
from statemachine.rollout import HoldKind, HoldScope
from statemachine.states import PreparationState, StrategyState


def pause_strategy(context: CommandContext, command: Command) -> Strategy:
    """Hold the strategy: after the answer no site starts, and with the scope `phases` no next phase either.

    Queued runs of the sites that it covers are withdrawn and cost no attempt. A repeat changes nothing; a wider scope
    widens the hold.

    Raises:
        CommandRefusedError: 400 for the first wrong field; 422 without a strategy that is `applying`.
    """
    request = read_body(PauseRequest, command.data)
    strategy = _find_applying(context, command, "pause")
    hold = NewHold(
        strategy_id=strategy["id"],
        kind=HoldKind.OPERATOR,
        scope=HoldScope(request.scope),
        reason=request.reason,
        by=command.requested_by,
    )
    if open_hold(context.work, hold):
        context.notes.append(f"Held {request.scope}{_because(request.reason)}.")
    return _shown(context, strategy)


def resume_strategy(context: CommandContext, command: Command) -> ResumedStrategy:
    """End the holds of the strategy, but for those of single sites; a new password takes the place of the old one.

    A preparation that failed is made once more. Without a hold nothing but the password changes.

    Raises:
        CommandRefusedError: 400 for the first wrong field or a password that cannot be read; 422 without a strategy
            that is `applying`.
    """
    read_body(ResumeRequest, command.data)
    strategy = _find_applying(context, command, "resume")
    of_strategy = and_(holds.c.strategy_id == strategy["id"], holds.c.step_id.is_(None))
    _repeat_preparations(context, strategy)
    ended = end_holds(context.work, of_strategy, by=command.requested_by)
    if ended:
        context.notes.append(f"Holds ended: {ended}.")
    return {**_shown(context, strategy), "secret-replaced": _replace_secret(context, command, strategy)}


def _repeat_preparations(context: CommandContext, strategy: RowMapping) -> None:
    """Let the failed preparations count no more for which steps are held: the plan has them made again."""
    held = select(holds.c.preparation_id).where(
        holds.c.strategy_id == strategy["id"], holds.c.ended_at.is_(None), holds.c.kind == HoldKind.PREPARE
    )
    context.connection.execute(
        update(preparations)
        .where(preparations.c.id.in_(held), preparations.c.state == PreparationState.FAILED)
        .values(state=PreparationState.VOID)
    )


def _replace_secret(context: CommandContext, command: Command, strategy: RowMapping) -> bool:
    if command.sealed_password is None and command.password_fault != "undecodable":  # noqa: S105 - a reason
        return False
    require_password(command, missing="")
    context.connection.execute(delete(secrets).where(secrets.c.strategy_id == strategy["id"]))
    seal(context, command, strategy_id=strategy["id"])
    context.notes.append("The password was replaced.")
    return True


def cancel_strategy(context: CommandContext, command: Command) -> Strategy:
    """Abort the strategy and stop the sites that are worked on; an abort that goes on becomes a cancel.

    Sites without a running playbook end in the transaction of the answer, the others when their worker has stopped
    them. A repeat changes the grace alone.

    Raises:
        CommandRefusedError: 400 for the first wrong field; 422 without a strategy that goes on.
    """
    request = read_body(CancelRequest, command.data)
    strategy = find_strategy(context, command, "cancel")
    context.notes.append(f"Cancelled with a grace of {request.grace_s} s.")
    if strategy["state"] == StrategyState.APPLYING:
        answer = change_strategy(context, strategy, fire(strategy, "abort"), {})
    elif strategy["state"] in (StrategyState.ABORT_REQUESTED, StrategyState.ABORTING):
        answer = _shown(context, strategy)
    else:
        raise wrong_state(strategy, "cancel")
    mark_strategy(context.work, strategy["id"], by=command.requested_by, grace_s=request.grace_s)
    return answer


def _find_applying(context: CommandContext, command: Command, verb: str) -> RowMapping:
    strategy = find_strategy(context, command, verb)
    if strategy["state"] != StrategyState.APPLYING:
        raise wrong_state(strategy, verb)
    return strategy


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def _shown(context: CommandContext, strategy: RowMapping) -> Strategy:
    return strategy_resource(strategy, "message", holds=open_holds(context.connection, [strategy["id"]]))
