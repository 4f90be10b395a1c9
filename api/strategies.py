"""/v1.0/sw-update-strategy: one strategy at a time (contract 3.1, 3.3 to 3.5)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from aiohttp import web
from sqlalchemy import Connection

from api.context import SERVICES
from api.database_reader import encode, json_answer
from api.errors import ApiError
from api.request_body import read_object
from api.send_command import ask
from api.validation import judged, read_known, read_query
from db import read_queries as listing
from messages.commands import CommandType
from messages.not_served import with_not_served
from messages.requests.base import shown
from messages.requests.queries import TypeQuery
from messages.requests.strategy import ActionRequest, StrategyBody
from messages.serializers import strategy_resource

_ACTIONS: Final = {"apply": CommandType.STRATEGY_APPLY, "abort": CommandType.STRATEGY_ABORT}


async def show(request: web.Request) -> web.Response:
    """Show the active strategy, if it is of the type asked for."""
    wanted = _asked_type(request)

    def read(connection: Connection) -> bytes:
        row = listing.active_strategy(connection)
        if row is None or wanted not in {None, row["type"]}:
            raise _not_found(wanted)
        return encode(strategy_resource(row, "read"))

    return json_answer(await request.app[SERVICES].reads.run(read))


async def create(request: web.Request) -> web.Response:
    """Ask for a new strategy."""
    body = await read_known(request, StrategyBody)
    return await ask(request, CommandType.STRATEGY_CREATE, data=body, with_password=True)


async def act(request: web.Request) -> web.Response:
    """Ask to apply or to abort."""
    wanted = judged(ActionRequest, await read_object(request))
    return await ask(request, _ACTIONS[wanted.action], data={"type": _asked_type(request)})


async def delete(request: web.Request) -> web.Response:
    """Ask to remove the strategy."""
    return await ask(request, CommandType.STRATEGY_DELETE, data={"type": _asked_type(request)})


def _asked_type(request: web.Request) -> str | None:
    return read_query(TypeQuery, request).type


def _not_found(wanted: str | None) -> ApiError:
    detail = (
        "Strategy not found"
        if wanted is None
        else with_not_served(f"Strategy of type '{shown(wanted)}' not found", wanted)
    )
    return ApiError(HTTPStatus.NOT_FOUND, detail)
