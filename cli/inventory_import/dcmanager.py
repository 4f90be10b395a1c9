"""Reads the sites and groups of a dcmanager over its API, as hosts with our variables. Reads only; checks nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from cli.inventory_import.inventory_file import Hosts
from service.errors import CommandError
from sites.dcmanager import LONGEST_LIST, SUBCLOUDS, listed_objects
from sites.errors import ErrorKind, SiteRequestError
from sites.sysinv.access import Access, Address, Timeouts
from sites.sysinv.auth import GivenToken, SiteToken, TlsTrust, TokenCache
from sites.sysinv.client import SiteSession

# dcmanager answers within 90 s or not at all.
_ANSWER_S: Final = 90.0
# Details are asked for one site at a time; dcmanager has few workers.
_AT_ONCE: Final = 8
_GROUPS: Final = "/subcloud-groups/"
# Why a token may be refused.
_REFUSED: Final = frozenset({ErrorKind.LOGIN, ErrorKind.FORBIDDEN})
_NO_ADDRESS: Final = "unavailable"
# Older releases keep what a prestage did in deploy-status; only sites that were deployed could be prestaged.
_PRESTAGE: Final = "prestage-"


def read_dcmanager(url: str, token_file: Path) -> Hosts:
    """Return the sites of the dcmanager at `url`, such as http://192.168.204.2:8119/v1.0.

    Args:
        url: Of the API, with its version.

        token_file: Holds a Keystone token; never given as an argument, which others can see.

    Raises:
        CommandError: It cannot be read.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise CommandError("--from-dcmanager takes the address of its API, such as http://192.168.204.2:8119/v1.0")
    address = Address(keystone_url="", service_url=url.rstrip("/"))
    try:
        groups, sites, details = asyncio.run(_read(address, _token(token_file)))
    except SiteRequestError as fault:
        hint = " The token is not valid there, or its user may not read." if fault.kind in _REFUSED else ""
        raise CommandError(f"{address.service_url} cannot be read: {fault}{hint} Nothing was imported.") from fault
    hosts = {
        str(site["name"]): _variables(site, detail, groups.get(site.get("group_id"), {}))
        for site, detail in zip(sites, details, strict=True)
    }
    if not hosts:
        raise CommandError("dcmanager has no subclouds; there is nothing to import.")
    return hosts


def _token(file: Path) -> str:
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise CommandError(f"The token in {file} cannot be read: {reason}.") from error
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise CommandError(f"{file} holds no token; write one: openstack token issue -f value -c id > {file}")
    return token


async def _read(
    address: Address, token: str
) -> tuple[dict[Any, Mapping[str, Any]], list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Return the groups by id, the sites, and facts of each site's own page, in the order of the sites.

    Raises:
        SiteRequestError: There was no usable answer.
    """
    tokens = TokenCache()
    tokens.keep(address.keystone_url, SiteToken(text=token, renew_at=inf))
    access = Access(account=GivenToken(), trust=TlsTrust(), timeouts=Timeouts(read_s=_ANSWER_S, tries=1), tokens=tokens)
    async with SiteSession(access, address, longest_body=LONGEST_LIST, connections=_AT_ONCE) as session:
        groups = listed_objects(await session.get(_GROUPS), "subcloud_groups")
        sites = listed_objects(await session.get(SUBCLOUDS), "subclouds")
        paths = [f"{SUBCLOUDS}{quote(str(site['name']), safe='')}/detail" for site in sites]
        answers = await asyncio.gather(*map(session.get, paths))
    details: list[Mapping[str, Any]] = [answer if isinstance(answer, dict) else {} for answer in answers]
    return {group.get("id"): group for group in groups}, sites, details


def _variables(site: Mapping[str, Any], detail: Mapping[str, Any], group: Mapping[str, Any]) -> dict[str, Any]:
    status = str(site.get("deploy-status") or "complete")
    address = detail.get("oam_floating_ip")
    found = {
        "prestager_software_version": site.get("software-version"),
        "prestager_management_state": site.get("management-state"),
        "prestager_availability_status": site.get("availability-status"),
        "prestager_deploy_status": "complete" if status.startswith(_PRESTAGE) else status,
        "prestager_oam_address": None if address == _NO_ADDRESS else address,
        "prestager_description": site.get("description"),
        "prestager_location": site.get("location"),
        "prestager_group": group.get("name"),
        "prestager_group_apply_type": group.get("update_apply_type"),
        "prestager_group_max_parallel": group.get("max_parallel_subclouds"),
        "prestager_group_description": group.get("description"),
    }
    return {name: value for name, value in found.items() if value not in (None, "")}
