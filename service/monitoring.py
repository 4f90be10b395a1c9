"""Listener for the metrics and the health of a process, at PRESTAGER_MONITOR_LISTEN."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import structlog
from aiohttp import web

from api.connections import ConnectionBounds
from api.server import create_listener
from broker.amqp.dead_letters import count_dead_letters
from monitoring.http_server import Health, create_monitor
from monitoring.scrape_metrics import DatabaseMetrics, DeadLetterMetrics
from service.errors import StartError, system_reason
from service.periodic_thread import dead_threads
from service.wiring import Process

_log = structlog.get_logger(__name__)

# Connections of the listener, together and of one address.
_BOUNDS: Final = ConnectionBounds(total=64, per_address=32)


def is_alive() -> Mapping[str, str | None]:
    """Tell whether this process can go on; only a bug keeps it from that."""
    dead = dead_threads()
    return {"loops": f"{', '.join(dead)} ended; start this process anew" if dead else None}


@asynccontextmanager
async def monitoring(process: Process, health: Health, listen: str) -> AsyncIterator[None]:
    """Listen at `listen`, a host and a port, until the end of the block.

    Raises:
        StartError: The address cannot be listened on.
    """
    watching = _watch(process)
    runner = web.AppRunner(create_monitor(process.metrics.registry, health), access_log=None, shutdown_timeout=1)
    await runner.setup()
    host, _, port = listen.rpartition(":")
    try:
        try:
            await create_listener(runner, host.strip("[]"), int(port), bounds=_BOUNDS).start()
        except OSError as error:
            raise StartError(
                f"PRESTAGER_MONITOR_LISTEN {listen} cannot be listened on: {system_reason(error)}."
                " Stop what uses it, or set another address."
            ) from error
        _log.info("monitor.ready", url=f"http://{host}:{runner.addresses[0][1]}")
        yield
    finally:
        await runner.cleanup()
        for asking in watching:
            asking.close()


def _watch(process: Process) -> Sequence[DatabaseMetrics | DeadLetterMetrics]:
    """Show what this process alone knows, and as a coordinator what database and broker know; return who asks them."""
    registry, settings = process.metrics.registry, process.settings
    runner = process.runner
    if runner is not None:
        process.metrics.watch_slots(settings.slots, lambda: runner.free_slots)
    if process.coordinator is None:
        return []
    facts = DatabaseMetrics(process.database)
    registry.register(facts)
    watching: list[DatabaseMetrics | DeadLetterMetrics] = [facts]
    if settings.broker_url is not None:
        letters = DeadLetterMetrics(partial(count_dead_letters, settings.broker_url.get_secret_value()))
        registry.register(letters)
        watching.append(letters)
    return watching
