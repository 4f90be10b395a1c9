"""Checks of the database, and of its rows: schema, time, subclouds, keys and workers. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import time
from typing import Final

from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError

from cli.doctor.finding import Finding, fail, ok, warn
from cli.installation import installation_sealer
from cli.key_commands import promotion_obstacles
from db.database import Database
from db.encryption import Sealer
from db.errors import explain_database_error
from db.heartbeats import ServedQueue, all_processes, living_processes, missing_workers, served_queues
from db.host_keys import good_host_keys
from db.load_snapshot import database_time
from db.migrate import current_revision, head_revision
from db.restored import refused_by_sites
from db.schema import subclouds
from db.secret_keys import needed_keys
from messages.connection_variables import is_reached_by_ssh
from messages.site_addresses import is_reserved_host_name, rename_text
from service.database import schema_error
from service.errors import CommandError, StartError
from service.settings import Settings
from statemachine.host_keys import HostKeyPolicy

_SKEW_S: Final = 5.0
# How far back failures are looked at.
_LOOKED_BACK: Final = timedelta(days=7)
# Subclouds that are named in one finding.
_MOST_NAMES: Final = 20
_IGNORED = (
    "PRESTAGER_HOST_KEYS=ignore: any server that answers at the address of a site is sent its password. accept-new"
    " stops at a changed key."
)


def database_findings(settings: Settings) -> Iterator[Finding]:
    """Look at the database; what cannot be asked any more is left out."""
    database = Database(settings.sqlalchemy_url)
    try:
        file = _sqlite_file(database)
        # A connection would make the file.
        if file is not None and not file.exists():
            yield warn("database", f"{file} is not there yet; the first start makes it.")
            return
        yield from _ask(database, is_file=file is not None)
        if file is not None and settings.broker_url is not None:
            yield warn(
                "database",
                f"{file} is a file of this machine; set PRESTAGER_DATABASE_URL to a PostgreSQL before parts run on"
                " other machines.",
            )
    except SQLAlchemyError as error:
        problem = explain_database_error(error)
        yield fail("database", f"{problem.reason}. {problem.remedy}")
    finally:
        database.close()


def _sqlite_file(database: Database) -> Path | None:
    url = database.url
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def _ask(database: Database, *, is_file: bool) -> Iterator[Finding]:
    revision, head = current_revision(database), head_revision()
    yield ok("database", f"{database.url.get_backend_name()} answers.")
    if revision == head:
        yield ok("schema", f"revision {revision}, the newest.")
        yield from subcloud_findings(database)
    elif revision is None:
        yield warn("schema", "the database is empty; the first start fills it, or now: prestager db upgrade")
    else:
        yield fail("schema", schema_error(revision) or "")
    yield ok("clock", "the database is on this machine's own.") if is_file else _skew(database)
    if not is_file:
        yield from _read_only(database)
    if revision == head:
        yield from _fences(database)


def _read_only(database: Database) -> Iterator[Finding]:
    # As a writer: readers ask for transactions that only read.
    with database.write() as connection:
        is_read_only = connection.execute(text("SHOW transaction_read_only")).scalar_one() == "on"
    if is_read_only:
        yield fail(
            "database",
            "is read-only: a standby, or default_transaction_read_only is set. Promote it, or name in"
            " PRESTAGER_DATABASE_URL the server that takes writes (target_session_attrs=read-write).",
        )


def _fences(database: Database) -> Iterator[Finding]:
    with database.read() as connection:
        count = refused_by_sites(connection, datetime.now(UTC) - _LOOKED_BACK)
    if count:
        yield warn(
            "restored backup",
            f"sites have refused {count} runs as superseded by newer ones. If the database was restored from a backup,"
            " stop the service and run: prestager db restored",
        )


def _skew(database: Database) -> Finding:
    with database.read() as connection:
        before = time()
        theirs = database_time(connection)
        skew = theirs - (before + time()) / 2
    if abs(skew) <= _SKEW_S:
        return ok("clock", f"the database's differs by {abs(skew):.1f} s.")
    side = "ahead" if skew > 0 else "behind"
    return warn(
        "clock",
        f"the database's is {abs(skew):.0f} s {side}: leases are safe, times in answers and logs are not. Have both"
        " machines synchronise their clocks.",
    )


def subcloud_findings(database: Database) -> Iterator[Finding]:
    """Warn of reserved names, and of connection variables that an upgrade took out."""
    query = select(subclouds.c.name, subclouds.c.removed_variables).order_by(subclouds.c.name)
    with database.read() as connection:
        removed = {row.name: row.removed_variables for row in connection.execute(query)}
    yield from (warn("subclouds", rename_text(name)) for name in removed if is_reserved_host_name(name))
    for variables in sorted({tuple(one) for one in removed.values() if one}):
        names = [name for name, one in removed.items() if tuple(one) == variables]
        yield warn(
            "subclouds",
            f"The upgrade took out {', '.join(variables)} of {_listed(names)}: who had set them is not known. Until"
            " they are imported again (prestager subcloud import --update), these are not prestaged.",
        )


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMES])
    return shown if len(names) <= _MOST_NAMES else f"{shown} and {len(names) - _MOST_NAMES} more"


def host_key_findings(settings: Settings) -> Iterator[Finding]:
    """Tell whether sites are known by their keys; a database that cannot be read is another check's."""
    if settings.host_keys is HostKeyPolicy.IGNORE:
        yield warn("host keys", _IGNORED)
        return
    counts = _counts(settings)
    if counts is None:
        return
    known, all_of_them = counts
    text = f"{known} of {all_of_them} sites behind SSH are known by a key ({settings.host_keys})."
    if settings.host_keys is HostKeyPolicy.STRICT and known < all_of_them:
        yield warn("host keys", f"{text} The others are not prestaged until: prestager subcloud set-host-key NAME FILE")
    else:
        yield ok("host keys", text)


def _counts(settings: Settings) -> tuple[int, int] | None:
    database = Database(settings.sqlalchemy_url)
    try:
        url = database.url
        # A connection would make the file.
        if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists():
            return None
        if current_revision(database) != head_revision():
            return None
        with database.read() as connection:
            columns = select(subclouds.c.connection, subclouds.c.host_keys, subclouds.c.host_keys_origin)
            rows = connection.execute(columns).mappings().all()
    except SQLAlchemyError:
        return None
    finally:
        database.close()
    sites = [good_host_keys(row, settings.host_keys) for row in rows if is_reached_by_ssh(row["connection"])]
    return sum(bool(keys) for keys in sites), len(sites)


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
    """Check the heartbeats; a database that cannot be read, or is not of this program, is another check's."""
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
