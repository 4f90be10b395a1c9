"""The service as its user runs it, with PRESTAGER_AUTH=keystone, and the doctor beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import thread_time
from typing import Any

import pytest

from cli.doctor.controller_checks import keystone_findings
from cli.doctor.finding import Level
from service.settings import Settings
from tests.integration.keystone.keystone_api import KeystoneApi
from tests.support.dcmanager_client import DcmanagerClient
from tests.support.keystone_server import KeystoneServer
from tests.support.service_process import ServiceProcess


def account(keystone: KeystoneServer, **changes: Any) -> dict[str, Any]:
    """Return the settings of the service user."""
    return {
        "auth": "keystone",
        "keystone_auth_url": keystone.url,
        "keystone_username": keystone.service_user,
        "keystone_project": "services",
        "keystone_password": keystone.password,
        **changes,
    }


@pytest.fixture
def service(keystone: KeystoneServer, tmp_path: Path) -> Iterator[ServiceProcess]:
    """A service whose password is in a file, and which logs all there is to log."""
    file = tmp_path / "keystone.password"
    file.write_text(f"{keystone.password}\n")
    settings = account(keystone, keystone_password_file=file, log_level="debug", preload="false")
    del settings["keystone_password"]
    service = ServiceProcess(tmp_path, **{name.upper(): value for name, value in settings.items()})
    service.start()
    yield service
    service.kill()


def test_service(service: ServiceProcess, keystone: KeystoneServer) -> None:
    """The client finds the service in the catalogue; readiness shows Keystone; no secret is logged."""
    endpoint = keystone.add_endpoint("dcmanager", f"http://127.0.0.1:{service.port}/v1.0")
    try:
        groups = DcmanagerClient(keystone.url, "reader", keystone.password).group_list()
    finally:
        keystone.remove_endpoint(endpoint)
    token = keystone.token("nobody")
    service.token = token

    assert ["Default"] == [group["name"] for group in groups]
    assert 403 == service.get("/v1.0/subcloud-groups")[0]
    assert "ok" == service.get("/readyz")[1]["checks"]["keystone"]
    log = service.log.read_text()
    assert "reader (" in log
    assert "gAAAA" not in log
    assert keystone.password not in log
    # There is no token to be made for anybody.
    assert "service.no-token" not in log


@pytest.mark.parametrize(
    ("changes", "level", "text"),
    [
        ({}, Level.OK, "tells prestager about tokens."),
        ({"keystone_password": "wrong"}, Level.FAIL, "Keystone refuses the service user. Check"),
        ({"keystone_username": "reader", "keystone_project": "admin"}, Level.WARN, "has neither the role admin"),
        ({"keystone_auth_url": "http://127.0.0.1:1/v3"}, Level.FAIL, "Keystone does not answer. Check"),
        ({"auth": "token"}, Level.OK, "are known by the tokens of this installation"),
    ],
)
def test_doctor(keystone: KeystoneServer, changes: dict[str, str], level: Level, text: str) -> None:
    """The doctor says whether Keystone tells us about tokens, and what to look at if not."""
    (found,) = keystone_findings(Settings(release="23.09", **account(keystone, **changes)))

    assert level == found.level
    assert text in found.text
    assert keystone.password not in found.text


async def test_remembered_callers_cost_nothing(api: KeystoneApi, keystone: KeystoneServer) -> None:
    """A caller who is remembered costs less than a millisecond; in practice a hundredth of that."""
    token = keystone.token("admin")
    await api.authenticator.authenticate(token)
    asked, started = len(keystone.seen()), thread_time()

    for _ in range(1000):
        await api.authenticator.authenticate(token)

    assert thread_time() - started < 1.0
    assert asked == len(keystone.seen())
