"""/v1.0/sw-update-strategy: the active strategy, its steps and their output (contract 3.1 to 3.5)."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web
from sqlalchemy import Connection

from api.context import SERVICES
from api.errors import ApiError
from api.log_stream import follow
from api.request_body import read_object
from api.responses import database_response, encode, encode_list
from api.send_command import send_command
from api.stream.tail import header
from api.validation import path_ref, read_known, read_query, step_not_found, validated
from db import read_queries
from db.run_output import PhaseOutput, outputs
from messages.commands import STRATEGY_ACTIONS, CommandType
from messages.dcmanager import with_not_served
from messages.requests.base import truncate_for_error
from messages.requests.queries import LogQuery, StepLogQuery, TypeQuery
from messages.requests.strategy import ActionRequest, StrategyBody
from messages.serializers import step_resource, strategy_resource


async def show(request: web.Request) -> web.Response:
    """Show the active strategy, if it is of the type asked for."""
    wanted = _asked_type(request)

    def read(connection: Connection) -> bytes:
        row = read_queries.active_strategy(connection)
        if row is None or wanted not in {None, row["type"]}:
            raise _not_found(wanted)
        return encode(strategy_resource(row, "read"))

    return await database_response(request, read)


async def create(request: web.Request) -> web.Response:
    """Ask for a new strategy."""
    body = await read_known(request, StrategyBody)
    return await send_command(request, CommandType.STRATEGY_CREATE, data=body, with_password=True)


async def act(request: web.Request) -> web.Response:
    """Ask to apply or to abort."""
    wanted = validated(ActionRequest, await read_object(request))
    return await send_command(request, STRATEGY_ACTIONS[wanted.action], data={"type": _asked_type(request)})


async def delete(request: web.Request) -> web.Response:
    """Ask to remove the strategy."""
    return await send_command(request, CommandType.STRATEGY_DELETE, data={"type": _asked_type(request)})


def _asked_type(request: web.Request) -> str | None:
    return read_query(TypeQuery, request).type


def _not_found(wanted: str | None) -> ApiError:
    detail = (
        "Strategy not found"
        if wanted is None
        else with_not_served(f"Strategy of type '{truncate_for_error(wanted)}' not found", wanted)
    )
    return ApiError(HTTPStatus.NOT_FOUND, detail)


async def show_steps(request: web.Request) -> web.Response:
    """Show the steps of the active strategy; an empty list without one."""

    def read(connection: Connection) -> bytes:
        return encode_list("strategy-steps", map(step_resource, read_queries.active_steps(connection)))

    return await database_response(request, read)


async def show_step(request: web.Request) -> web.Response:
    """Show the step of one subcloud, by name only."""
    name = path_ref(request, step_not_found())

    def read(connection: Connection) -> bytes:
        row = read_queries.active_step(connection, name)
        if row is None:
            raise step_not_found()
        return encode(step_resource(row))

    return await database_response(request, read)


async def show_step_log(request: web.Request) -> web.StreamResponse:
    """Show what the newest run of one phase printed so far, or of all phases one after the other.

    With `follow` it goes on with what is printed from now on. Serves the step that started last, of any strategy or
    standalone, and for a phase the last that has it: details of past steps point here too.
    """
    name = path_ref(request, step_not_found())
    phase = read_query(LogQuery, request, HTTPStatus.NOT_FOUND).phase

    if read_query(StepLogQuery, request).follow:
        return await follow(request, name, phase)

    def read(connection: Connection) -> bytes:
        step = read_queries.latest_step(connection, name, phase)
        if step is None:
            raise step_not_found()
        return _render_log(outputs(connection, step, phase), name, phase)

    text = await request.app[SERVICES].reads.run(read)
    return web.Response(body=text, content_type="text/plain", charset="utf-8")


def _render_log(found: list[PhaseOutput], name: str, phase: str | None) -> bytes:
    if not found:
        what = f"phase '{phase}'" if phase else "any phase"
        raise ApiError(HTTPStatus.NOT_FOUND, f"There is no output of {what} for subcloud {name} yet")
    return found[0].content if phase else b"".join(map(_with_header, found))


def _with_header(output: PhaseOutput) -> bytes:
    end = b"" if output.content.endswith(b"\n") else b"\n"
    return header(output.run) + output.content + end
