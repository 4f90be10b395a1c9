"""Checks of the living processes: each knows the secret keys, and every queue is served. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from cli.doctor.finding import Finding, fail, ok, warn
from cli.installation import installation_sealer
from cli.key_commands import promotion_obstacles
from db.database import Database
from db.encryption import Sealer
from db.heartbeats import ServedQueue, all_processes, living_processes, missing_workers, served_queues
from db.migrate import current_revision, head_revision
from db.secret_keys import needed_keys
from service.errors import CommandError, StartError
from service.settings import Settings

_KEYS = "secret keys"
_WORKERS = "workers"


def key_findings(settings: Settings) -> Iterator[Finding]:
    """Compare the keys here with the database; other checks report what cannot be read."""
    database = Database(settings.sqlalchemy_url)
    try:
        sealer = installation_sealer(settings)
        if current_revision(database) == head_revision():
            yield from _key_findings(database, sealer)
    except (CommandError, StartError, SQLAlchemyError):
        return
    finally:
        database.close()


def _key_findings(database: Database, sealer: Sealer) -> Iterator[Finding]:
    with database.read() as connection:
        needed, processes = needed_keys(connection, sealer), all_processes(connection)
    first, *others = sealer.key_ids
    missing = {one: count for one, count in needed.items() if one is not None and one not in sealer.key_ids}
    for one, count in missing.items():
        yield fail(
            _KEYS,
            f"secrets in the database that need key {one}, which this machine does not have: {count}. Put it back at"
            " the end of PRESTAGER_SECRET_KEY_FILE.",
        )
    if needed[None]:
        yield warn(_KEYS, f"secrets in the database that no key opens: {needed[None]}. Set them anew.")
    strangers = promotion_obstacles(processes, first)
    yield from (fail(_KEYS, obstacle) for obstacle in strangers)
    left = sum(needed[one] for one in others)
    if left:
        yield warn(_KEYS, f"secrets not sealed with the first key: {left}. Run: prestager key rotate")
    if not missing and not strangers:
        yield ok(_KEYS, f"key {first} seals, {len(sealer.key_ids)} open; every living process knows it.")


def worker_findings(settings: Settings) -> Iterator[Finding]:
    """Judge by the heartbeats; a database that cannot be read, or is not of this program, is another check's."""
    database = Database(settings.sqlalchemy_url)
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
        yield warn(_WORKERS, "the service does not run. Start it: prestager up")
        return
    missing = missing_workers(queues)
    yield from (fail(_WORKERS, text) for text in missing)
    if not missing:
        yield ok(_WORKERS, f"every queue is served: {'; '.join(map(_served, queues))}.")


def _served(queue: ServedQueue) -> str:
    slots = f", {queue.free} of {queue.slots} slots free" if queue.slots else ""
    return f"{queue.queue} by {', '.join(queue.workers)}{slots}"
