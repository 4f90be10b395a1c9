"""Interpretation of the answers of sysinv and USM; texts and rules are those of StarlingX. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from sites.errors import ErrorKind, SiteRequestError
from statemachine.releases import is_older, is_release, release_order
from statemachine.site_operations import USM_AT_REST

# Both are searched for anywhere in the report, as upstream does: its other lines differ between releases.
_ALARM_CHECK_FAILED: Final = "No alarms: [Fail]"
_NONE_AFFECTS_MANAGEMENT: Final = "[0] of which are management affecting"
_ACTIVE_CONTROLLER: Final = "Controller-Active"
# Of what a site may have written, in a message of ours.
_SHOWN: Final = 64

_DEPLOYED: Final = "deployed"
# Ansible evaluates what it is given: nothing but plain names is passed on.
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_MOST: Final = 1000


@dataclass(frozen=True, kw_only=True)
class System:
    """Facts about a system."""

    # simplex, duplex or duplex-direct.
    mode: str
    # MM.mm.
    software_version: str


def read_system(body: Any) -> System:
    """Return the system that `GET /v1/isystems` lists.

    Raises:
        SiteRequestError: It lists none, or one without mode or version.
    """
    system = _first(body, "isystems", "system")
    version = _text(system, "software_version", "system")
    if not is_release(version):
        raise _unusable(f"The system's software_version is {version[:_SHOWN]!r}, not of the form MM.mm.")
    return System(mode=_text(system, "system_mode", "system"), software_version=version)


def read_health(body: Any) -> str:
    """Return the report of `GET /v1/health`, which is one text.

    Raises:
        SiteRequestError: It is none.
    """
    if not isinstance(body, str):
        raise _unusable("The system's health is not a text.")
    return body


def has_blocking_alarms(report: str) -> bool:
    """Tell whether the report has alarms that affect management (contract 8.10).

    Alarms of expiring certificates are not among them, and no other failed check of the report counts.
    """
    return _ALARM_CHECK_FAILED in report and _NONE_AFFECTS_MANAGEMENT not in report


def read_oam_address(body: Any) -> str:
    """Return the floating OAM address that `GET /v1/iextoam` lists.

    Raises:
        SiteRequestError: It lists none, or what is no address.
    """
    text = _text(_first(body, "iextoams", "OAM network"), "oam_floating_ip", "OAM network")
    try:
        return str(ip_address(text))
    except ValueError:
        raise _unusable(f"The OAM network's oam_floating_ip is {text[:_SHOWN]!r}, not an IP address.") from None


def is_active_controller(body: Any) -> bool:
    """Tell whether the host of `GET /v1/ihosts/<name>` is the active controller.

    Raises:
        SiteRequestError: It does not say what it is.
    """
    capabilities = body.get("capabilities") if isinstance(body, Mapping) else None
    if not isinstance(capabilities, Mapping):
        raise _unusable("The host has no capabilities.")
    return _text(capabilities, "Personality", "host") == _ACTIVE_CONTROLLER


def is_serving(body: Any) -> bool:
    """Tell whether a site is online by `GET /v1/servicegroup`: each of its groups is active on some node.

    Raises:
        SiteRequestError: There is no list of groups.
    """
    groups = _list(body, "sm_servicegroup")
    names = [_text(group, "service_group_name", "service group") for group in groups]
    active = {name for name, group in zip(names, groups, strict=True) if group.get("state") == "active"}
    return bool(names) and active == set(names)


def has_upgrade(body: Any) -> bool:
    """Tell whether `GET /v1/upgrade` of a controller's sysinv lists an upgrade, in whatever state.

    Raises:
        SiteRequestError: There is no list.
    """
    return bool(_list(body, "upgrades"))


def has_deploy(body: Any) -> bool:
    """Tell whether `GET /v1/deploy` of a controller's USM lists a deploy, in whatever state.

    Raises:
        SiteRequestError: There is no list; USM sends its errors as an object.
    """
    return bool(_deploys(body))


def deploy_in_transition(body: Any) -> str | None:
    """Return the state of the deploy in transition that `GET /v1/deploy` of a site's USM lists; None: there is none.

    Raises:
        SiteRequestError: There is no list, or a deploy without a state; USM sends its errors as an object.
    """
    deploys = _deploys(body)
    if not all(isinstance(one, Mapping) for one in deploys):
        raise _unusable("GET /v1/deploy gave no list of deploys.")
    states = [_text(one, "state", "software deploy") for one in deploys]
    return next((state[:_SHOWN] for state in states if state not in USM_AT_REST), None)


def _deploys(body: Any) -> list[Any]:
    if isinstance(body, Mapping) and body.get("error"):
        raise SiteRequestError(ErrorKind.SERVER, "GET /v1/deploy told an error.")
    if not isinstance(body, list):
        raise _unusable("GET /v1/deploy gave no list of deploys.")
    return body


# States in which a release of USM can be installed on a site.
_INSTALLABLE: Final = frozenset({"available", "deployed", "unavailable"})


def read_releases(body: Any) -> tuple[str, ...]:
    """Return the releases (MM.mm), oldest first, that `GET /v1/release` of a controller's USM lists as installable.

    Raises:
        SiteRequestError: There is no list of releases.
    """
    if not isinstance(body, list) or not all(isinstance(one, Mapping) for one in body):
        raise _unusable("GET /v1/release gave no list of releases.")
    # A release of USM is a patch of one of ours, such as 24.09.1 of 24.09.
    versions = (str(one.get("sw_version")) for one in body if one.get("state") in _INSTALLABLE)
    found = {".".join(version.split(".")[:2]) for version in versions}
    return tuple(sorted(filter(is_release, found), key=release_order))


def _list(body: Any, key: str) -> list[Mapping[str, Any]]:
    found = body.get(key) if isinstance(body, Mapping) else None
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise _unusable(f"The answer has no list {key}.")
    return found


def _first(body: Any, key: str, what: str) -> Mapping[str, Any]:
    found = _list(body, key)
    if not found:
        raise _unusable(f"The site lists no {what}.")
    return found[0]


def _text(values: Mapping[str, Any], key: str, what: str) -> str:
    value = values.get(key)
    if not isinstance(value, str) or not value:
        raise _unusable(f"The {what} has no {key}.")
    return value


def _unusable(text: str) -> SiteRequestError:
    return SiteRequestError(ErrorKind.UNUSABLE, text)


@dataclass(frozen=True, kw_only=True)
class ListedSoftware:
    """One release of USM, such as `starlingx-24.09.1`."""

    release_id: str
    # MM.mm.p
    sw_version: str
    state: str
    # True or False.
    reboot_required: str

    @property
    def release(self) -> str:
        """The release (MM.mm) that it belongs to."""
        return ".".join(self.sw_version.split(".")[:2])

    @property
    def line(self) -> str:
        """The line that `software list` prints of it, without blanks."""
        return f"|{self.release_id}|{self.reboot_required}|{self.state}|"


def read_software(body: Any) -> tuple[ListedSoftware, ...]:
    """Return what `GET /v1/release` lists, in its order; entries of another form are left out."""
    entries = body if isinstance(body, list) else []
    return tuple(found for entry in entries[:_MOST] if (found := _listed(entry)) is not None)


def software_lines(software: Iterable[ListedSoftware], release: str, own: str | None) -> list[str]:
    """Return the lines about one release (MM.mm), as dcmanager chooses them.

    Of a release older than `own`, the controller's, all count, of others those that are deployed.
    """
    takes_all = own is not None and is_older(release, own)
    return [one.line for one in software if one.release == release and (takes_all or one.state == _DEPLOYED)]


def _listed(entry: Any) -> ListedSoftware | None:
    if not isinstance(entry, Mapping):
        return None
    texts = [str(entry.get(key, "")) for key in ("release_id", "sw_version", "state", "reboot_required")]
    if not all(_PLAIN.fullmatch(text) for text in texts):
        return None
    release_id, version, state, reboot = texts
    return ListedSoftware(release_id=release_id, sw_version=version, state=state, reboot_required=reboot)
