"""HTTP server of each process for metrics and health. It needs no token: it shows no secret and no site.

Bind it to an address that only monitoring reaches.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from messages.process_info import is_ready, readiness_body

_log = structlog.get_logger(__name__)

_READINESS_S: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Health:
    """Health checks of a process; each returns None for a check that is well, else one sentence."""

    # Whether it is beyond repair and should be started anew; database and broker do not count.
    alive: Callable[[], Mapping[str, str | None]]
    ready: Callable[[], Awaitable[Mapping[str, str | None]]]
    started: Callable[[], bool]


def create_monitor(registry: CollectorRegistry, health: Health) -> web.Application:
    """Return the application with /livez, /readyz, /startupz and /metrics."""
    # A thread of its own: others may be busy waiting for a database that is away.
    thread = ThreadPoolExecutor(max_workers=2, thread_name_prefix="scrape")

    async def show_alive(_: web.Request) -> web.Response:
        return _checks(health.alive())

    async def show_ready(_: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(_READINESS_S):
                return _checks(await health.ready())
        except TimeoutError:
            return _checks({"readiness": f"no result within {_READINESS_S:g} s"})
        except Exception as error:  # noqa: BLE001 - any error means: not ready
            _log.error("readiness check failed", error=type(error).__name__)
            return _checks({"readiness": "the check itself failed"})

    async def show_started(_: web.Request) -> web.Response:
        return _checks({"start": None if health.started() else "still starting"})

    async def show_metrics(_: web.Request) -> web.Response:
        body = await asyncio.get_running_loop().run_in_executor(thread, generate_latest, registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def close(_: web.Application) -> None:
        thread.shutdown(wait=False, cancel_futures=True)

    app = web.Application()
    app.router.add_get("/livez", show_alive)
    app.router.add_get("/readyz", show_ready)
    app.router.add_get("/startupz", show_started)
    app.router.add_get("/metrics", show_metrics)
    app.on_cleanup.append(close)
    return app


def _checks(found: Mapping[str, str | None]) -> web.Response:
    body = readiness_body(found, "ok")
    status = HTTPStatus.OK if is_ready(found) else HTTPStatus.SERVICE_UNAVAILABLE
    return web.Response(status=status, text=json.dumps(body), content_type="application/json")
