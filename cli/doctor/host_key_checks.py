"""SSH host keys of the sites: what counts as one, and how many are recorded. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from cli.doctor.finding import Finding, ok, warn
from db.database import Database
from db.host_keys import good_host_keys
from db.migrate import current_revision, head_revision
from db.schema import subclouds
from messages.connection_variables import is_reached_by_ssh
from service.settings import Settings
from statemachine.host_keys import HostKeyPolicy

_IGNORED = (
    "PRESTAGER_HOST_KEYS=ignore: any server that answers at the address of a site is sent its password. accept-new"
    " stops at a changed key."
)


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
    database = Database(settings.store_url)
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
