"""Checks of Keystone, the system controller's REST interface and dcmanager. Logs in; changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.exc import DBAPIError

from api.errors import KeystoneUnavailableError
from api.keystone.identity import USUAL_ROLES
from cli.doctor.finding import Finding, fail, ok, warn
from db.database import Database
from db.errors import DatabaseUnavailableError
from db.inventory import installation_id
from service.authentication import keystone_identity
from service.errors import StartError
from service.settings import Settings
from service.site_access import controller_access, dcmanager_operations
from sites.errors import InspectionError
from sites.sysinv.controller import SystemControllerCheck


def keystone_findings(settings: Settings) -> Iterator[Finding]:
    """Check Keystone; does nothing for an installation with tokens of its own."""
    if settings.auth != "keystone":
        yield ok("callers", "are known by the tokens of this installation; see: prestager token list")
        return
    identity = keystone_identity(settings)
    try:
        roles = identity.check()
    except KeystoneUnavailableError as error:
        yield fail(
            "keystone",
            f"{error}. Check PRESTAGER_KEYSTONE_AUTH_URL, that the service user has the role admin or service in its"
            " project, its password, and that Keystone runs.",
        )
        return
    finally:
        identity.close()
    if roles.isdisjoint(USUAL_ROLES):
        yield warn(
            "keystone",
            f"{settings.keystone_username} has neither the role admin nor service in {settings.keystone_project}:"
            " unless Keystone's policy allows it otherwise, it is told about no caller. Give it one of them.",
        )
        return
    yield ok("keystone", f"{settings.keystone_auth_url} tells {settings.keystone_username} about tokens.")


def site_findings(settings: Settings) -> Iterator[Finding]:
    """Check whether the controller's upgrade state can be read."""
    if settings.controller_asked is None:
        return
    try:
        check = SystemControllerCheck(*controller_access(settings), settings.controller_asked)
        is_upgrading = check.is_upgrading()
    except (StartError, InspectionError) as error:
        yield fail("controller", f"{error} Until it answers no prestage can be started.")
        return
    if is_upgrading:
        yield warn("controller", f"{settings.controller_url} lists an upgrade; no prestage can be started meanwhile.")
    else:
        yield ok("controller", f"{settings.controller_url} answers and is not being upgraded.")


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
    database = Database(settings.sqlalchemy_url)
    try:
        with database.read() as connection:
            return installation_id(connection)
    except (DBAPIError, DatabaseUnavailableError):
        # The check of the database reports it.
        return ""
    finally:
        database.close()
