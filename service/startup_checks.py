"""Checks before the service starts, beyond the form of the settings. Looks at files; changes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable

from db.database import Database
from playbook_sets.playbook_set import missing_playbooks
from runner.errors import NoRunRootError
from runner.private_dir import choose_run_root
from service.errors import CommandError, StartError
from service.file_checks import file_right_warnings, tls_doubts, tls_fault
from service.key_file import load_sealer
from service.load_settings import read_settings
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
from statemachine.host_keys import HostKeyPolicy
from tracing.collector import HOW_TO_INSTALL, is_installed


def startable_settings(**given: int | str) -> Settings:
    """Return the settings, with `given` instead of what they say, when a service can start with them.

    Raises:
        CommandError: It cannot; every fault is listed.
    """
    settings = read_settings(**given)
    faults = start_faults(settings)
    if faults:
        raise CommandError("The service cannot start; correct what is listed and try again.", faults)
    return settings


def start_faults(settings: Settings) -> list[str]:
    """Return one sentence for each thing that keeps the service from starting or from doing its work."""
    checks: tuple[Callable[[Settings], str | None], ...] = (
        _release,
        _data_dir,
        _database_driver,
        _secret_key,
        _tracing,
        _ansible_config,
        tls_fault,
    )
    return [fault for check in checks if (fault := check(settings)) is not None] + [
        *missing_playbooks(settings.playbooks_dir),
        *site_faults(settings),
    ]


def doubts(settings: Settings, *, listens: bool = True) -> list[str]:
    """Return one sentence for each thing that does not keep the service from starting and should be looked at.

    `listens` says whether the process that is asked about, or any, serves the API.
    """
    return [
        *_missing(settings),
        *_collections(settings),
        *file_right_warnings(settings),
        *_run_files(),
        *_host_keys(settings),
        *(tls_doubts(settings) if listens else []),
    ]


def _run_files() -> list[str]:
    try:
        warning = choose_run_root().warning
    except NoRunRootError as error:
        return [f"Playbooks cannot be run here: {error}."]
    return [] if warning is None else [warning]


def _host_keys(settings: Settings) -> list[str]:
    if settings.host_keys is not HostKeyPolicy.IGNORE:
        return []
    return ["PRESTAGER_HOST_KEYS=ignore: any server that answers at the address of a site is sent its password."]


def _missing(settings: Settings) -> list[str]:
    """Return what is not there yet and may be brought later."""
    wanted = {
        "PRESTAGER_DEPLOY_DIR": (settings.deploy_dir, "image lists are looked for there"),
        "PRESTAGER_FEED_DIR": (settings.feed_dir, "the packages to stage come from there"),
    }
    found = [
        f"{variable} {directory} is no directory yet; {purpose}."
        for variable, (directory, purpose) in wanted.items()
        if not directory.is_dir()
    ]
    feed = settings.feed_dir / f"rel-{settings.release}"
    if settings.release is not None and settings.feed_dir.is_dir() and not feed.is_dir():
        found.append(f"There is no feed of release {settings.release} yet: {feed} is no directory.")
    return found


def _release(settings: Settings) -> str | None:
    if settings.release is not None:
        return None
    return "PRESTAGER_RELEASE is not set: give the software version of the system controller, such as 23.09."


def _data_dir(settings: Settings) -> str | None:
    directory = settings.data_dir
    if directory.exists() and not directory.is_dir():
        return f"PRESTAGER_DATA_DIR {directory} is not a directory."
    nearest = next(place for place in (directory.absolute(), *directory.absolute().parents) if place.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        return f"PRESTAGER_DATA_DIR {directory} cannot be written by this user; set it to a directory that can."
    return None


def _database_driver(settings: Settings) -> str | None:
    try:
        Database(settings.sqlalchemy_url)
    except ModuleNotFoundError as error:
        return f"PRESTAGER_DATABASE_URL needs the Python package {error.name}, which is not installed."
    return None


def _secret_key(settings: Settings) -> str | None:
    # Without either the service makes a key at its first start; a check must not.
    if settings.secret_key is None and settings.secret_key_file is None:
        return None
    try:
        load_sealer(settings)
    except StartError as error:
        return str(error)
    return None


def _ansible_config(settings: Settings) -> str | None:
    file = settings.ansible_config
    if file is None or (file.is_file() and os.access(file, os.R_OK)):
        return None
    # Ansible would pass over it, and read the user's own or that of /etc.
    return (
        f"PRESTAGER_ANSIBLE_CONFIG {file} is no file that this user can read; name an ansible.cfg, or leave it empty."
    )


def _collections(settings: Settings) -> list[str]:
    return [
        f"PRESTAGER_ANSIBLE_COLLECTIONS {directory} is no directory; no collections are found there."
        for directory in settings.collection_paths
        if not directory.is_dir()
    ]


def _tracing(settings: Settings) -> str | None:
    if settings.tracing == "off" or is_installed():
        return None
    return f"PRESTAGER_TRACING={settings.tracing}: {HOW_TO_INSTALL}"


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
