"""A parted network: callers get an answer within 5.5 s, and all is well again within 15 s of its healing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy.engine import make_url

from tests.faults.fault_checks import violations
from tests.faults.fault_installation import FaultInstallation, NewInstallation, promised, scaled
from tests.support.postgres_server import PostgresServer
from tests.support.rabbitmq_server import StrictRabbitmq
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import wait_for

pytestmark = pytest.mark.faults

ANSWERED_S = promised(5.5)
RECOVERED_S = promised(15.0)
MODES = scaled(("swallow",), ("swallow", "trickle", "reset", "delay", "swallow"))
CALLERS = 8


@dataclass(frozen=True)
class Site:
    """An installation whose network may be parted in three places."""

    installation: FaultInstallation
    api_to_broker: TcpProxy
    api_to_database: TcpProxy
    worker_to_database: TcpProxy

    def make_group(self) -> tuple[int, float]:
        """Ask for a new group; return status and how long it took."""
        name = uuid4().hex
        body = {"name": name, "description": name, "update_apply_type": "serial", "max_parallel_subclouds": 2}
        return self._timed("POST", "/v1.0/subcloud-groups", body)

    def look(self) -> tuple[int, float]:
        """Read something."""
        return self._timed("GET", "/v1.0/subcloud-groups", None)

    def _timed(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, float]:
        began = monotonic()
        status, _ = self.installation.api.ask(method, path, body)
        return status, monotonic() - began


@pytest.fixture
def site(new_installation: NewInstallation, rabbitmq: StrictRabbitmq, postgres: PostgresServer) -> Iterator[Site]:
    """Give an installation as processes whose API and worker reach the servers through proxies."""
    with ExitStack() as stack:
        installation = new_installation(seconds=0.2)
        parted = Site(
            installation,
            stack.enter_context(TcpProxy(rabbitmq.port)),
            stack.enter_context(TcpProxy(postgres.port)),
            stack.enter_context(TcpProxy(postgres.port)),
        )
        database = make_url(installation.parts["api"]._environment["PRESTAGER_DATABASE_URL"])

        def through(proxy: TcpProxy) -> str:
            return database.set(port=proxy.port).render_as_string(hide_password=False)

        installation.parts["api"]._environment |= {
            "PRESTAGER_BROKER_URL": rabbitmq.url_at(parted.api_to_broker.port),
            "PRESTAGER_DATABASE_URL": through(parted.api_to_database),
        }
        installation.parts["worker-a"]._environment["PRESTAGER_DATABASE_URL"] = through(parted.worker_to_database)
        installation.launch()
        yield parted
        installation.end()


def part(proxy: TcpProxy, mode: str) -> None:
    """PartProcess the network in one place."""
    if mode == "delay":
        proxy.delay(800)
    else:
        getattr(proxy, mode)()


def at_once(*calls: Any) -> list[tuple[int, float]]:
    """Make calls at the same time and return their statuses and times."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def heal(proxy: TcpProxy, site: Site) -> float:
    """Heal the network; return how long it took until commands and looks worked again."""
    proxy.pass_on()
    began = monotonic()
    wait_for(lambda: site.make_group()[0] == site.look()[0] == 200, RECOVERED_S + 1.0, site.installation.story)
    return monotonic() - began


def test_parted_from_the_servers(site: Site) -> None:
    """Parted from broker or database the API says so in time; a worker that is parted loses and doubles nothing."""
    assert (200, 200) == (site.make_group()[0], site.look()[0])
    for mode in MODES:
        without_broker(site, mode)
        without_database(site, mode)
    worker_without_database(site)


def without_broker(site: Site, mode: str) -> None:
    """Commands are turned down in time; what is read is read as ever."""
    part(site.api_to_broker, mode)
    # Some are told by the failure of others.
    read, *answers = at_once(site.look, *[site.make_group] * CALLERS)
    recovered_s = heal(site.api_to_broker, site)
    sys.stdout.write(f"no broker, {mode}: {answers}, well again after {recovered_s:.1f} s\n")

    assert {status for status, _ in answers} <= allowed(mode)
    assert max(took_s for _, took_s in answers) < ANSWERED_S
    assert (200, True) == (read[0], read[1] < ANSWERED_S)
    assert recovered_s < RECOVERED_S


def without_database(site: Site, mode: str) -> None:
    """Everything is turned down in time; the process is alive and says that it is not ready."""
    part(site.api_to_database, mode)
    probes = [partial(site._timed, "GET", path, None) for path in ("/livez", "/readyz")]
    alive, ready, *answers = at_once(*probes, *[site.make_group] * CALLERS, *[site.look] * CALLERS)
    recovered_s = heal(site.api_to_database, site)
    sys.stdout.write(f"no database, {mode}: {answers}, well again after {recovered_s:.1f} s\n")

    assert {status for status, _ in answers} <= allowed(mode)
    assert max(took_s for _, took_s in answers) < ANSWERED_S
    assert (200, True) == (alive[0], alive[1] < promised(2.0))
    assert (True, True) == (ready[0] == 503 or mode == "delay", ready[1] < ANSWERED_S)
    assert recovered_s < RECOVERED_S


def allowed(mode: str) -> set[int]:
    """Return what may be answered meanwhile: a slow network may be quick enough."""
    return {200, 503, 504} if mode == "delay" else {503, 504}


def worker_without_database(site: Site) -> None:
    """A worker that loses its database in the middle of a strategy loses and doubles nothing, however long it lasts."""
    installation = site.installation
    installation.add_sites(2)
    installation.apply_strategy(2)
    wait_for(lambda: installation.begun() > 0, story=installation.story)
    site.worker_to_database.swallow()
    away_s = scaled(3.0, 60.0)
    healed_at = monotonic() + away_s
    wait_for(lambda: monotonic() > healed_at, away_s * 2)
    site.worker_to_database.pass_on()

    assert "complete" == installation.wait_for_end()
    assert [] == violations(installation)
