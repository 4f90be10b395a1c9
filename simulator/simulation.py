"""A whole simulated fleet: makes its sites, serves them until it is stopped, and leaves nothing running behind.

Everything is in one event loop of one process; only the commands that a client runs on a site are processes of their
own. What the sites are is decided by a plan before anything is made.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

from simulator.certificates import Authority
from simulator.host_keys import kept_host_key
from simulator.rules import FaultRule, SiteFault, draw_faults
from simulator.site_spec import Account, SiteSpec
from simulator.site_tree import SiteTree, write_programs
from simulator.sites_api import ServedSite, serve_sites
from simulator.ssh_serving import serve_ssh
from simulator.ssh_site import SshSite

SSH_PORT: Final = 2222
KEYSTONE_PORT: Final = 5001
SYSINV_PORT: Final = 6386
MOST_SITES: Final = 10_000
FIRST_ADDRESS: Final = IPv4Address("127.20.0.1")
# How much further each site's management address is than its OAM address.
_MANAGEMENT: Final = 1 << 16


@dataclass(frozen=True, kw_only=True)
class FleetPlan:
    """Parameters of a simulation."""

    # Made if missing; sites/, programs/, host-keys/ and the certificate authority are below it.
    directory: Path
    site_count: int
    # Release that the sites run, and the one that they are to be prestaged with.
    release: str
    target: str
    # Holds rel-<release>/ of both; None: the sites have no packages of their own.
    feed: Path | None = None
    rules: Sequence[FaultRule] = ()
    seed: int = 0
    # OAM address of the first site, in 127.0.0.0/8; management addresses are 0.1.0.0 further.
    first_address: IPv4Address = FIRST_ADDRESS
    # The same ports for every site, or a free one for each server of each site.
    free_ports: bool = False

    @property
    def names(self) -> list[str]:
        """The sites' names, in order; all of one length."""
        digits = max(3, len(str(self.site_count)))
        return [f"edge-{number:0{digits}}" for number in range(1, self.site_count + 1)]


@dataclass(frozen=True, kw_only=True)
class SimulatedSite:
    """One site that is served."""

    name: str
    release: str
    ssh: SshSite
    api: ServedSite
    faults: Mapping[SiteFault, float]

    @property
    def tree(self) -> SiteTree:
        """Its files."""
        return self.ssh.tree


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """A fleet that is served."""

    plan: FleetPlan
    sites: Sequence[SimulatedSite]
    # Of the authority that the sites' REST servers prove themselves with.
    ca_file: Path
    password: str = field(repr=False)


@asynccontextmanager
async def serve_fleet(plan: FleetPlan, password: str, password_file: Path) -> AsyncIterator[Fleet]:
    """Make and serve the fleet; `password`, the content of `password_file`, is that of every login, sudo and account.

    Raises:
        RuleError: A rule does not fit the fleet; nothing was made.
        OSError: An address cannot be listened on; nothing is left listening.
    """
    faults = draw_faults(plan.rules, plan.names, plan.seed)
    programs = plan.directory / "programs"
    write_programs(programs)
    servers = {
        name: _ssh_site(plan, number, name, faults.get(name, {}), password, password_file, programs)
        for number, name in enumerate(plan.names)
    }
    specs = [_spec(plan, number, name, faults.get(name, {}), password) for number, name in enumerate(plan.names)]
    authority = Authority(plan.directory)
    context = authority.server_context([spec.host for spec in specs])
    async with serve_sites(specs, ssl_context=context) as apis, serve_ssh(list(servers.values()), plan.directory):
        for name in (name for name, found in faults.items() if SiteFault.NO_SYSINV in found):
            await apis[name].refuse()
        sites = [
            SimulatedSite(
                name=name,
                release=apis[name].spec.software_version,
                ssh=server,
                api=apis[name],
                faults=faults.get(name, {}),
            )
            for name, server in servers.items()
        ]
        yield Fleet(plan=plan, sites=sites, ca_file=authority.ca_file, password=password)


def _ssh_site(  # noqa: PLR0913, PLR0917
    plan: FleetPlan,
    number: int,
    name: str,
    faults: Mapping[SiteFault, float],
    password: str,
    password_file: Path,
    programs: Path,
) -> SshSite:
    tree = SiteTree(root=plan.directory / "sites" / name)
    release = _release(plan, faults)
    tree.make(release, plan.feed / f"rel-{release}" if plan.feed is not None else None)
    return SshSite(
        name=name,
        tree=tree,
        host=str(plan.first_address + number),
        port=0 if plan.free_ports else SSH_PORT,
        password=password,
        password_file=password_file,
        programs=programs,
        faults=faults,
        host_key=kept_host_key(plan.directory, name),
    )


def _spec(plan: FleetPlan, number: int, name: str, faults: Mapping[SiteFault, float], password: str) -> SiteSpec:
    has_alarm = int(SiteFault.ALARM in faults)
    return SiteSpec(
        name=name,
        host=str(plan.first_address + _MANAGEMENT + number),
        keystone_port=0 if plan.free_ports else KEYSTONE_PORT,
        sysinv_port=0 if plan.free_ports else SYSINV_PORT,
        account=Account(password=password),
        system_mode="duplex" if SiteFault.DUPLEX in faults else "simplex",
        software_version=_release(plan, faults),
        alarms=has_alarm,
        management_affecting_alarms=has_alarm,
        oam_floating_ip=str(plan.first_address + number),
    )


def _release(plan: FleetPlan, faults: Mapping[SiteFault, float]) -> str:
    return plan.target if SiteFault.REINSTALL in faults else plan.release
