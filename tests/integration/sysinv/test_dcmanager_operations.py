"""dcmanager is asked for one list, which all in a process share, and which takes bounded time and room."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

import pytest

from simulator.site_spec import EVERYTHING, Fault, FaultKind, SiteSpec
from simulator.sites_api import ServedSite, serve_sites
from sites import dcmanager as module
from sites.dcmanager import DcmanagerOperations, DcmanagerSubclouds
from sites.errors import InspectionError
from sites.sysinv.access import Address
from statemachine.site_operations import SiteOperation
from tests.integration.sysinv.sysinv_sites import Asker, address_of
from tests.support.waiting import PATIENCE_S

BACKUP = SiteOperation(key="backup-status", status="backing-up")


@pytest.fixture
async def dcmanager() -> AsyncIterator[ServedSite]:
    """A system controller whose dcmanager makes a backup of edge-1."""
    listed = [{"name": "edge-1", "backup-status": "backing-up"}, {"name": "edge-2", "deploy-status": "complete"}]
    async with serve_sites([SiteSpec(name="controller", role="systemcontroller", subclouds=listed)]) as sites:
        yield sites["controller"]


class Clock:
    """Stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def operations_of(asker: Asker, site: ServedSite, **given: Any) -> DcmanagerOperations:
    address = Address(keystone_url=site.keystone_url, service_url=site.dcmanager_url)
    return DcmanagerOperations(asker.access, address, **given)


async def test_both_ways_of_asking(asker: Asker, dcmanager: ServedSite) -> None:
    """A thread and a coroutine get the same list."""
    asked = operations_of(asker, dcmanager)
    found = await asyncio.to_thread(asked.read)

    assert (2, {"edge-1": BACKUP}) == (found.count, found.operations)
    assert found == await asked.read_async()
    assert {"login": 1, "subclouds": 1} == dcmanager.spec.requests


async def test_one_list_for_many(asker: Asker, dcmanager: ServedSite) -> None:
    """A thousand sites at once, and those within 10 s, cost one question; then there is another."""
    clock = Clock()
    asked = operations_of(asker, dcmanager, clock=clock)
    await asyncio.gather(*(asked.read_async() for _ in range(1000)))
    dcmanager.spec.subclouds = []
    clock.now = 9.9

    assert {"edge-1": BACKUP} == (await asked.read_async()).operations
    assert 1 == dcmanager.spec.requests["subclouds"]
    clock.now = 10.0
    assert {} == (await asked.read_async()).operations


async def test_a_failure_holds_as_long(asker: Asker, dcmanager: ServedSite) -> None:
    """A dcmanager that is away is not asked by each site anew, and is found again after 10 s."""
    clock = Clock()
    asked = operations_of(asker, dcmanager, clock=clock)
    await dcmanager.refuse()
    for _ in range(3):
        with pytest.raises(InspectionError, match="refused the connection"):
            await asked.read_async()
    await dcmanager.listen()
    with pytest.raises(InspectionError, match="refused the connection"):
        await asked.read_async()

    clock.now = 10.0
    assert 2 == (await asked.read_async()).count


