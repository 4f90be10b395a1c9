"""`prestager queues`: what waits on RabbitMQ, who takes it, and what that means."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import typer
from sqlalchemy.exc import SQLAlchemyError

from broker.queue_states import State, read_queue_states, verdict
from cli.installation import checked_database
from client.client_command import Reads, either_command
from client.errors import RefusedError
from client.output import OutputFormat, Record, ShownField, print_records
from db.errors import explain_database_error
from db.heartbeats import ServedQueue, served_queues
from service.errors import CommandError, StartError
from service.load_settings import read_settings

_TIMEOUT_S: Final = 5
_NAME: Final = "name"


def _count_text(count: int | None) -> str:
    return "-" if count is None else str(count)


def _workers_text(queue: Record) -> str:
    if queue["workers"] is None:
        return ""
    return ", ".join([*queue["workers"], *(f"{name} (draining)" for name in queue.get("draining", ()))]) or "none"


def _slots_text(queue: Record) -> str:
    return f"{queue['free-slots']} of {queue['slots']}" if queue["slots"] else ""


_FIELDS: Final = (
    ShownField(key=_NAME, title="queue"),
    ShownField(key="ready", title="ready", whole=lambda queue: _count_text(queue["ready"])),
    ShownField(key="consumers", title="consumers", whole=lambda queue: _count_text(queue["consumers"])),
    ShownField(key="workers", title="workers", whole=_workers_text),
    ShownField(key="free-slots", title="free slots", whole=_slots_text),
    ShownField(key="meaning", title="meaning"),
)


class _QueuesHere:
    """Reads of the broker and the database of this machine, in the form of the API's answer."""

    def read(self, *_: str, **__: str | int) -> Any:
        """Return the queues as `/v1.0/health` does, and who drains.

        Raises:
            CommandError: There is no broker.
            BrokerUnavailableError: It does not answer.
        """
        settings = read_settings()
        if settings.broker_url is None:
            raise CommandError(
                "Set PRESTAGER_BROKER_URL: without a broker there are no queues, and one process does everything."
            )
        states = read_queue_states(settings.broker_url.get_secret_value(), "prestager queues", timeout_s=_TIMEOUT_S)
        served = _served()
        return {"queues": [_record(name, state, served.get(name)) for name, state in states.items()]}


@contextmanager
def _here() -> Iterator[Reads]:
    yield _QueuesHere()


@either_command(_here)
def queues(reads: Reads, form: OutputFormat) -> None:
    """Show what waits in each queue, who serves it with how many free slots, and what that means.

    An API is asked where one is named, by option, variable or context; otherwise it needs PRESTAGER_BROKER_URL. Workers
    are known by their heartbeats, at most 10 s old. A worker whose slots are all taken, or that drains, does not count
    as a consumer.
    """
    found = reads.read("health")
    if found.get("queues-missing"):
        raise RefusedError(f"There are no queues to show. {found['queues-missing']}")
    print_records(found["queues"], _FIELDS, form, _NAME)


def _record(name: str, state: State, served: ServedQueue | None) -> dict[str, Any]:
    """Return a queue with the keys that `/v1.0/health` has for it, and who drains; None: not known."""
    ready, consumers = (None, None) if state is None else state
    return {
        _NAME: name,
        "ready": ready,
        "consumers": consumers,
        "workers": None if served is None else list(served.workers),
        "draining": None if served is None else list(served.draining),
        "slots": None if served is None else served.slots,
        "free-slots": None if served is None else served.free,
        "meaning": verdict(name, state, served),
    }


def _served() -> dict[str, ServedQueue]:
    """Return who serves each queue of workers; nothing, with a warning, where the database does not say."""
    try:
        with checked_database() as database, database.read() as connection:
            return {one.queue: one for one in served_queues(connection)}
    except (CommandError, StartError) as error:
        typer.echo(f"Warning: who serves the queues is not known. {error}", err=True)
    except SQLAlchemyError as error:
        typer.echo(
            f"Warning: who serves the queues is not known. {explain_database_error(error).sentence('The database')}",
            err=True,
        )
    return {}
