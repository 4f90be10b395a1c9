"""Routes about the service itself: versions, liveness, readiness, its processes, and who the caller is to it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus

import structlog
from aiohttp import web
from sqlalchemy import Connection

from api.context import CALLER, SERVICES
from api.responses import database_response, encode, encode_list, json_response
from db.heartbeats import all_processes
from messages.process_info import SHOWN_ONLY_BY_API, is_ready, readiness_body
from messages.serializers import caller_resource, worker_resource

_log = structlog.get_logger(__name__)


async def show_versions(request: web.Request) -> web.Response:
    """Show the versions of this API, of which there is one."""
    link = {"rel": "self", "href": f"{request.scheme}://{request.host}/v1.0/"}
    version = {"status": "CURRENT", "id": "v1.0", "updated": "2017-10-2", "links": [link]}
    return json_response(encode({"versions": [version]}))


async def show_alive(request: web.Request) -> web.Response:
    """Tell that the process answers; nothing else is looked at."""
    del request
    return json_response(encode({"alive": True}))


async def show_ready(request: web.Request) -> web.Response:
    """Return the result of each check; 503 when one failed that decides readiness."""
    checks = await _checks(request)
    body = readiness_body(checks, "ready", SHOWN_ONLY_BY_API)
    status = HTTPStatus.OK if is_ready(checks, SHOWN_ONLY_BY_API) else HTTPStatus.SERVICE_UNAVAILABLE
    return json_response(encode(body), status)


async def show_started(request: web.Request) -> web.Response:
    """Tell whether this process was ready once; 503 while it is still starting."""
    started = request.app[SERVICES].started()
    status = HTTPStatus.OK if started else HTTPStatus.SERVICE_UNAVAILABLE
    return json_response(encode({"started": started}), status)


async def _checks(request: web.Request) -> Mapping[str, str | None]:
    services = request.app[SERVICES]
    try:
        async with asyncio.timeout(services.limits.readiness_s):
            return await services.readiness()
    except TimeoutError:
        return {"readiness": f"no result within {services.limits.readiness_s:g} s"}
    except Exception as error:  # noqa: BLE001 - whatever is wrong, the answer is: not ready
        _log.error("readiness check failed", error=type(error).__name__)
        return {"readiness": "the check itself failed"}


async def show_workers(request: web.Request) -> web.Response:
    """Show every process of the installation as it reported itself last; the dead are forgotten after a day."""

    def read(connection: Connection) -> bytes:
        return encode_list("workers", map(worker_resource, all_processes(connection)))

    return await database_response(request, read)


async def show_caller(request: web.Request) -> web.Response:
    """Show the caller: the name that the audit has, and the roles."""
    caller = request[CALLER]
    return json_response(encode(caller_resource(caller.name, caller.roles, caller.project)))
