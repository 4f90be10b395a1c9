"""The dcmanager beside this installation: reached, and willing to list its subclouds. Logs in; changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.exc import DBAPIError

from cli.doctor.finding import Finding, fail, ok, warn
from db.database import Database
from db.errors import DatabaseUnavailableError
from db.inventory import installation_id
from service.errors import StartError
from service.settings import Settings
from service.site_access import dcmanager_operations
from sites.errors import InspectionError


def dcmanager_findings(settings: Settings) -> Iterator[Finding]:
    """Say how many subclouds dcmanager lists, and how many it works on; one that is not asked is no matter."""
    try:
        dcmanager = dcmanager_operations(settings, _installation(settings))
        if dcmanager is None:
            return
        found = dcmanager.read()
    except (StartError, InspectionError) as error:
        yield fail(
            "dcmanager",
            f"{error} Check PRESTAGER_DCMANAGER_URL, PRESTAGER_CONTROLLER_KEYSTONE_URL and the account at the"
            " controller. Until it answers no prestage can be started.",
        )
        return
    if not found.count:
        yield warn("dcmanager", f"{settings.dcmanager_url} lists no subcloud; is it the dcmanager of these sites?")
        return
    yield ok(
        "dcmanager",
        f"{settings.dcmanager_url} lists {found.count} subclouds and works on {len(found.operations)} of them.",
    )


def _installation(settings: Settings) -> str:
    """Return the id of this installation; empty where there is none yet, which a check must not make."""
    if settings.database_url is None and not (settings.data_dir / "prestager.db").exists():
        return ""
    database = Database(settings.store_url)
    try:
        with database.read() as connection:
            return installation_id(connection)
    except (DBAPIError, DatabaseUnavailableError):
        # Told by the check of the database.
        return ""
    finally:
        database.close()
