"""Probe of one site by the questions of StarlingX's own audit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from sites.errors import NOT_OF_THE_SITE, ErrorKind, SiteRequestError
from sites.probes import ProbeAnswer, ProbeFactory
from sites.sysinv.access import Access, Address
from sites.sysinv.client import SiteSession
from sites.sysinv.endpoints import SiteAddresses
from sites.sysinv.interpretation import is_serving, read_system

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class SysinvProbe:
    """A site's sysinv: good when each of its service groups is active, asked within `timeout_s` seconds."""

    name: str
    access: Access
    address: Address
    timeout_s: float

    async def ask(self) -> ProbeAnswer:
        """Log in and ask for the service groups, as StarlingX's audit does."""
        try:
            async with asyncio.timeout(self.timeout_s), SiteSession(self.access, self.address) as site:
                return ProbeAnswer.GOOD if is_serving(await site.get("/v1/servicegroup")) else ProbeAnswer.BAD
        except TimeoutError:
            return ProbeAnswer.SILENT
        except SiteRequestError as error:
            if error.kind in NOT_OF_THE_SITE:
                _log.info("probe.not-told", subcloud=self.name, cause=str(error))
                return ProbeAnswer.UNSURE
            return ProbeAnswer.SILENT if error.kind in {ErrorKind.UNREACHABLE, ErrorKind.REFUSED} else ProbeAnswer.BAD

    async def version(self) -> str | None:
        """Ask for the system, as the precheck does; an error says nothing of the version."""
        try:
            async with asyncio.timeout(self.timeout_s), SiteSession(self.access, self.address) as site:
                return read_system(await site.get("/v1/isystems")).software_version
        except (TimeoutError, SiteRequestError) as error:
            _log.info("probe.no-version", subcloud=self.name, cause=str(error))
            return None


def sysinv_probe_factory(access: Access, addresses: SiteAddresses, timeout_s: float) -> ProbeFactory:
    """Return what aims at the sysinv of a site; one without a known management address has none."""

    def make_probe(row: Mapping[Any, Any]) -> SysinvProbe | None:
        address = addresses.find(row["name"], row["management_start_ip"])
        if address is None:
            return None
        return SysinvProbe(name=row["name"], access=access, address=address, timeout_s=timeout_s)

    return make_probe
