"""Fixtures of the tests that ask simulated sites over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sysinv_asking import Asker

from fleet.site_spec import SiteSpec
from fleet.sites_api import ServedSite, serve_sites


@pytest.fixture
async def site() -> AsyncIterator[ServedSite]:
    """A site that is well."""
    async with serve_sites([SiteSpec(name="edge-1")]) as sites:
        yield sites["edge-1"]


@pytest.fixture
def asker() -> Asker:
    """What asks sites without long pauses."""
    return Asker()
