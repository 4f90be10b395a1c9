"""/v1.0/sw-update-strategy: the active strategy and its steps (contract 3.1 to 3.5)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from aiohttp import web
from sqlalchemy import Connection

from api.auth import CHANGE, require_role
from api.context import CALLER
from api.filters import encode_listed, read_steps
from api.history import encode_problems
from api.responses import database_response, encode
from api.send_command import send_command
from api.validation import (
    path_ref,
    read_known,
    read_object,
    read_query,
    refuse_unknown_names,
    step_not_found,
    strategy_not_found,
    validated,
)
from db import read_queries
from db.forecasts import read_forecasts
from db.holds import open_holds, site_hold, site_holds
from db.load_situation import load_situation, step_situation
from db.strategy_progress import blocking_sites, step_progress
from messages.commands import STRATEGY_ACTIONS, CommandType
from messages.requests.queries import StepsQuery, TypeQuery
from messages.requests.strategy import ActionRequest, StrategyBody, StrategyCommand
from messages.requests.strategy_control import ACTION_BODIES, StepCancelRequest, StepUpdate, StrategyUpdate
from messages.serializers import counted_strategy_resource, progress_resource
from messages.step_schemas import Explanation
from messages.step_serializers import commanded_step_resource, step_resource
from statemachine.explain import explain


async def show(request: web.Request) -> web.Response:
    """Show the active strategy, if it is of the type asked for."""
    wanted = _asked_type(request)

    def read(connection: Connection) -> bytes:
        row = read_queries.active_strategy(connection)
        if row is None or wanted not in {None, row["type"]}:
            raise strategy_not_found(wanted)
        counted = step_progress(connection, [row["id"]])[row["id"]]
        holds = open_holds(connection, [row["id"]])
        expected = read_forecasts(connection, [row], holds)[row["id"]]
        progress = progress_resource(counted, blocking_sites(connection, row), expected)
        return encode(counted_strategy_resource(row, progress, holds))

    return await database_response(request, read)


async def create(request: web.Request) -> web.Response:
    """Ask for a new strategy."""
    body = await read_known(request, StrategyBody)
    return await send_command(request, CommandType.STRATEGY_CREATE, data=body)


async def preview(request: web.Request) -> web.Response:
    """Show the strategy that a request would create, without creating it."""
    body = await read_known(request, StrategyCommand)
    return await send_command(request, CommandType.STRATEGY_PREVIEW, data=body)


async def act(request: web.Request) -> web.Response:
    """Ask to apply, abort, pause, resume or cancel."""
    body = await read_object(request)
    wanted = validated(ActionRequest, body)
    if wanted.action != "pause":
        require_role(request[CALLER], CHANGE)
    model = ACTION_BODIES.get(wanted.action)
    options = {} if model is None else {key: value for key, value in body.items() if key != "action"}
    if model is not None:
        refuse_unknown_names(model, options)
    return await send_command(request, STRATEGY_ACTIONS[wanted.action], data={**options, "type": _asked_type(request)})


async def update(request: web.Request) -> web.Response:
    """Ask to change width, failure budget, slow start or time limits."""
    body = await read_known(request, StrategyUpdate)
    wanted = _asked_type(request) or body.get("type")
    return await send_command(request, CommandType.STRATEGY_UPDATE, data={**body, "type": wanted})


async def delete(request: web.Request) -> web.Response:
    """Ask to remove the strategy."""
    return await send_command(request, CommandType.STRATEGY_DELETE, data={"type": _asked_type(request)})


def _asked_type(request: web.Request) -> str | None:
    return read_query(TypeQuery, request).type


async def show_steps(request: web.Request) -> web.Response:
    """Show the steps of the active strategy that the filters leave; an empty list without a strategy."""
    query = read_query(StepsQuery, request)

    def read(connection: Connection) -> bytes:
        active = read_queries.active_strategy(connection)
        rows = [] if active is None else read_steps(connection, active["id"], query)
        held = {} if active is None else site_holds(connection, active["id"])
        works = read_queries.works_of_steps(connection, rows)
        shown = partial(_listed_step, works, held, query.fields)
        return encode_listed(request, "strategy-steps", rows, shown, query)

    return await database_response(request, read)


def _listed_step(
    works: Mapping[int, Any], held: Mapping[int, Any], fields: tuple[str, ...] | None, row: Mapping[str, Any]
) -> Mapping[str, Any]:
    step: Mapping[str, Any] = step_resource(row, works[row["id"]], held.get(row["id"]))
    return step if fields is None else {key: step[key] for key in fields}


async def show_problems(request: web.Request) -> web.Response:
    """Show why steps of the active strategy did not succeed, the most frequent cause first."""
    wanted = _asked_type(request)

    def read(connection: Connection) -> bytes:
        row = read_queries.active_strategy(connection)
        if row is None or wanted not in {None, row["type"]}:
            raise strategy_not_found(wanted)
        return encode_problems(connection, row["id"])

    return await database_response(request, read)


async def show_step(request: web.Request) -> web.Response:
    """Show the step of one subcloud, by name only."""
    name = path_ref(request, step_not_found())

    def read(connection: Connection) -> bytes:
        row = read_queries.active_step(connection, name)
        if row is None:
            raise step_not_found()
        work = read_queries.works_of_steps(connection, [row])[row["id"]]
        held = site_hold(connection, row["id"])
        situation = step_situation(connection, row, is_held=held is not None)
        return encode(commanded_step_resource(row, work, held, situation))

    return await database_response(request, read)


async def explain_step(request: web.Request) -> web.Response:
    """Tell why the step of one subcloud is where it is, in one sentence."""
    name = path_ref(request, step_not_found())

    def read(connection: Connection) -> bytes:
        row = read_queries.active_step(connection, name)
        situation = None if row is None else load_situation(connection, row["id"])
        if row is None or situation is None:
            raise step_not_found()
        told: Explanation = {"cloud": name, "state": row["state"], "explanation": explain(situation)}
        return encode(told)

    return await database_response(request, read)


async def update_step(request: web.Request) -> web.Response:
    """Ask to hold one site, to end its hold, or to put it first."""
    name = path_ref(request, step_not_found())
    body = await read_known(request, StepUpdate)
    if validated(StepUpdate, body).first:
        require_role(request[CALLER], CHANGE)
        return await send_command(request, CommandType.STEP_FIRST, subject=name)
    return await send_command(request, CommandType.STEP_HOLD, subject=name, data=body)


async def cancel_step(request: web.Request) -> web.Response:
    """Ask to stop the work on one site, in the strategy or by itself."""
    name = path_ref(request, step_not_found())
    body = await read_known(request, StepCancelRequest, empty_allowed=True)
    return await send_command(request, CommandType.STEP_CANCEL, subject=name, data=body)


async def retry_step(request: web.Request) -> web.Response:
    """Ask to begin the work on one site anew."""
    name = path_ref(request, step_not_found())
    return await send_command(request, CommandType.STEP_RETRY, subject=name)
