"""Apply, abort and delete the strategy (contract 3.4, 3.5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import RowMapping, delete, select, update

from actors.coordinator.context import CommandContext
from actors.coordinator.errors import CommandRefusedError, unprocessable
from db.holds import end_holds, hold_clock
from db.schema import holds, secrets, steps, strategies, strategy_is_active
from messages.commands import Command
from messages.dcmanager import with_not_served
from messages.event_types import EmptyData, event_name
from messages.requests.base import truncate_for_error
from messages.schemas import Strategy
from messages.serializers import strategy_resource
from statemachine.errors import IllegalTransitionError
from statemachine.machines import fire_strategy
from statemachine.states import StrategyState
from tracing.tracer import active_traceparent

_PAST: Final = {
    "apply": "applied",
    "abort": "aborted",
    "delete": "deleted",
    "pause": "paused",
    "resume": "resumed",
    "cancel": "cancelled",
    "update": "updated",
    "approve": "approved",
    "deny": "denied",
}


def apply_strategy(context: CommandContext, command: Command) -> Strategy:
    """Start the strategy: the first stage is handed out in the same transaction.

    Raises:
        CommandRefusedError: 422; there is no such strategy, or it is not `initial`.
    """
    return _move(context, command, "apply")


def abort_strategy(context: CommandContext, command: Command) -> Strategy:
    """Stop the strategy: no step starts after the answer, running ones finish all their phases.

    Raises:
        CommandRefusedError: 422; there is no such strategy, or it is not `applying`.
    """
    return _move(context, command, "abort")


def delete_strategy(context: CommandContext, command: Command) -> Strategy:
    """Make the strategy history: the answer shows it `deleting`, the next look finds none.

    Raises:
        CommandRefusedError: 422; there is no such strategy, or it still moves.
    """
    strategy = find_strategy(context, command, "delete")
    fire(strategy, "delete")
    make_history(context, strategy, by=command.requested_by)
    answer = {**strategy, "updated_at": context.at}
    return strategy_resource(answer, "message", state=StrategyState.DELETING)


def make_history(context: CommandContext, strategy: RowMapping, *, by: str) -> None:
    """Make a strategy history that does not move; `by` is the caller. Its open steps are no longer to be done."""
    # History keeps the state that the strategy came to; `deleting` lives in the answer only.
    context.connection.execute(
        update(strategies).where(strategies.c.id == strategy["id"]).values(deleted_at=context.at, updated_at=context.at)
    )
    end_holds(context.work, holds.c.strategy_id == strategy["id"], by=by)
    # Steps that a failure kept from starting stay `initial` in history, and are no longer to be done.
    context.connection.execute(
        update(steps)
        .where(steps.c.strategy_id == strategy["id"], steps.c.finished_at.is_(None))
        .values(finished_at=context.at)
    )
    context.connection.execute(delete(secrets).where(secrets.c.strategy_id == strategy["id"]))
    _emit(context, strategy, "deleted")


def _move(context: CommandContext, command: Command, verb: str) -> Strategy:
    strategy = find_strategy(context, command, verb)
    state = fire(strategy, verb)
    values: dict[str, Any] = {}
    if verb == "apply":
        values["applied_at"] = hold_clock(context.connection)
        # The traces of all its phases lead back to this one.
        values["trace"] = active_traceparent()
    return change_strategy(context, strategy, state, values)


def change_strategy(
    context: CommandContext, strategy: RowMapping, state: StrategyState, values: Mapping[str, Any]
) -> Strategy:
    """Bring the strategy to a state, with an event; return it as it is then.

    Holds are shown as they are before the plan, which ends those of a strategy that is stopped.
    """
    context.connection.execute(
        update(strategies)
        .where(strategies.c.id == strategy["id"])
        .values(**{"state": state, "updated_at": context.at, **values})
    )
    _emit(context, strategy, state)
    return strategy_resource({**strategy, "updated_at": context.at}, "message", state=state)


def _emit(context: CommandContext, strategy: RowMapping, state: str) -> None:
    event = event_name("strategy", strategy["type"], state)
    context.work.emit(event, f"strategy/{strategy['id']}", EmptyData())


def find_strategy(context: CommandContext, command: Command, verb: str) -> RowMapping:
    """Return the strategy that a command is about.

    Raises:
        CommandRefusedError: 422; there is none, or none of the type that the command names.
    """
    wanted = command.data.get("type")
    query = select(strategies).where(strategy_is_active)
    if wanted is not None:
        query = query.where(strategies.c.type == str(wanted))
    strategy = context.connection.execute(query).mappings().one_or_none()
    if strategy is None:
        raise unprocessable(_missing(verb, wanted))
    return strategy


def _missing(verb: str, wanted: Any) -> str:
    """Return why a verb has no strategy to work on: there is none, or none of the type asked for."""
    if wanted is None:
        return f"Unable to {verb} strategy: There is no strategy."
    kind = truncate_for_error(wanted)
    return with_not_served(
        f"Unable to {verb} strategy of type '{kind}': Strategy with type {kind} doesn't exist.", wanted
    )


def fire(strategy: RowMapping, verb: str) -> StrategyState:
    """Return the state that a verb leads the strategy to.

    Raises:
        CommandRefusedError: 422; its state has no such transition.
    """
    try:
        return fire_strategy(strategy["state"], verb)
    except IllegalTransitionError as error:
        raise wrong_state(strategy, verb) from error


def wrong_state(strategy: RowMapping, verb: str) -> CommandRefusedError:
    """Return the refusal of a verb that the state of the strategy does not allow."""
    return unprocessable(
        f"Unable to {verb} strategy of type '{strategy['type']}': Bad strategy request: Strategy in state"
        f" {strategy['state']} cannot be {_PAST[verb]}"
    )
