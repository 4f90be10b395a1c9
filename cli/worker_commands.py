"""`prestager drain` and `undrain`: have workers take no new runs, or take them again."""

from __future__ import annotations

from typing import Annotated

import typer
from sqlalchemy.exc import SQLAlchemyError

from broker.amqp.errors import ControlError
from broker.amqp.worker_control import Hint, HintAnswer, HintKind, ask_workers
from cli.installation import checked_database
from cli.tables import print_table
from db.heartbeats import living_processes
from service.errors import CommandError, StartError
from service.load_settings import did_you_mean, read_settings

Worker = Annotated[str | None, typer.Argument(help="Name of the worker (PRESTAGER_WORKER_NAME).")]
Everybody = Annotated[bool, typer.Option("--all", help="All workers, instead of one.")]


def drain(worker: Worker = None, everybody: Everybody = False) -> None:  # noqa: FBT002 - an option of the shell
    """Have a worker finish its playbooks and take no more runs, until it is started anew or undrained.

    Repeat it to see how many runs are left. A worker that is stopped without it loses nothing either: its playbooks
    are stopped and begin again elsewhere. It needs PRESTAGER_BROKER_URL.
    """
    answers = _ask("drain", worker, everybody=everybody)
    print_table(("WORKER", "RUNS LEFT"), [(answer.worker, str(answer.running)) for answer in answers])


def undrain(worker: Worker = None, everybody: Everybody = False) -> None:  # noqa: FBT002 - an option of the shell
    """Have a worker that drains take runs again; one that does not drain goes on as before.

    A worker that is being stopped stays so. It needs PRESTAGER_BROKER_URL.
    """
    answers = _ask("undrain", worker, everybody=everybody)
    print_table(("WORKER", "RUNS"), [(answer.worker, str(answer.running)) for answer in answers])


def _ask(kind: HintKind, worker: str | None, *, everybody: bool) -> list[HintAnswer]:
    if (worker is None) is not everybody:
        raise CommandError("Name one worker, or give --all.")
    settings = read_settings()
    if settings.broker_url is None:
        raise CommandError(_EMBEDDED[kind])
    try:
        answers = ask_workers(settings.broker_url.get_secret_value(), Hint(kind=kind, worker=worker))
    except ControlError as error:
        raise CommandError(f"Nobody was asked: {error}. Start one: prestager worker") from error
    if not answers:
        raise CommandError(_unanswered(worker))
    return answers


_EMBEDDED = {
    "drain": "Set PRESTAGER_BROKER_URL: without a broker there are no workers to ask; stop the service.",
    "undrain": (
        "Set PRESTAGER_BROKER_URL: without a broker one process does everything and never drains; start it with:"
        " prestager up"
    ),
}


def _unanswered(worker: str | None) -> str:
    """Return what to say where no worker answered, with the names of those that report themselves."""
    try:
        with checked_database() as database, database.read() as connection:
            alive = sorted({row["name"] for row in living_processes(connection) if row["slots"] is not None})
    except (CommandError, StartError, SQLAlchemyError):
        # Names are a help, and no more.
        return f"No worker '{worker}' answered. List them: prestager workers"
    if worker is None or worker in alive:
        who = "No worker" if worker is None else f"Worker '{worker}' is alive and"
        return f"{who} did not answer within 2 s: it has no connection to the broker now, or is of an older release."
    if not alive:
        return f"There is no worker '{worker}', nor any other that is alive. Start one: prestager worker"
    return f"There is no worker '{worker}' among those that are alive: {', '.join(alive)}{did_you_mean(worker, alive)}"
