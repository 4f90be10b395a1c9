"""dcmanager's list over a real Keystone, from another Prestager, which serves the same list."""

from __future__ import annotations

import asyncio

import pytest

from cli.doctor.controller_checks import dcmanager_findings
from cli.doctor.finding import Level
from db.inventory import installation_id
from db.schema import subclouds
from service.settings import Settings
from sites.dcmanager import DcmanagerOperations
from sites.errors import InspectionError
from sites.sysinv.access import Access, Address, Timeouts
from sites.sysinv.auth import SiteAccount, TlsTrust, TokenCache
from statemachine.site_operations import SiteOperation
from tests.integration.keystone.keystone_api import KeystoneApi
from tests.support import api_rows
from tests.support.keystone_server import KeystoneServer


@pytest.fixture
def access(keystone: KeystoneServer) -> Access:
    """The service user's account."""
    account = SiteAccount(
        username=keystone.service_user,
        password=keystone.password,
        project="services",
        user_domain="Default",
        project_domain="Default",
    )
    return Access(account=account, trust=TlsTrust(), timeouts=Timeouts(pause_s=0.01), tokens=TokenCache())


def url_of(api: KeystoneApi) -> str:
    return f"http://{api.served.host}:{api.served.port}/v1.0"


async def test_the_list_of_another(api: KeystoneApi, keystone: KeystoneServer, access: Access) -> None:
    """With a token of Keystone the list is read, and what goes on is found in it."""
    api.served.insert(subclouds, api_rows.subcloud(1, "a"))
    api.served.insert(subclouds, api_rows.subcloud(2, "b", prestage_status="prestaging"))
    asked = DcmanagerOperations(access, Address(keystone_url=keystone.url, service_url=url_of(api)))
    found = await asked.read_async()

    assert (2, {"b": SiteOperation(key="prestage-status", status="prestaging")}) == (found.count, found.operations)


async def test_one_that_asks_itself(api: KeystoneApi, keystone: KeystoneServer, access: Access) -> None:
    """An installation whose URL leads to itself, by whatever way, is told so with the remedy."""
    with api.served.database.read() as connection:
        own = installation_id(connection)
    address = Address(keystone_url=keystone.url, service_url=url_of(api))

    with pytest.raises(InspectionError, match="leads to this Prestager itself: set it to dcmanager's own address"):
        await DcmanagerOperations(access, address, installation=own).read_async()


async def test_doctor_finds_itself(api: KeystoneApi, keystone: KeystoneServer) -> None:
    """Doctor fails where the URL leads to the installation that it looks at."""
    settings = Settings(
        database_url=api.served.database.url.render_as_string(hide_password=False),
        dcmanager_url=url_of(api),
        controller_keystone_url=keystone.url,
        controller_username=keystone.service_user,
        controller_password=keystone.password,
    )
    (found,) = await asyncio.to_thread(lambda: list(dcmanager_findings(settings)))

    assert Level.FAIL is found.level
    assert found.text.startswith("PRESTAGER_DCMANAGER_URL leads to this Prestager itself")
