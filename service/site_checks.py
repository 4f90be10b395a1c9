"""Checks of the settings for access to sites, the system controller and dcmanager. Changes nothing."""

from __future__ import annotations

from service.errors import StartError
from service.settings import Settings
from service.site_access import (
    check_site_authority,
    controller_access,
    controller_account,
    dcmanager_operations,
    site_access,
    site_addresses,
)
from sites.errors import InspectionError


def site_faults(settings: Settings) -> list[str]:
    """Return one sentence for each thing that keeps what the settings name from being asked."""
    faults = [
        f"Set either PRESTAGER_{whose}_PASSWORD or PRESTAGER_{whose}_PASSWORD_FILE, not both."
        for whose, password, file in (
            ("SITE", settings.site_password, settings.site_password_file),
            ("CONTROLLER", settings.controller_password, settings.controller_password_file),
        )
        if password is not None and file is not None
    ]
    if settings.asks_sites:
        faults += _account_faults(settings) + _file_faults(settings)
    if settings.controller_asked is not None:
        faults += _controller_faults(settings)
    if settings.dcmanager_url:
        faults += _dcmanager_faults(settings)
    return list(dict.fromkeys(faults))


def _account_faults(settings: Settings) -> list[str]:
    try:
        site_access(settings).account.login_body()
    except (StartError, InspectionError) as error:
        return [str(error)]
    return []


def _file_faults(settings: Settings) -> list[str]:
    faults = []
    try:
        site_addresses(settings).from_file()
    except InspectionError as error:
        faults.append(str(error))
    try:
        check_site_authority(settings)
    except StartError as error:
        faults.append(str(error))
    return faults


def _controller_faults(settings: Settings) -> list[str]:
    try:
        access, _ = controller_access(settings)
        access.account.login_body()
    except (StartError, InspectionError) as error:
        return [str(error)]
    return []


def _dcmanager_faults(settings: Settings) -> list[str]:
    try:
        dcmanager_operations(settings)
        controller_account(settings).account.login_body()
    except (StartError, InspectionError) as error:
        return [str(error)]
    return []
