"""Routes about the service itself: versions, liveness, readiness, its processes, and who the caller is to it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import web
from sqlalchemy import Connection

from api.context import CALLER, SERVICES, Services
from api.errors import RETRY_AFTER, ApiError
from api.responses import database_response, encode, encode_list, json_response
from api.validation import not_found, path_ref
from broker.queue_states import State, is_of_dead_letters, verdict
from db.heartbeats import ServedQueue, all_processes, living_processes, served_queues
from db.webhooks import all_webhooks
from messages.commands import WorkerAction
from messages.process_info import SHOWN_ONLY_BY_API, is_ready, readiness_body
from messages.process_schemas import Queue
from messages.process_serializers import caller_resource, release_resource, webhook_state, worker_resource
from statemachine.errors import PrestagerError
from statemachine.releases import release_order

_NO_WORKER: Final = "There is no living worker of this name; GET /v1.0/workers lists them"
_ONE_PROCESS: Final = "One process does everything and never drains; stop the service instead"
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


async def drain_worker(request: web.Request) -> web.Response:
    """Have a worker finish its runs and take no more, until it is started anew or undrained."""
    return await _ask_worker(request, WorkerAction.DRAIN)


async def undrain_worker(request: web.Request) -> web.Response:
    """Have a worker that drains take runs again; one that does not drain goes on as before."""
    return await _ask_worker(request, WorkerAction.UNDRAIN)


async def _ask_worker(request: web.Request, action: WorkerAction) -> web.Response:
    services = request.app[SERVICES]
    worker = path_ref(request, not_found(_NO_WORKER))

    def is_alive(connection: Connection) -> bool:
        return any(row["name"] == worker and row["slots"] is not None for row in living_processes(connection))

    if not await services.reads.run(is_alive):
        raise not_found(_NO_WORKER)
    ask = partial(services.ask_worker, worker, action, caller=request[CALLER].name, origin=request.remote or "")
    try:
        running = await asyncio.to_thread(ask)
    except PrestagerError as error:
        raise ApiError(
            HTTPStatus.SERVICE_UNAVAILABLE, f"Worker {worker} was not reached: {error}", RETRY_AFTER
        ) from None
    if running is None:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, _ONE_PROCESS)
    return json_response(encode({"name": worker, "draining": action is WorkerAction.DRAIN, "running": running}))


async def show_health(request: web.Request) -> web.Response:
    """Show the parts of the service and how they are: checks, queues with their meaning, webhooks, versions."""
    services = request.app[SERVICES]
    checks, (states, fault) = await asyncio.gather(_checks(request), _queue_states(services))

    def read(connection: Connection) -> bytes:
        served = {one.queue: one for one in served_queues(connection)}
        shown = [_queue(name, state, served.get(name)) for name, state in (states or {}).items()]
        dead = [state[0] for name, state in (states or {}).items() if state and is_of_dead_letters(name)]
        processes = living_processes(connection)
        return encode(
            {
                "ready": is_ready(checks, SHOWN_ONLY_BY_API),
                "checks": dict(checks),
                "queues": shown,
                "queues-missing": fault,
                "dead-letters": sum(dead) if states is not None else None,
                "webhooks": [webhook_state(row) for row in all_webhooks(connection)],
                "versions": sorted({row["version"] for row in processes}),
            }
        )

    return await database_response(request, read)


def _queue(name: str, state: State, served: ServedQueue | None) -> Queue:
    ready, consumers = (None, None) if state is None else state
    known = served or ServedQueue(queue=name)
    return {
        "name": name,
        "ready": ready,
        "consumers": consumers,
        "workers": list(known.workers),
        "slots": known.slots,
        "free-slots": known.free,
        "meaning": verdict(name, state, served),
    }


async def _queue_states(services: Services) -> tuple[Mapping[str, State] | None, str | None]:
    """Return the states of the queues, or why there are none to show."""
    try:
        async with asyncio.timeout(services.limits.readiness_s):
            states = await asyncio.to_thread(services.queue_states)
    except TimeoutError:
        return None, "RabbitMQ does not answer in time."
    except PrestagerError as error:
        return None, str(error)
    return states, None if states is not None else "One process does everything: there are no queues."


async def show_releases(request: web.Request) -> web.Response:
    """Show the releases that living workers see on the controller, the newest first."""

    def read(connection: Connection) -> bytes:
        workers = [row for row in living_processes(connection) if row["releases"] is not None]
        known = sorted({one for row in workers for one in row["releases"]}, key=release_order, reverse=True)
        return encode_list("releases", (release_resource(one, workers) for one in known))

    return await database_response(request, read)


async def show_caller(request: web.Request) -> web.Response:
    """Show the caller: the name that the audit has, and the roles."""
    caller = request[CALLER]
    return json_response(encode(caller_resource(caller.name, caller.roles, caller.project)))
