"""Reads the sites and groups of a dcmanager over its API, as hosts with our variables. Reads only; judges nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from cli.errors import CommandError
from cli.fleet_import.ansible_inventory import Hosts

# dcmanager answers within 90 s or not at all.
_ANSWER_S: Final = 90.0
# Details are asked for one site at a time; dcmanager has few workers.
_AT_ONCE: Final = 8
_NO_ADDRESS: Final = "unavailable"
# Older releases keep what a prestage did in deploy-status; only sites that were deployed could be prestaged.
_PRESTAGE: Final = "prestage-"


class _NoRedirect(HTTPRedirectHandler):
    """A redirect would carry the token somewhere else."""

    def redirect_request(self, *arguments: Any, **named: Any) -> None:
        del arguments, named


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
    api = _Api(url.rstrip("/"), _token(token_file))
    groups = {group.get("id"): group for group in api.listed("/subcloud-groups/", "subcloud_groups")}
    sites = api.listed("/subclouds/", "subclouds")
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        details = list(pool.map(api.detail, sites))
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


class _Api:
    """dcmanager's API; `fetch` may be called from several threads."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token
        self._opener: OpenerDirector = build_opener(_NoRedirect)

    def listed(self, path: str, key: str) -> list[Mapping[str, Any]]:
        """Return the objects of a list."""
        answer = self.fetch(path)
        found = answer.get(key) if isinstance(answer, dict) else None
        if not isinstance(found, list) or not all(isinstance(one, dict) and "name" in one for one in found):
            raise CommandError(f"{self._url}{path} does not answer as dcmanager does; is the address right?")
        return found

    def detail(self, site: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what only a site's own page tells."""
        answer = self.fetch(f"/subclouds/{quote(str(site['name']), safe='')}/detail")
        return answer if isinstance(answer, dict) else {}

    def fetch(self, path: str) -> Any:
        """Return the JSON of a page."""
        place = f"{self._url}{path}"
        request = Request(place, headers={"X-Auth-Token": self._token, "Accept": "application/json"})  # noqa: S310 - the scheme was looked at
        try:
            with self._opener.open(request, timeout=_ANSWER_S) as response:
                return json.load(response)
        except HTTPError as error:
            error.close()
            hint = "; the token is not valid there, or its user may not read" if error.code in {401, 403} else ""
            raise CommandError(f"{place} answers {error.code}{hint}. Nothing was imported.") from error
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or type(error).__name__
            raise CommandError(f"{place} cannot be reached: {reason}. Nothing was imported.") from error
        except ValueError as error:
            raise CommandError(f"{place} does not answer in JSON; is the address right?") from error


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
