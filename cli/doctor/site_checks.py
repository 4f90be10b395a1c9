"""The system controller's REST interface, where it is asked for upgrades. Logs in; changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from cli.doctor.finding import Finding, fail, ok, warn
from service.errors import StartError
from service.settings import Settings
from service.site_access import controller_access
from sites.errors import InspectionError
from sites.sysinv.controller import SystemControllerCheck


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
