"""`prestager drain` and `undrain`: have workers take no new runs, or take them again; over an API or the broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Final, Literal

import typer

from client.api_client import ApiClient
from client.client_command import either_command
from client.output import OutputFormat, Record, ShownField, print_records
from service.errors import CommandError, StartError
from service.load_settings import did_you_mean, read_settings

Worker = Annotated[str | None, typer.Argument(help="Name of the worker (PRESTAGER_WORKER_NAME).")]
Everybody = Annotated[bool, typer.Option("--all", help="All workers, instead of one.")]
_Kind = Literal["drain", "undrain"]


class _BrokerHere:
    """Workers that are asked over the broker of this machine."""

    def ask(self, kind: _Kind, worker: str | None) -> list[Record]:
        """Return the answers, by the worker's name; of all workers where none is named.

        Raises:
            CommandError: There is no broker, or no worker answered.
        """
        # Not before: a command over HTTP needs none of them.
        from broker.amqp.errors import ControlError  # noqa: PLC0415
        from broker.amqp.worker_control import Hint, ask_workers  # noqa: PLC0415

        settings = read_settings()
        if settings.broker_url is None:
            raise CommandError(_EMBEDDED[kind])
        try:
            answers = ask_workers(settings.broker_url.get_secret_value(), Hint(kind=kind, worker=worker))
        except ControlError as error:
            raise CommandError(f"Nobody was asked: {error}. Start one: prestager worker") from error
        if not answers:
            raise CommandError(_unanswered(worker))
        return [{"name": answer.worker, "draining": kind == "drain", "running": answer.running} for answer in answers]


@contextmanager
def _here() -> Iterator[_BrokerHere]:
    yield _BrokerHere()


def _command(kind: _Kind, runs: str, explanation: str) -> Callable[..., None]:
    """Return the command that asks for a drain or its end; `runs` heads the column of the runs that a worker has."""

    def command(
        workers: ApiClient | _BrokerHere,
        form: OutputFormat,
        worker: Worker = None,
        everybody: Everybody = False,  # noqa: FBT002 - an option of the shell
    ) -> None:
        fields = (ShownField(key="name", title="worker"), ShownField(key="running", title=runs))
        print_records(_ask(workers, kind, worker, everybody=everybody), fields, form, "name")

    command.__doc__ = explanation
    return either_command(_here)(command)


drain = _command(
    "drain",
    "runs left",
    """Have a worker finish its playbooks and take no more runs, until it is started anew or undrained.

    Repeat it to see how many runs are left. A worker that is stopped without it loses nothing either: its playbooks
    are stopped and begin again elsewhere. An API is asked where one is named, by option, variable or context; otherwise
    it needs PRESTAGER_BROKER_URL.
    """,
)
undrain = _command(
    "undrain",
    "runs",
    """Have a worker that drains take runs again; one that does not drain goes on as before.

    A worker that is being stopped stays so. An API is asked where one is named, by option, variable or context;
    otherwise it needs PRESTAGER_BROKER_URL.
    """,
)


def _ask(workers: ApiClient | _BrokerHere, kind: _Kind, worker: str | None, *, everybody: bool) -> list[Record]:
    if (worker is None) is not everybody:
        raise CommandError("Name one worker, or give --all.")
    if isinstance(workers, _BrokerHere):
        return workers.ask(kind, worker)
    names = [worker] if worker is not None else _living(workers.read("workers")["workers"])
    if not names:
        raise CommandError("No worker is alive. Look: prestager workers")
    return [workers.change("POST", "workers", name, kind) for name in names]


def _living(workers: Sequence[Record]) -> list[str]:
    return sorted({one["name"] for one in workers if one["alive"] and one["slots"] is not None})


_EMBEDDED: Final = {
    "drain": "Set PRESTAGER_BROKER_URL: without a broker there are no workers to ask; stop the service.",
    "undrain": (
        "Set PRESTAGER_BROKER_URL: without a broker one process does everything and never drains; start it with:"
        " prestager up"
    ),
}


def _unanswered(worker: str | None) -> str:
    """Return what to say where no worker answered, with the names of those that report themselves."""
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from cli.installation import checked_database  # noqa: PLC0415
    from db.heartbeats import living_processes  # noqa: PLC0415

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
