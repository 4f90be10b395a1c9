"""`prestager drain`: have workers finish what they do and take nothing new, before they are stopped."""

from __future__ import annotations

from typing import Annotated

import typer

from actors.amqp.control import ControlError, Hint, ask_workers
from cli.configuration import read_settings
from cli.errors import CommandError
from cli.tables import print_table


def drain(
    worker: Annotated[str | None, typer.Argument(help="Name of the worker (PRESTAGER_WORKER_NAME).")] = None,
    everybody: Annotated[bool, typer.Option("--all", help="All workers, instead of one.")] = False,  # noqa: FBT002
) -> None:
    """Have a worker finish its playbooks and take no more runs, until it is started anew.

    Asking again tells how many runs are left. A worker that is stopped without it loses nothing either: its playbooks
    are stopped and begin again elsewhere. It needs PRESTAGER_BROKER_URL.
    """
    if (worker is None) is not everybody:
        raise CommandError("Name one worker, or give --all.")
    settings = read_settings()
    if settings.broker_url is None:
        raise CommandError("Set PRESTAGER_BROKER_URL: without a broker there are no workers to ask; stop the service.")
    try:
        answers = ask_workers(settings.broker_url.get_secret_value(), Hint(kind="drain", worker=worker))
    except ControlError as error:
        raise CommandError(f"Nobody was asked: {error}.") from error
    if not answers:
        raise CommandError(f"No worker '{worker}' answered. Connected ones have queues prestager.control.NAME.*")
    print_table(("WORKER", "RUNS LEFT"), [(answer.worker, str(answer.running)) for answer in answers])
