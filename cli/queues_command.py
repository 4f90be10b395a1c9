"""`prestager queues`: what waits on RabbitMQ, who takes it, and what that means."""

from __future__ import annotations

from typing import Final

import typer
from sqlalchemy.exc import SQLAlchemyError

from broker.queue_states import State, read_queue_states, verdict
from cli.installation import checked_database
from cli.tables import print_table
from db.errors import explain_database_error
from db.heartbeats import ServedQueue, served_queues
from service.errors import CommandError, StartError
from service.load_settings import read_settings

_TIMEOUT_S: Final = 5


def queues() -> None:
    """Show what waits in each queue, who serves it with how many free slots, and what that means.

    It needs PRESTAGER_BROKER_URL; workers are known by their heartbeats in the database, at most 10 s old. A worker
    whose slots are all taken, or that drains, does not count as a consumer.
    """
    settings = read_settings()
    if settings.broker_url is None:
        raise CommandError(
            "Set PRESTAGER_BROKER_URL: without a broker there are no queues, and one process does everything."
        )
    states = read_queue_states(settings.broker_url.get_secret_value(), "prestager queues", timeout_s=_TIMEOUT_S)
    served = _served()
    rows = [
        (name, *_shown(states[name]), *_workers(served.get(name)), verdict(name, states[name], served.get(name)))
        for name in states
    ]
    print_table(("QUEUE", "READY", "CONSUMERS", "WORKERS", "FREE SLOTS", "MEANING"), rows)


def _workers(served: ServedQueue | None) -> tuple[str, str]:
    """Return who serves a queue, and how many of their slots are free."""
    if served is None:
        return "", ""
    names = [*served.workers, *(f"{name} (draining)" for name in served.draining)]
    return ", ".join(names) or "none", f"{served.free} of {served.slots}" if served.slots else ""


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


def _shown(state: State) -> tuple[str, str]:
    return ("-", "-") if state is None else (str(state[0]), str(state[1]))
