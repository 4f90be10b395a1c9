"""Create, apply, abort and delete the strategy (contract 3.3 to 3.5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Integer, RowMapping, String, bindparam, delete, insert, select, update

from actors.coordinator.context import (
    CommandContext,
    controller_is_upgrading,
    dcmanager_operations,
    joined_notes,
    read_body,
    read_release,
    require_password,
    seal,
    waiting_step,
)
from actors.coordinator.errors import CommandRefusedError, bad_request, unprocessable
from actors.coordinator.rollout import counted_options, places_of_steps, rollout_columns
from actors.coordinator.worker_checks import idle_queues, require_playbooks, require_release
from db.holds import end_holds, hold_clock
from db.inventory import candidates, find_group, find_subcloud, site_status
from db.json_table import given_rows
from db.schema import holds, is_among, secrets, steps, strategies, strategy_is_active, subclouds
from db.site_records import site_records
from messages.commands import Command
from messages.dcmanager import with_not_served
from messages.event_types import EmptyData, StrategyCreated, event_name
from messages.requests.base import truncate_for_error, unused_note
from messages.requests.strategy import StrategyCommand, StrategyRequest
from messages.schemas import CreatedStrategy, Strategy
from messages.serializers import NO_ERRORS, strategy_resource
from statemachine.eligibility import (
    CONTROLLER_UPGRADING,
    Ineligibility,
    check_release,
    check_status,
)
from statemachine.errors import IllegalTransitionError
from statemachine.machines import fire_strategy
from statemachine.proofs import may_prove
from statemachine.site_operations import check_operation
from statemachine.states import StrategyState
from tracing.tracer import active_traceparent

# Columns that each step has for itself, and those that all steps of a strategy have alike.
_PLACED: Final = given_rows("placed", subcloud_id=BigInteger, subcloud_name=String, stage=Integer, position=BigInteger)
_ALIKE: Final = {
    column.name: bindparam(f"of_{column.name}", type_=column.type)
    for column in (
        steps.c.state,
        steps.c.details,
        steps.c.release,
        steps.c.force,
        steps.c.version,
        steps.c.created_at,
        steps.c.for_sw_deploy,
        steps.c.strategy_id,
        steps.c.type,
    )
}
_INSERT_STEPS: Final = insert(steps).from_select(
    [*(column.name for column in _PLACED.c), *_ALIKE], select(*_PLACED.c, *_ALIKE.values())
)
_CANNOT: Final = "Unable to create strategy of type '{kind}': Bad strategy request: {reason}"


def create_strategy(context: CommandContext, command: Command) -> CreatedStrategy:
    """Create the strategy and its steps; nothing runs until it is applied.

    `excluded-subclouds` of the strategy names those that a group or the whole fleet left out, with the reason.

    Raises:
        CommandRefusedError: 400 or 422 with the contract's text for the first error in its order; nothing was changed.
    """
    return new_strategy(context, command)


@dataclass(frozen=True, kw_only=True)
class RetriedSites:
    """The sites that a retry may have, as the earlier strategy had them."""

    # The strategy that is retried.
    strategy_id: int
    subcloud_ids: frozenset[int]
    # Name and reason of those whose subclouds were removed.
    gone: Sequence[dict[str, str]]
    # Whether a phase is passed that an earlier run has proved.
    is_resumed: bool

    def among(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        """Yield those of the rows of subclouds that are retried."""
        return (row for row in rows if row["id"] in self.subcloud_ids)


def new_strategy(context: CommandContext, command: Command, *, retried: RetriedSites | None = None) -> CreatedStrategy:
    """Create the strategy that a command asks for; `retried` are the only sites that it may have.

    Raises:
        CommandRefusedError: As `create_strategy` does.
    """
    request = read_body(StrategyRequest, command.data, whole=StrategyCommand)
    group = _find_group(context, request.group)
    require_password(command, missing="subcloud sysadmin_password required")
    release = read_release(command.data, context.rules.release)
    note = require_release(context, release, for_sw_deploy=request.for_sw_deploy)
    _refuse_second_strategy(context, request)
    chosen, excluded = _choose(context, request, group, release, retried)
    playbooks = require_playbooks(context, _CANNOT.format(kind=request.type, reason=""))
    options, excluding = counted_options(request, group, context.rules.rollout)
    if excluding is not None:
        raise _cannot(request, excluding)
    given = {
        "release": release,
        "requested_by": command.requested_by,
        "retry_of": None if retried is None else retried.strategy_id,
        **rollout_columns(options, len(chosen), stop_on_failure=request.stop_on_failure),
    }
    strategy = _insert_strategy(context, request, group, excluded, given)
    _insert_steps(context, request, chosen, strategy)
    if retried is not None and retried.is_resumed:
        _let_resume(context, strategy, chosen)
    seal(context, command, strategy_id=strategy["id"])
    created = StrategyCreated(steps=len(chosen))
    if retried is not None:
        created["retry_of"] = retried.strategy_id
    event = event_name("strategy", strategy["type"], StrategyState.INITIAL)
    context.work.emit(event, f"strategy/{strategy['id']}", created)
    notes = joined_notes(note, playbooks, *idle_queues(context), unused_note(StrategyCommand, command.data))
    return {**strategy_resource(strategy, "message"), "info_message": notes}


def _find_group(context: CommandContext, ref: str | None) -> RowMapping | None:
    if ref is None:
        return None
    group = find_group(context.connection, ref)
    if group is None:
        raise bad_request("Invalid group_id")
    return group


def _cannot(request: StrategyRequest, reason: str) -> CommandRefusedError:
    return unprocessable(_CANNOT.format(kind=request.type, reason=reason))


def _refuse_second_strategy(context: CommandContext, request: StrategyRequest) -> None:
    existing = context.connection.execute(select(strategies.c.type).where(strategy_is_active)).scalar()
    if existing is not None:
        raise _cannot(request, f"Strategy of type: '{existing}' already exists")


def _choose(
    context: CommandContext,
    request: StrategyRequest,
    group: RowMapping | None,
    release: str,
    retried: RetriedSites | None,
) -> tuple[Sequence[Mapping[str, Any]], list[dict[str, str]]]:
    """Return the eligible subclouds, and the others with their reasons."""
    single = None
    if request.cloud is not None:
        single = find_subcloud(context.connection, request.cloud)
        if single is None:
            raise _cannot(request, f"Subcloud {request.cloud} does not exist")
    if controller_is_upgrading(context):
        raise _cannot(request, CONTROLLER_UPGRADING)
    operations = dcmanager_operations(context)
    if single is not None:
        ineligibility = _check_release(request, single, release)
        if ineligibility is not None:
            raise _cannot(request, ineligibility.text)
    eligible, excluded = [], [] if retried is None else list(retried.gone)
    found = candidates(
        context.connection,
        group_id=group["id"] if group is not None else None,
        subcloud_id=single["id"] if single is not None else None,
    )
    for row in found if retried is None else retried.among(found):
        ineligibility = (
            check_status(site_status(row))
            or check_operation(row["name"], operations.get(row["name"]))
            or _check_release(request, row, release)
        )
        if ineligibility is None:
            eligible.append(row)
        elif single is not None:
            raise _cannot(request, ineligibility.text)
        else:
            excluded.append({"name": row["name"], "reason": ineligibility.text})
    if not eligible:
        raise _cannot(request, "Strategy has no steps to apply")
    return eligible, excluded


def _check_release(request: StrategyRequest, subcloud: Mapping[Any, Any], release: str) -> Ineligibility | None:
    name, version = subcloud["name"], subcloud["software_version"]
    return check_release(name, release, version, for_sw_deploy=request.for_sw_deploy)


def _insert_strategy(
    context: CommandContext,
    request: StrategyRequest,
    group: RowMapping | None,
    excluded: list[dict[str, str]],
    given: Mapping[str, Any],
) -> RowMapping:
    """Insert the strategy; a named group lends its way of applying to the answer (contract 3.1)."""
    group_type = group["update_apply_type"] if group is not None else None
    width = request.max_parallel or (group["max_parallel_subclouds"] if group is not None else None)
    statement = (
        insert(strategies)
        .values(
            type=request.type,
            subcloud_apply_type=request.apply_type or group_type,
            max_parallel_subclouds=width,
            stop_on_failure=request.stop_on_failure,
            force=request.force,
            **given,
            for_sw_deploy=request.for_sw_deploy,
            state=StrategyState.INITIAL,
            excluded=excluded,
            created_at=context.at,
        )
        .returning(strategies)
    )
    return context.connection.execute(statement).mappings().one()


def _insert_steps(
    context: CommandContext, request: StrategyRequest, chosen: Sequence[Mapping[str, Any]], strategy: RowMapping
) -> None:
    names = {row["id"]: row["name"] for row in chosen}
    places = places_of_steps(context.connection, strategy, request, chosen)
    placed = [
        {"subcloud_id": subcloud_id, "subcloud_name": names[subcloud_id], "stage": stage, "position": position}
        for subcloud_id, stage, position in places
    ]
    alike = waiting_step(context, strategy["release"], force=strategy["force"]) | {
        "for_sw_deploy": strategy["for_sw_deploy"],
        "strategy_id": strategy["id"],
        "type": strategy["type"],
    }
    context.connection.execute(_INSERT_STEPS, {"placed": placed, **{f"of_{name}": one for name, one in alike.items()}})
    failed_before = [row["id"] for row in chosen if row["error_description"] != NO_ERRORS]
    context.connection.execute(
        update(subclouds).where(is_among(subclouds.c.id, "chosen")).values(error_description=NO_ERRORS),
        {"chosen": failed_before},
    )


def _let_resume(context: CommandContext, strategy: RowMapping, chosen: Sequence[Mapping[str, Any]]) -> None:
    """Let the sites pass phases whose earlier runs may prove them, once the controller's content is known."""
    records = site_records(context.connection, dict.fromkeys((row["id"] for row in chosen), strategy["for_sw_deploy"]))
    resuming = [subcloud_id for subcloud_id, record in records.items() if may_prove(strategy["release"], record)]
    context.connection.execute(
        update(steps)
        .where(steps.c.strategy_id == strategy["id"], is_among(steps.c.subcloud_id, "resuming"))
        .values(resumes=True),
        {"resuming": resuming},
    )


_PAST: Final = {
    "apply": "applied",
    "abort": "aborted",
    "delete": "deleted",
    "pause": "paused",
    "resume": "resumed",
    "cancel": "cancelled",
    "update": "updated",
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
