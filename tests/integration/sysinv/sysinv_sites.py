"""Asks simulated sites as the service does, with short pauses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulator.site_spec import Account
from simulator.sites_api import ServedSite
from sites.inspector import Reading
from sites.sysinv.access import Access, Address, Timeouts
from sites.sysinv.auth import SiteAccount, TlsTrust, TokenCache
from sites.sysinv.client import SiteSession
from sites.sysinv.endpoints import SiteAddresses
from sites.sysinv.inspector import SysinvInspector

TIMEOUTS = Timeouts(connect_s=2.0, read_s=2.0, pause_s=0.01)


def account(password: str | Path = Account.password) -> SiteAccount:
    return SiteAccount(
        username="dcmanager", password=password, project="services", user_domain="Default", project_domain="Default"
    )


def address_of(site: ServedSite) -> Address:
    return Address(keystone_url=site.keystone_url, service_url=site.sysinv_url)


class FixedAddresses(SiteAddresses):
    """Knows one site, whatever it is called."""

    def __init__(self, address: Address | None) -> None:
        super().__init__()
        self._address = address

    def find(self, name: str, management_address: str | None) -> Address | None:
        del name, management_address
        return self._address


@dataclass
class Asker:
    """An account with its tokens."""

    account: SiteAccount = field(default_factory=account)
    trust: TlsTrust = field(default_factory=TlsTrust)
    timeouts: Timeouts = TIMEOUTS
    tokens: TokenCache = field(default_factory=TokenCache)

    @property
    def access(self) -> Access:
        return Access(account=self.account, trust=self.trust, timeouts=self.timeouts, tokens=self.tokens)

    async def get(self, site: ServedSite, path: str = "/v1/isystems") -> Any:
        """Get one path in a session of its own."""
        async with SiteSession(self.access, address_of(site)) as session:
            return await session.get(path)

    async def inspect(
        self, site: ServedSite, *, allow_duplex: bool = False, for_install: bool = True, deadline_s: float = 20.0
    ) -> Reading:
        """Read a site's facts."""
        inspector = SysinvInspector(
            self.access, FixedAddresses(address_of(site)), deadline_s=deadline_s, allow_duplex=allow_duplex
        )
        row = {"name": "edge-1", "management_start_ip": None, "software_version": "22.12"}
        return await inspector.read(row, for_install=for_install)