async def test_a_failure_that_takes_long_holds_after_it(
    asker: Asker, dcmanager: ServedSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those who come after a silent dcmanager was given up do not wait for it one after the other."""
    clock = Clock()
    asked = operations_of(asker, dcmanager, longest_s=0.2, clock=clock)
    look = asked._look

    async def look_long() -> Any:
        answer = await look()
        clock.now += 60.0
        return answer

    monkeypatch.setattr(asked, "_look", look_long)
    dcmanager.spec.faults["subclouds"] = Fault(kind=FaultKind.UNAVAILABLE)
    for _ in range(3):
        with pytest.raises(InspectionError):
            await asked.read_async()

    # The error counts as passing, so it is asked a second time.
    assert 2 == dcmanager.spec.requests["subclouds"]


async def test_one_that_hangs_is_not_waited_for_anew(
    asker: Asker, dcmanager: ServedSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a question hangs, as a look-up of names may, those who come after its time are told at once."""
    asked = operations_of(asker, dcmanager, longest_s=0.5)
    is_over = threading.Event()

    async def look() -> DcmanagerSubclouds:
        # Not ended by a cancellation: so is what runs in a thread of the event loop.
        is_over.wait(PATIENCE_S)
        return DcmanagerSubclouds(count=0, operations={})

    monkeypatch.setattr(asked, "_look", look)
    try:
        began = monotonic()
        for _ in range(10):
            with pytest.raises(InspectionError, match=r"not answered within 0\.5 s"):
                await asked.read_async()
            with pytest.raises(InspectionError, match=r"not answered within 0\.5 s"):
                await asyncio.to_thread(asked.read)
        assert monotonic() - began < 5
    finally:
        is_over.set()


async def test_a_machine_without_threads(asker: Asker, dcmanager: ServedSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that starts no thread is told in a sentence, by either way of asking, and it is tried again."""

    def refuse(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    asked = operations_of(asker, dcmanager)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        asked.ask()
        with pytest.raises(InspectionError, match="starts no more threads"):
            asked.read()
        with pytest.raises(InspectionError, match="starts no more threads"):
            await asked.read_async()

    assert 2 == (await asked.read_async()).count


async def test_one_who_is_cancelled_ends_it_for_nobody(asker: Asker, dcmanager: ServedSite) -> None:
    """A precheck that is stopped while it waits leaves the question to the others."""
    asked = operations_of(asker, dcmanager)
    stopped, waiting = asyncio.create_task(asked.read_async()), asyncio.create_task(asked.read_async())
    await asyncio.sleep(0)
    stopped.cancel()

    assert 2 == (await waiting).count
    assert stopped.cancelled()


@pytest.mark.parametrize(
    ("broken", "cause"),
    [
        ({"faults": {"login": Fault(kind=FaultKind.UNAUTHORIZED)}}, "Keystone refused the login of dcmanager (401)."),
        ({"faults": {"subclouds": Fault(kind=FaultKind.FORBIDDEN)}}, "GET /subclouds/ was answered with 403."),
        ({"faults": {"subclouds": Fault(kind=FaultKind.UNAVAILABLE)}}, "GET /subclouds/ was answered with 503."),
        ({"faults": {"subclouds": Fault(kind=FaultKind.NOT_FOUND)}}, "GET /subclouds/ was answered with 404."),
        ({"faults": {"subclouds": Fault(kind=FaultKind.NOT_JSON)}}, "GET /subclouds/ was not answered with JSON."),
        ({"subclouds": [{"name": "a"}, {"name": "a"}]}, "Its list subclouds has 'a' twice."),
        ({"subclouds": None}, "It gave no list subclouds: it does not answer as dcmanager does."),
    ],
    ids=["login", "role", "proxy", "path", "page", "twice", "null"],
)
async def test_what_cannot_be_told_is_one_sentence(
    asker: Asker, dcmanager: ServedSite, broken: dict[str, Any], cause: str
) -> None:
    """Whatever is not a list of subclouds is told in one sentence with its cause, and is never an empty list."""
    for name, value in broken.items():
        setattr(dcmanager.spec, name, value)

    with pytest.raises(InspectionError) as caught:
        await operations_of(asker, dcmanager).read_async()

    assert cause == str(caught.value)


async def test_a_silent_dcmanager_is_waited_for_shortly(asker: Asker, dcmanager: ServedSite) -> None:
    """Whoever waits is told in time that dcmanager is silent, by either way of asking."""
    dcmanager.spec.faults[EVERYTHING] = Fault(kind=FaultKind.SLOW, delay_s=60)
    asked = operations_of(asker, dcmanager, longest_s=0.3)
    began = monotonic()

    with pytest.raises(InspectionError, match=r"not answered within 0\.3 s"):
        await asked.read_async()
    with pytest.raises(InspectionError, match=r"not answered within 0\.3 s"):
        await asyncio.to_thread(asked.read)
    assert monotonic() - began < 30


async def test_a_huge_list_is_not_taken_in(
    asker: Asker, dcmanager: ServedSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that is longer than any of dcmanager's ends where the bound is."""
    monkeypatch.setattr(module, "LONGEST_LIST", 10_000)
    dcmanager.spec.subclouds = [{"name": f"edge-{number}"} for number in range(1000)]

    with pytest.raises(InspectionError, match=r"GET /subclouds/ gave more than 10000 bytes\."):
        await operations_of(asker, dcmanager).read_async()


async def test_a_list_as_long_as_real_ones(asker: Asker, dcmanager: ServedSite) -> None:
    """The list of many subclouds with install values is taken, though it is longer than any answer of a site."""
    dcmanager.spec.subclouds = [{"name": f"edge-{number}", "data_install": "x" * 6000} for number in range(1000)]

    assert 1000 == (await operations_of(asker, dcmanager).read_async()).count


async def test_address_is_of_the_controller(asker: Asker, dcmanager: ServedSite) -> None:
    """The path is that of the API's version; a service without one is no dcmanager."""
    asked = DcmanagerOperations(asker.access, address_of(dcmanager))

    with pytest.raises(InspectionError, match=r"GET /subclouds/ was answered with 404\."):
        await asked.read_async()
