"""`prestager up`: the service in one process; `api`, `coordinator` and `worker`: its parts, one process each.

Plain words are read by `cli/service_command.py` and come here no more.
"""

from __future__ import annotations

from typing import Annotated

import typer

from service.process import run_service
from service.roles import ALL_ROLES, ProcessRole


def up(
    *,
    split: Annotated[
        bool,
        typer.Option(
            "--split",
            help="A process for each of the three, which share most of their memory; PRESTAGER_BROKER_URL is needed.",
        ),
    ] = False,
) -> None:
    """Run the service: API, coordinator and playbooks in one process, until SIGTERM or SIGINT.

    Settings come from PRESTAGER_* variables, see: prestager config show
    """
    if not split:
        run_service(ALL_ROLES)
        return
    # It loads what all roles use.
    from service.role_processes import run_roles  # noqa: PLC0415

    raise typer.Exit(run_roles())


def api() -> None:
    """Run the HTTP API alone. It needs PRESTAGER_BROKER_URL; run as many as you like behind a balancer."""
    run_service(frozenset({ProcessRole.API}))


def coordinator() -> None:
    """Run a coordinator alone: one is active, others stand by. It needs PRESTAGER_BROKER_URL."""
    run_service(frozenset({ProcessRole.COORDINATOR}))


def worker(
    slots: Annotated[int | None, typer.Option(help="Playbooks at once; the default is PRESTAGER_SLOTS.")] = None,
    name: Annotated[str | None, typer.Option(help="Stable name; the default is PRESTAGER_WORKER_NAME.")] = None,
    queues: Annotated[
        str | None, typer.Option(help="Queues to serve, with commas; the default is PRESTAGER_WORKER_QUEUES.")
    ] = None,
) -> None:
    """Run a worker alone: it checks sites and runs playbooks. It needs PRESTAGER_BROKER_URL."""
    options = {"slots": slots, "worker_name": name, "worker_queues": queues}
    run_service(frozenset({ProcessRole.WORKER}), **{key: value for key, value in options.items() if value is not None})
