"""Who is asked for facts, and how: the sites and the system controller."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from actors.probe_targets import Aim, aim_sysinv, aim_tcp
from bootstrap.faults import StartError
from runner.controller_checks import ControllerCheck, DeclaredOnly
from runner.inspectors import DeclaredInspector, Inspector
from runner.sysinv.addresses import SiteAddresses
from runner.sysinv.controller import AskedController
from runner.sysinv.faults import SiteFaultError
from runner.sysinv.inspector import SysinvInspector
from runner.sysinv.login import Account, TokenStore, Trust
from runner.sysinv.session import Access, Address, Patience
from settings.model import Settings

# How long a probe of either kind may take, in seconds.
_TCP_PROBE_S: Final = 5.0
_SYSINV_PROBE_S: Final = 30.0
_SHORT_PATIENCE: Final = Patience(connect_s=2.0, read_s=4.0, pause_s=0.5)


def site_inspector(settings: Settings) -> Inspector:
    """Return what reads the facts of sites.

    Raises:
        StartError: Sites are to be asked and there is no password for them, or no authority for their certificates.
    """
    if settings.inspector == "declared":
        return DeclaredInspector()
    check_site_authority(settings)
    return SysinvInspector(
        site_access(settings),
        site_addresses(settings),
        deadline_s=settings.precheck_deadline_s,
        allow_duplex=settings.allow_duplex,
    )


def check_site_authority(settings: Settings) -> None:
    """Refuse to ask sites whose certificates anybody may have signed: what is sent to them is a password.

    Raises:
        StartError: PRESTAGER_SITE_CA_FILE is not set, no file, or without a certificate.
    """
    file = settings.site_ca_file
    if file is None:
        raise StartError(
            "Set PRESTAGER_SITE_CA_FILE to the authority that signs the sites' certificates: sites are asked with a"
            " password. On StarlingX it is /etc/pki/ca-trust/source/anchors/dc-adminep-root-ca.crt"
        )
    if not file.is_file():
        raise StartError(f"PRESTAGER_SITE_CA_FILE {file} is not a file.")
    try:
        _ = Trust(file).context()
    except SiteFaultError:
        raise StartError(f"No certificate in PEM can be read from PRESTAGER_SITE_CA_FILE {file}.") from None


def site_access(settings: Settings) -> Access:
    """Return how sites are asked.

    Raises:
        StartError: There is no password for them.
    """
    password = settings.site_password.get_secret_value() if settings.site_password else settings.site_password_file
    if password is None:
        raise StartError("Set PRESTAGER_SITE_PASSWORD_FILE: sites are asked with the password in it.")
    return Access(
        account=Account(
            username=settings.site_username,
            password=password,
            project=settings.site_project,
            user_domain=settings.site_user_domain,
            project_domain=settings.site_project_domain,
        ),
        trust=Trust(settings.site_ca_file),
        patience=Patience(connect_s=settings.site_connect_timeout_s, read_s=settings.site_read_timeout_s),
        tokens=TokenStore(),
    )


def site_addresses(settings: Settings) -> SiteAddresses:
    """Return where sites are asked."""
    return SiteAddresses(
        keystone_port=settings.site_keystone_port,
        sysinv_port=settings.site_sysinv_port,
        usm_port=settings.site_usm_port,
        file=settings.site_urls_file,
    )


def probe_aim(settings: Settings) -> Aim:
    """Return what the availability probe asks of sites.

    Raises:
        StartError: Sites are to be asked and there is no password for them, or no authority for their certificates.
    """
    if settings.probe_kind == "tcp":
        return aim_tcp(settings.probe_timeout_s or _TCP_PROBE_S)
    check_site_authority(settings)
    access = site_access(settings)
    # The next round is the next try.
    access = replace(access, patience=replace(access.patience, tries=1))
    return aim_sysinv(access, site_addresses(settings), settings.probe_timeout_s or _SYSINV_PROBE_S)


def controller_check(settings: Settings) -> ControllerCheck:
    """Return what tells whether the system controller is being upgraded.

    Raises:
        StartError: It is to be asked and a URL or the password is missing.
    """
    if settings.controller_asked is None:
        return DeclaredOnly()
    return AskedController(*controller_access(settings), settings.controller_asked)


def controller_access(settings: Settings) -> tuple[Access, Address]:
    """Return how and where the system controller is asked; what is not set of its account is as for sites.

    Raises:
        StartError: A URL or the password is missing.
    """
    keystone, service = settings.controller_keystone_url, settings.controller_url
    if keystone is None or service is None:
        raise StartError(
            "Set PRESTAGER_CONTROLLER_KEYSTONE_URL and PRESTAGER_CONTROLLER_URL: the system controller is asked there"
            " whether it is being upgraded. Or set PRESTAGER_CONTROLLER_CHECK=declared."
        )
    own: dict[str, object] = {"site_username": settings.controller_username or settings.site_username}
    if settings.controller_password or settings.controller_password_file:
        own["site_password"] = settings.controller_password
        own["site_password_file"] = settings.controller_password_file
    access = site_access(settings.model_copy(update=own))
    # Somebody waits for the answer to a command: all tries together fit into the few seconds that there are.
    return replace(access, patience=_SHORT_PATIENCE), Address(keystone_url=keystone, service_url=service)
