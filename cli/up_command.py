"""`prestager up`: the service in one process; `api`, `coordinator` and `worker`: its parts, one process each."""

from __future__ import annotations

import os
from typing import Annotated

import structlog
import typer

from monitoring.logging import configure_logs
from service.load_settings import unknown_variables
from service.process import serve
from service.roles import ALL_ROLES, ProcessRole
from service.startup_checks import doubts, startable_settings

_log = structlog.get_logger(__name__)


def up() -> None:
    """Run the service: API, coordinator and playbooks in one process, until SIGTERM or SIGINT.

    Settings come from PRESTAGER_* variables, see: prestager config show
    """
    _serve(ALL_ROLES)


def api() -> None:
    """Run the HTTP API alone. It needs PRESTAGER_BROKER_URL; run as many as you like behind a balancer."""
    _serve(frozenset({ProcessRole.API}))


def coordinator() -> None:
    """Run a coordinator alone: one is active, others stand by. It needs PRESTAGER_BROKER_URL."""
    _serve(frozenset({ProcessRole.COORDINATOR}))


def worker(
    slots: Annotated[int | None, typer.Option(help="Playbooks at once; the default is PRESTAGER_SLOTS.")] = None,
    name: Annotated[str | None, typer.Option(help="Stable name; the default is PRESTAGER_WORKER_NAME.")] = None,
    queues: Annotated[
        str | None, typer.Option(help="Queues to serve, with commas; the default is PRESTAGER_WORKER_QUEUES.")
    ] = None,
) -> None:
    """Run a worker alone: it checks sites and runs playbooks. It needs PRESTAGER_BROKER_URL."""
    options = {"slots": slots, "worker_name": name, "worker_queues": queues}
    _serve(frozenset({ProcessRole.WORKER}), **{key: value for key, value in options.items() if value is not None})


def _serve(roles: frozenset[ProcessRole], **given: int | str) -> None:
    settings = startable_settings(**given)
    configure_logs(settings.log_format, settings.log_level)
    for doubt in (*unknown_variables(os.environ), *doubts(settings, listens=ProcessRole.API in roles)):
        _log.warning("settings.doubt", doubt=doubt)
    serve(settings, roles)
