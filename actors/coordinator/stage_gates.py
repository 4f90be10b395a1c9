"""Approve and deny what comes after a stage of the strategy; those who created it do not approve."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Literal

from sqlalchemy import RowMapping, and_, select

from actors.coordinator.context import CommandContext, read_body
from actors.coordinator.errors import CommandRefusedError, unprocessable
from actors.coordinator.strategies import change_strategy, find_strategy, fire, wrong_state
from db.holds import end_holds, hold_clock, open_holds
from db.rollout_stages import write_stage
from db.schema import holds, strategies
from messages.commands import Command, CommandType
from messages.event_types import STRATEGY_UPDATED, StrategyUpdated
from messages.requests.strategy_control import DecisionRequest
from messages.schemas import Strategy
from messages.serializers import strategy_resource
from statemachine.rollout import HoldKind
from statemachine.states import StrategyState

_Stage = Mapping[str, Any]


def approve_stage(context: CommandContext, command: Command) -> Strategy:
    """Let later stages start: at once if the gate of the named one waits, else when that has ended and soaked.

    An approval before the end of the stage stands for the gate that was asked for alone: if no site succeeds,
    a second one is needed. A repeat changes nothing.

    Raises:
        CommandRefusedError: 400 for the first wrong field; 403 for the creator, and for others than the approvers;
            422 without a strategy that is `applying` and has such a stage, or if nothing waits for an approval of it.
    """
    request = read_body(DecisionRequest, command.data)
    strategy, stage = _find_stage(context, command, request.stage, "approve")
    _refuse_others(strategy, stage, command)
    gate = and_(holds.c.strategy_id == strategy["id"], holds.c.kind == HoldKind.GATE, holds.c.stage == stage["stage"])
    is_waiting = end_holds(context.work, gate, by=command.requested_by) > 0
    if not is_waiting and (stage["passed-at"] is not None or stage.get("decision") is not None):
        return _shown(context, strategy["id"])
    if not is_waiting and stage.get("gate") is None:
        raise unprocessable(
            f"Unable to approve strategy of type '{strategy['type']}': stage {stage['name']} has no gate and waits"
            " for no approval."
        )
    _write_decision(context, strategy, stage, _decision(context, command, request.note), is_passed=is_waiting)
    return _shown(context, strategy["id"])


def deny_stage(context: CommandContext, command: Command) -> Strategy:
    """Abort the strategy instead of going on after the named stage: no site starts after the answer.

    Raises:
        CommandRefusedError: 400 for the first wrong field; 422 without a strategy that is `applying` and has such a
            stage, or if the strategy has passed it.
    """
    request = read_body(DecisionRequest, command.data)
    strategy, stage = _find_stage(context, command, request.stage, "deny")
    if stage["passed-at"] is not None:
        raise unprocessable(
            f"Unable to deny strategy of type '{strategy['type']}': it has passed stage {stage['name']} already; abort"
            " or cancel it."
        )
    state = fire(strategy, "abort")
    _write_decision(context, strategy, stage, _decision(context, command, request.note), is_passed=False)
    return change_strategy(context, _row(context, strategy["id"]), state, {})


def _find_stage(
    context: CommandContext, command: Command, name: str, verb: Literal["approve", "deny"]
) -> tuple[RowMapping, _Stage]:
    strategy = find_strategy(context, command, verb)
    if strategy["state"] != StrategyState.APPLYING:
        raise wrong_state(strategy, verb)
    stages = [one for one in strategy["rollout"].get("stages") or () if "passed-at" in one]
    for one in stages:
        if one["name"] == name:
            return strategy, one
    known = f"its stages are {', '.join(one['name'] for one in stages)}" if stages else "it has no stages of its own"
    raise unprocessable(
        f"Unable to {verb} strategy of type '{strategy['type']}': there is no stage {name} with sites; {known}."
    )


def _refuse_others(strategy: RowMapping, stage: _Stage, command: Command) -> None:
    """Refuse an approval by the creator, and by others than the approvers.

    A gate that was not asked for, after a stage in which no site succeeded, may be opened by the creator too.

    Raises:
        CommandRefusedError: 403; the caller may not approve.
    """
    caller, allowed = command.requested_by, strategy["rollout"].get("approvers")
    if stage.get("gate") is not None and caller == strategy["requested_by"]:
        raise _forbidden(
            f"{caller} created the strategy, and somebody else has to approve it: make a token per person"
            " (prestager token create NAME)."
        )
    if allowed and caller not in allowed:
        raise _forbidden(f"{caller} is none of those who may approve this strategy: {', '.join(allowed)}.")


def _forbidden(detail: str) -> CommandRefusedError:
    return CommandRefusedError(HTTPStatus.FORBIDDEN, detail)


def _decision(context: CommandContext, command: Command, note: str | None) -> dict[str, str | None]:
    verdict = "approved" if command.type == CommandType.STRATEGY_APPROVE else "denied"
    at = hold_clock(context.connection).isoformat()
    return {"verdict": verdict, "by": command.requested_by, "at": at, "note": note}


def _write_decision(
    context: CommandContext, strategy: RowMapping, stage: _Stage, decision: dict[str, str | None], *, is_passed: bool
) -> None:
    values = {"decision": decision, **({"passed-at": decision["at"]} if is_passed else {})}
    write_stage(context.connection, strategy["id"], stage["stage"], values)
    context.work.emit(STRATEGY_UPDATED, f"strategy/{strategy['id']}", StrategyUpdated(fields=["stages"]))
    note = decision["note"]
    context.notes.append(f"Stage {stage['name']} {decision['verdict']}{f': {note}' if note else ''}.")


def _row(context: CommandContext, strategy_id: int) -> RowMapping:
    return context.connection.execute(select(strategies).where(strategies.c.id == strategy_id)).mappings().one()


def _shown(context: CommandContext, strategy_id: int) -> Strategy:
    row = _row(context, strategy_id)
    return strategy_resource(row, "message", holds=open_holds(context.connection, [strategy_id]))
