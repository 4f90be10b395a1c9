"""The `sysinv` inspector: reads a site's facts where they are true, at the site."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from sites.errors import TRANSIENT, ErrorKind, InspectionError, SiteRequestError
from sites.inspector import Reading
from sites.sysinv.access import Access, Address
from sites.sysinv.client import SiteSession
from sites.sysinv.endpoints import SiteAddresses
from sites.sysinv.interpretation import (
    System,
    deploy_in_transition,
    has_blocking_alarms,
    is_active_controller,
    read_health,
    read_oam_address,
    read_system,
)
from statemachine.eligibility import SiteFacts
from statemachine.releases import is_older
from statemachine.site_operations import FIRST_WITH_USM

_DEPLOY: Final = "/v1/deploy"
# How a site of a release without USM answers where USM would be.
_NO_USM: Final = frozenset({ErrorKind.REFUSED, ErrorKind.MISSING})


class SysinvInspector:
    """Asks a site's own Keystone and sysinv, in upstream's order, then its USM; the first error ends it.

    `deadline_s` bounds all requests about one site together, in seconds. With `allow_duplex` the active controller of
    a duplex site is read where it matters.
    """

    def __init__(self, access: Access, addresses: SiteAddresses, *, deadline_s: float, allow_duplex: bool) -> None:
        self._access = access
        self._addresses = addresses
        self._deadline_s = deadline_s
        self._allow_duplex = allow_duplex

    def known(self, subcloud: Mapping[str, Any]) -> None:
        """Return None: nothing is known before the site is asked."""
        del subcloud

    async def read(self, subcloud: Mapping[str, Any], *, for_install: bool) -> Reading:
        """Return what the site says of itself.

        Raises:
            InspectionError: It could not be asked, or gave no usable answer, or not in time.
        """
        address = self._addresses.find(subcloud["name"], subcloud["management_start_ip"])
        if address is None:
            raise InspectionError("Its management_start_address is not known; set it, so that the site can be asked.")
        try:
            async with asyncio.timeout(self._deadline_s), SiteSession(self._access, address) as site:
                reading = await self._read(site, subcloud, for_install=for_install)
                # An older site's firewall may leave a question without an answer where nothing is to be asked.
                if address.usm_url is not None and not is_older(reading.facts.software_version, FIRST_WITH_USM):
                    reading = await self._read_deploy(replace(address, service_url=address.usm_url), reading)
        except TimeoutError:
            raise InspectionError(f"The site did not tell all within {self._deadline_s:g} s.") from None
        return replace(reading, is_verified=address.service_url.startswith("https:"))

    async def _read_deploy(self, usm: Address, reading: Reading) -> Reading:
        """Return the reading with the site's own software deploy; a site without USM has none."""
        try:
            async with SiteSession(self._access, usm) as site:
                state = deploy_in_transition(await site.get(_DEPLOY, transient=TRANSIENT - _NO_USM))
        except SiteRequestError as error:
            if error.kind not in _NO_USM:
                raise
            return replace(reading, log=f"{reading.log}Software deploy: none, the site has no USM. {error}\n")
        log = f"{reading.log}Software deploy: {state or 'none in transition'}\n"
        return replace(reading, facts=replace(reading.facts, deploy_in_transition=state), log=log)

    async def _read(self, site: SiteSession, subcloud: Mapping[str, Any], *, for_install: bool) -> Reading:
        system = read_system(await site.get("/v1/isystems"))
        # With the slash, as StarlingX's own client asks.
        report = read_health(await site.get("/v1/health/"))
        oam_address = read_oam_address(await site.get("/v1/iextoam"))
        is_active: bool | None = None
        # Exactly this mode, as upstream: the rule is not for duplex-direct.
        if self._allow_duplex and for_install and system.mode == "duplex":
            is_active = is_active_controller(await site.get("/v1/ihosts/controller-0"))
        facts = SiteFacts(
            system_mode=system.mode,
            oam_address=oam_address,
            management_affecting_alarms=has_blocking_alarms(report),
            software_version=system.software_version,
            controller_0_active=is_active,
        )
        return Reading(facts=facts, log=_log(system, oam_address, report, subcloud["software_version"]))


def _log(system: System, oam_address: str, report: str, declared_version: str) -> str:
    lines = [f"System mode: {system.mode}", f"Software version: {system.software_version}"]
    if system.software_version != declared_version:
        lines.append(f"The inventory says {declared_version}; what the site says is used.")
    return "\n".join([*lines, f"OAM address: {oam_address}", report.rstrip(), ""])
