"""Fixtures of the tests that ask simulated sites over real sockets."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from simulator.site_spec import SiteSpec
from simulator.sites_api import ServedSite, serve_sites
from tests.integration.sysinv.sysinv_sites import Asker


@pytest.fixture
async def site() -> AsyncIterator[ServedSite]:
    """A site that is well."""
    async with serve_sites([SiteSpec(name="edge-1")]) as sites:
        yield sites["edge-1"]


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nothing listens, kept from others until the end of the test."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def asker() -> Asker:
    """What asks sites without long pauses."""
    return Asker()
