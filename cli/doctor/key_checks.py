"""The secret keys: whether everything that is sealed can be opened, here and in every living process."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.exc import SQLAlchemyError

from cli.doctor.finding import Finding, fail, ok, warn
from cli.key_order import promotion_obstacles
from cli.seal_command import installation_sealer
from db.database import Database
from db.encryption import Sealer
from db.heartbeats import all_processes
from db.migrate import current_revision, head_revision
from db.secret_keys import needed_keys
from service.errors import CommandError, StartError
from service.settings import Settings

_SUBJECT = "secret keys"


def key_findings(settings: Settings) -> Iterator[Finding]:
    """Compare the keys here with the database; other checks report what cannot be read."""
    database = Database(settings.store_url)
    try:
        sealer = installation_sealer(settings)
        if current_revision(database) == head_revision():
            yield from _findings(database, sealer)
    except (CommandError, StartError, SQLAlchemyError):
        return
    finally:
        database.close()


def _findings(database: Database, sealer: Sealer) -> Iterator[Finding]:
    with database.read() as connection:
        needed, processes = needed_keys(connection, sealer), all_processes(connection)
    first, *others = sealer.key_ids
    missing = {one: count for one, count in needed.items() if one is not None and one not in sealer.key_ids}
    for one, count in missing.items():
        yield fail(
            _SUBJECT,
            f"secrets in the database that need key {one}, which this machine does not have: {count}. Put it back at"
            " the end of PRESTAGER_SECRET_KEY_FILE.",
        )
    if needed[None]:
        yield warn(_SUBJECT, f"secrets in the database that no key opens: {needed[None]}. Set them anew.")
    strangers = promotion_obstacles(processes, first)
    yield from (fail(_SUBJECT, obstacle) for obstacle in strangers)
    left = sum(needed[one] for one in others)
    if left:
        yield warn(_SUBJECT, f"secrets not sealed with the first key: {left}. Run: prestager key rotate")
    if not missing and not strangers:
        yield ok(_SUBJECT, f"key {first} seals, {len(sealer.key_ids)} open; every living process knows it.")
