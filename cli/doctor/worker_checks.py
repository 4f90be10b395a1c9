"""Workers: whether every queue is served by a living one that takes runs. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from cli.doctor.finding import Finding, fail, ok, warn
from db.database import Database
from db.heartbeats import ServedQueue, living_processes, missing_workers, served_queues
from db.migrate import current_revision, head_revision
from service.settings import Settings

_SUBJECT = "workers"


def worker_findings(settings: Settings) -> Iterator[Finding]:
    """Judge by the heartbeats; a database that cannot be read, or is not of this program, is another check's."""
    database = Database(settings.store_url)
    try:
        file = database.url.database
        # A connection would make the file.
        if database.url.get_backend_name() == "sqlite" and file and not Path(file).exists():
            return
        if current_revision(database) != head_revision():
            return
        with database.read() as connection:
            queues, is_any_alive = served_queues(connection), bool(living_processes(connection))
    except SQLAlchemyError:
        return
    finally:
        database.close()
    if settings.broker_url is None and not is_any_alive:
        yield warn(_SUBJECT, "the service does not run. Start it: prestager up")
        return
    missing = missing_workers(queues)
    yield from (fail(_SUBJECT, text) for text in missing)
    if not missing:
        yield ok(_SUBJECT, f"every queue is served: {'; '.join(map(_served, queues))}.")


def _served(queue: ServedQueue) -> str:
    slots = f", {queue.free} of {queue.slots} slots free" if queue.slots else ""
    return f"{queue.queue} by {', '.join(queue.workers)}{slots}"
