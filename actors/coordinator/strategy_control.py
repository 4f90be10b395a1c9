"""Pause, resume, cancel and change the strategy: its holds, its limits, and the marks of what is to be stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import RowMapping, and_, delete, func, select, update

from actors.coordinator.context import CommandContext, read_body, require_password, seal
from actors.coordinator.errors import unprocessable
from actors.coordinator.rollout import budget_as_count
from actors.coordinator.strategies import change_strategy, find_strategy, fire, wrong_state
from db.holds import NewHold, end_holds, hold_clock, open_hold, open_holds
from db.holds import cancel_strategy as mark_strategy
from db.load_strategy import load_strategy
from db.rollout_stages import exceeded_stages, set_stage_budget
from db.schema import holds, preparations, secrets, step_has_ended, steps, strategies, strategy_stages
from messages.commands import Command
from messages.event_types import STRATEGY_UPDATED, StrategyUpdated
from messages.requests.rollout import conflict, merge_options
from messages.requests.strategy_control import CancelRequest, PauseRequest, ResumeRequest, StrategyUpdate
from messages.schemas import ResumedStrategy, Strategy
from messages.serializers import strategy_resource
from statemachine.admission import is_halted
from statemachine.rollout import BETWEEN_STAGES, HoldKind, HoldScope, RolloutMode
from statemachine.states import PreparationState, StepState, StrategyState


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
    """End the holds of the strategy, but for those of single sites and between two stages.

    A new password takes the place of the old one. A preparation that failed is made once more. `allow-failures` sets
    the failure budget to that many beyond those that failed: that of the strategy, or those of the stages that exceeded
    theirs. Without a hold only the password and the budget change.

    Raises:
        CommandRefusedError: 400 for the first wrong field or a password that cannot be read; 422 without a strategy
            that is `applying`, or while more sites failed than the failure budget allows.
    """
    request = read_body(ResumeRequest, command.data)
    strategy = _allow_failures(context, _find_applying(context, command, "resume"), request.allow_failures)
    of_strategy = and_(
        holds.c.strategy_id == strategy["id"], holds.c.step_id.is_(None), holds.c.kind.not_in(BETWEEN_STAGES)
    )
    _repeat_preparations(context, strategy)
    ended = end_holds(context.work, of_strategy, by=command.requested_by)
    if ended:
        context.notes.append(f"Holds ended: {ended}.")
    return {**_shown(context, strategy), "secret-replaced": _replace_secret(context, command, strategy)}


def _allow_failures(context: CommandContext, strategy: RowMapping, allowed: int | None) -> RowMapping:
    """Return the strategy with a budget that is not exceeded, or that has stopped it: what has begun may go on."""
    limit = strategy["max_failures"]
    failed = failed_count(context, strategy)
    stages = exceeded_stages(context.connection, strategy["id"])
    if allowed is not None:
        refuse_stopped(context, strategy, "resume")
        for stage in stages:
            set_stage_budget(context.connection, strategy["id"], stage.stage, stage.failed + allowed)
            context.notes.append(f"max-failures of stage {stage.stage} is {stage.failed + allowed} now.")
        if stages and (limit is None or failed <= limit):
            return strategy
        options = {**strategy["rollout"], "max-failures": failed + allowed}
        context.notes.append(f"max-failures is {failed + allowed} now.")
        values = {"rollout": options, "max_failures": failed + allowed, "stop_on_failure": False}
        return _write(context, strategy, values, changed=["max-failures"])
    if _is_stopped(context):
        return strategy
    if limit is not None and failed > limit:
        raise unprocessable(
            f"Unable to resume strategy of type '{strategy['type']}': {failed} failed, and max-failures allows {limit}."
            " Give allow-failures, or raise rollout.max-failures."
        )
    for stage in stages:
        raise unprocessable(
            f"Unable to resume strategy of type '{strategy['type']}': {stage.failed} failed in stage {stage.stage}, and"
            f" its max-failures allows {stage.max_failures}. Give allow-failures."
        )
    return strategy


def refuse_stopped(context: CommandContext, strategy: RowMapping, verb: str) -> None:
    """Refuse a verb that would go on with a strategy that failures have stopped: it ends when what has begun has ended.

    Raises:
        CommandRefusedError: 422; they have.
    """
    if _is_stopped(context):
        failed = failed_count(context, strategy)
        raise unprocessable(
            f"Unable to {verb} strategy of type '{strategy['type']}': {failed} failed, which has stopped it for good."
        )


def _is_stopped(context: CommandContext) -> bool:
    view, _ = load_strategy(context.connection)
    return view is not None and is_halted(view)


def failed_count(context: CommandContext, strategy: RowMapping) -> int:
    """Return how many steps of a strategy have failed."""
    query = select(func.count()).where(
        steps.c.strategy_id == strategy["id"], step_has_ended, steps.c.state == StepState.FAILED
    )
    return context.connection.execute(query).scalar_one()


def _write(
    context: CommandContext, strategy: RowMapping, values: Mapping[str, Any], *, changed: list[str]
) -> RowMapping:
    """Change columns of the strategy and return it whole; `changed` are the names of its options on the wire."""
    context.work.emit(STRATEGY_UPDATED, f"strategy/{strategy['id']}", StrategyUpdated(fields=changed))
    statement = update(strategies).where(strategies.c.id == strategy["id"])
    return (
        context.connection.execute(statement.values(**values, updated_at=context.at).returning(strategies))
        .mappings()
        .one()
    )


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
        # The plan marks its steps, once it has aborted those that wait: one that begins meanwhile is marked too.
        cancel = {
            "cancel_requested_at": hold_clock(context.connection),
            "cancel_requested_by": command.requested_by,
            "cancel_grace_s": request.grace_s,
        }
        return change_strategy(context, strategy, fire(strategy, "abort"), cancel)
    if strategy["state"] not in (StrategyState.ABORT_REQUESTED, StrategyState.ABORTING):
        raise wrong_state(strategy, "cancel")
    mark_strategy(context.work, strategy["id"], by=command.requested_by, grace_s=request.grace_s)
    return _shown(context, strategy)


def update_strategy(context: CommandContext, command: Command) -> Strategy:
    """Change width, failure budget, slow start or time limits of a strategy that is `initial` or `applying`.

    Time limits that are not given stay. A smaller width starts no more sites until enough have ended. A failure budget
    that is exceeded now holds or stops the strategy in the same transaction; one that is not exceeded any more ends its
    hold. Phase and site limits count from the next run of a site on.

    Raises:
        CommandRefusedError: 400 for the first wrong field; 422 without such a strategy, for the width of stages, and
            for options that exclude each other.
    """
    request = read_body(StrategyUpdate, command.data)
    strategy = find_strategy(context, command, "update")
    if strategy["state"] not in (StrategyState.INITIAL, StrategyState.APPLYING):
        raise wrong_state(strategy, "update")
    given = {} if request.rollout is None else request.rollout.given()
    values = _changed_options(context, strategy, given)
    if request.max_parallel is not None:
        values["max_parallel_subclouds"] = _changed_width(context, strategy, request.max_parallel)
        given = {"max-parallel-subclouds": request.max_parallel, **given}
    context.notes.append("Changed " + ", ".join(f"{name}: {json.dumps(value)}" for name, value in given.items()) + ".")
    strategy = _write(context, strategy, values, changed=list(given))
    limit = strategy["max_failures"]
    if limit is None or failed_count(context, strategy) <= limit:
        # That of a stage stands for the budget of the stage, which this does not change.
        is_budget = and_(
            holds.c.strategy_id == strategy["id"], holds.c.kind == HoldKind.BUDGET, holds.c.stage.is_(None)
        )
        end_holds(context.work, is_budget, by=command.requested_by)
    return _shown(context, strategy)


def _changed_options(context: CommandContext, strategy: RowMapping, given: Mapping[str, Any]) -> dict[str, Any]:
    if not given:
        return {}
    present = strategy["rollout"]
    if given.get("timeouts") is not None:
        given = {**given, "timeouts": {**present.get("timeouts", {}), **given["timeouts"]}}
    options = merge_options(given, present)
    excluding = conflict(options)
    if excluding is not None:
        raise unprocessable(f"Unable to update strategy of type '{strategy['type']}': {excluding}.")
    values: dict[str, Any] = {"rollout": options}
    if not given.keys().isdisjoint({"max-failures", "on-budget"}):
        refuse_stopped(context, strategy, "update")
    if "max-failures" in given:
        count = select(func.count()).where(steps.c.strategy_id == strategy["id"])
        budget = budget_as_count(options, context.connection.execute(count).scalar_one())
        values |= {"max_failures": budget, "stop_on_failure": False}
    return values


def _changed_width(context: CommandContext, strategy: RowMapping, width: int) -> int:
    if strategy["mode"] != RolloutMode.WINDOW:
        raise unprocessable(
            f"Unable to update strategy of type '{strategy['type']}': the width of stages is fixed at create."
        )
    # Stages that the rollout names keep the width that it gives them.
    own = [one["stage"] for one in strategy["rollout"].get("stages") or () if one.get("max-parallel") is not None]
    of_groups = and_(strategy_stages.c.strategy_id == strategy["id"], strategy_stages.c.stage.not_in(own))
    context.connection.execute(update(strategy_stages).where(of_groups).values(width=None))
    return width


def _find_applying(context: CommandContext, command: Command, verb: str) -> RowMapping:
    strategy = find_strategy(context, command, verb)
    if strategy["state"] != StrategyState.APPLYING:
        raise wrong_state(strategy, verb)
    return strategy


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def _shown(context: CommandContext, strategy: RowMapping) -> Strategy:
    return strategy_resource(strategy, "message", holds=open_holds(context.connection, [strategy["id"]]))
