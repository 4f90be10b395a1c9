"""Wiring of access to sites, the system controller and dcmanager.

Their HTTP client takes 10 MB of every process that loads it, so it is loaded where the settings have something asked.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

from runner.machine_addresses import is_elsewhere
from service.errors import StartError
from service.settings import Settings
from sites.errors import SiteRequestError
from sites.inspector import ControllerCheck, DeclaredControllerCheck, DeclaredInspector, Inspector
from sites.probes import ProbeFactory, tcp_probe_factory
from sites.sysinv.access import Access, Address, Timeouts
from sites.sysinv.auth import SiteAccount, TlsTrust, TokenCache
from sites.sysinv.endpoints import SiteAddresses

if TYPE_CHECKING:
    from sites.dcmanager import DcmanagerOperations
    from sites.sysinv.controller import SystemControllerCheck

# How long a probe of either kind may take, in seconds.
_TCP_PROBE_S: Final = 5.0
_SYSINV_PROBE_S: Final = 30.0
_SHORT_TIMEOUTS: Final = Timeouts(connect_s=2.0, read_s=4.0, pause_s=0.5)
# dcmanager reads its whole database before it answers with the first byte.
_DCMANAGER_TIMEOUTS: Final = Timeouts(connect_s=2.0, read_s=12.0, pause_s=0.5)
_EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with


def site_inspector(settings: Settings) -> Inspector:
    """Return what reads the facts of sites.

    Raises:
        StartError: Sites are to be asked and there is no password for them, or no authority for their certificates.
    """
    if settings.inspector == "declared":
        return DeclaredInspector()
    check_site_authority(settings)
    from sites.sysinv.inspector import SysinvInspector  # noqa: PLC0415 - see the module

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
        _ = TlsTrust(file).context()
    except SiteRequestError:
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
        account=SiteAccount(
            username=settings.site_username,
            password=password,
            project=settings.site_project,
            user_domain=settings.site_user_domain,
            project_domain=settings.site_project_domain,
        ),
        trust=TlsTrust(settings.site_ca_file),
        timeouts=Timeouts(connect_s=settings.site_connect_timeout_s, read_s=settings.site_read_timeout_s),
        tokens=TokenCache(),
    )


def site_addresses(settings: Settings) -> SiteAddresses:
    """Return where sites are asked."""
    return SiteAddresses(
        keystone_port=settings.site_keystone_port,
        sysinv_port=settings.site_sysinv_port,
        usm_port=settings.site_usm_port,
        file=settings.site_urls_file,
    )


def probe_factory(settings: Settings) -> ProbeFactory:
    """Return what the availability probe asks of sites.

    Raises:
        StartError: Sites are to be asked and there is no password for them, or no authority for their certificates.
    """
    if settings.probe_kind == "tcp":
        return tcp_probe_factory(settings.probe_timeout_s or _TCP_PROBE_S)
    check_site_authority(settings)
    access = site_access(settings)
    # The next round is the next try.
    access = replace(access, timeouts=replace(access.timeouts, tries=1))
    from sites.sysinv.probe import sysinv_probe_factory  # noqa: PLC0415 - see the module

    return sysinv_probe_factory(access, site_addresses(settings), settings.probe_timeout_s or _SYSINV_PROBE_S)


def controller_check(settings: Settings) -> ControllerCheck:
    """Return the check whether the system controller is being upgraded.

    Raises:
        StartError: It is to be asked and a URL or the password is missing.
    """
    if settings.controller_asked is None:
        return DeclaredControllerCheck()
    return _system_controller_check(settings, settings.controller_asked)


def software_lister(settings: Settings) -> SystemControllerCheck | None:
    """Return what lists the controller's software for playbooks; None where its USM is not asked.

    A worker without the controller's URLs does its work: a playbook that is given no list asks for itself.
    """
    if settings.controller_asked != "usm" or settings.controller_url is None:
        return None
    return _system_controller_check(settings, settings.controller_asked)


def _system_controller_check(settings: Settings, kind: Literal["sysinv", "usm"]) -> SystemControllerCheck:
    from sites.sysinv.controller import SystemControllerCheck  # noqa: PLC0415 - see the module

    return SystemControllerCheck(*controller_access(settings), kind)


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
    # A caller waits for the answer to a command: all tries together fit into these few seconds.
    access = replace(controller_account(settings), timeouts=_SHORT_TIMEOUTS)
    return access, Address(keystone_url=keystone, service_url=service)


def dcmanager_operations(settings: Settings, installation: str = "") -> DcmanagerOperations | None:
    """Return what asks dcmanager which operations go on; None: it is not asked.

    `installation` is the id of this installation.

    Raises:
        StartError: It is to be asked and the controller's Keystone or the password is missing, or it is this Prestager.
    """
    if not settings.dcmanager_url:
        return None
    keystone = settings.controller_keystone_url
    if keystone is None:
        raise StartError(
            "Set PRESTAGER_CONTROLLER_KEYSTONE_URL: PRESTAGER_DCMANAGER_URL is asked with a token of that Keystone. Or"
            " leave PRESTAGER_DCMANAGER_URL empty."
        )
    if _is_own_address(settings, settings.dcmanager_url):
        raise StartError(
            "PRESTAGER_DCMANAGER_URL is the address that PRESTAGER_LISTEN gives to this Prestager itself. Set it to"
            " dcmanager's own, such as http://192.168.204.2:8119/v1.0, or leave it empty."
        )
    from sites.dcmanager import DcmanagerOperations  # noqa: PLC0415 - see the module

    access = replace(controller_account(settings), timeouts=_DCMANAGER_TIMEOUTS)
    address = Address(keystone_url=keystone, service_url=settings.dcmanager_url)
    return DcmanagerOperations(access, address, installation=installation)


def _is_own_address(settings: Settings, url: str) -> bool:
    place = urlsplit(url)
    port = place.port or (443 if place.scheme == "https" else 80)
    if port != settings.listen_port or place.hostname is None:
        return False
    is_everywhere = settings.listen_host in _EVERYWHERE
    return place.hostname == settings.listen_host or (is_everywhere and not is_elsewhere(place.hostname))


def controller_account(settings: Settings) -> Access:
    """Return how the controller's services are asked; what is not set of the account is as for sites.

    Raises:
        StartError: There is no password.
    """
    own: dict[str, object] = {"site_username": settings.controller_username or settings.site_username}
    if settings.controller_password or settings.controller_password_file:
        own["site_password"] = settings.controller_password
        own["site_password_file"] = settings.controller_password_file
    return site_access(settings.model_copy(update=own))
