"""Subclouds over HTTP: lists, details, and commands about one."""

from __future__ import annotations

import pytest
from sqlalchemy import event

from db.encryption import Sealer
from db.inventory import installation_id
from db.schema import subclouds
from messages.commands import Answer, CommandType
from messages.host_keys import parse_host_keys
from messages.process_info import INSTALLATION_HEADER
from sites.dcmanager import read_subclouds
from statemachine.site_operations import SiteOperation
from tests.support import api_rows
from tests.support.served_api import ServedApi

BASE = "/v1.0/subclouds"
FORM = {"Content-Type": "multipart/form-data; boundary=b"}

# What the client's constructor cannot do without (contract 4.1).
REQUIRED = {
    "id", "name", "description", "location", "software-version", "management-state", "availability-status",
    "deploy-status", "management-subnet", "management-start-ip", "management-end-ip", "management-gateway-ip",
    "systemcontroller-gateway-ip", "created-at", "updated-at", "group_id",
}  # fmt: skip


async def test_list(api: ServedApi) -> None:
    """The list has every subcloud in the order of ids, with a sync status that nobody knows."""
    api.insert(subclouds, api_rows.subcloud(2, "b"), api_rows.subcloud(1, "a"))

    for path in (BASE, f"{BASE}/"):
        found = (await api.send("GET", path, role="reader")).json["subclouds"]
        assert [subcloud["name"] for subcloud in found] == ["a", "b"]
        assert set(found[0]) >= REQUIRED
        assert (found[0]["sync_status"], found[0]["endpoint_sync_status"]) == ("unknown", [])
        assert found[0]["created-at"] == api_rows.CREATED_READ


async def test_long_list_is_one_query(api: ServedApi) -> None:
    """Thousands of subclouds take one query."""
    api.insert(subclouds, *(api_rows.subcloud(number, f"s{number}") for number in range(1, 3001)))
    api.token("admin")
    statements: list[str] = []
    event.listen(api.database._readers, "before_cursor_execute", lambda *given: statements.append(given[2]))

    reply = await api.send("GET", BASE)

    assert len(reply.json["subclouds"]) == 3000
    assert len([statement for statement in statements if "FROM subclouds" in statement]) == 1


async def test_a_prestager_that_asks_itself(api: ServedApi) -> None:
    """The list is refused (508) to the installation that it is of: it would take its own work for dcmanager's."""
    api.insert(subclouds, {**api_rows.subcloud(1, "a"), "prestage_status": "prestaging"})
    with api.database.read() as connection:
        own = installation_id(connection)

    itself = await api.send("GET", f"{BASE}/", role="reader", headers={INSTALLATION_HEADER: own})
    another = await api.send("GET", f"{BASE}/", role="reader", headers={INSTALLATION_HEADER: "another"})

    assert (508, 200) == (itself.status, another.status)
    assert {"a": SiteOperation(key="prestage-status", status="prestaging")} == read_subclouds(another.json).operations


@pytest.mark.parametrize("ref", ["site.one", "12", "0012"])
async def test_show(api: ServedApi, ref: str) -> None:
    """All digits are an id, all else is a name."""
    api.insert(subclouds, api_rows.subcloud(12, "site.one"))

    found = (await api.send("GET", f"{BASE}/{ref}")).json

    assert set(found) >= REQUIRED
    assert (found["id"], found["endpoint_sync_status"]) == (12, [])
    assert "oam_floating_ip" not in found


@pytest.mark.parametrize(("address", "shown"), [("10.10.10.12", "10.10.10.12"), (None, "unavailable")])
async def test_detail(api: ServedApi, address: str | None, shown: str) -> None:
    """The detail adds the three keys that the client cannot do without."""
    api.insert(subclouds, api_rows.subcloud(1, "a", oam_floating_ip=address, region_name="r1"))

    found = (await api.send("GET", f"{BASE}/1/detail")).json

    assert found["oam_floating_ip"] == shown
    assert found["deploy_config_sync_status"] == "unknown"
    assert found["region_name"] == "r1"


@pytest.mark.parametrize("ref", ["b", "2", "9" * 18, "9" * 400, "%C2%B2", "a%00b", "a%2Fb", "%FF", "%ED%A0%80"])
async def test_unknown(api: ServedApi, ref: str) -> None:
    """Whatever is written for a subcloud that there is not, it is not found."""
    api.insert(subclouds, api_rows.subcloud(1, "a"))

    for path in (ref, f"{ref}/detail"):
        reply = await api.send("GET", f"{BASE}/{path}")
        assert (reply.status, reply.detail) == (404, "Subcloud not found")


async def test_delete(api: ServedApi) -> None:
    """A delete answers with JSON null, as the coordinator does."""
    api.transport.answer = Answer(status=200, body=None)

    reply = await api.send("DELETE", f"{BASE}/7")

    assert (reply.status, reply.body) == (200, b"null")
    assert (api.transport.only.type, api.transport.only.subject) == (CommandType.SUBCLOUD_DELETE, "7")


async def test_prestage(api: ServedApi, sealer: Sealer) -> None:
    """A standalone prestage carries its sealed password."""
    await api.send("PATCH", f"{BASE}/a/prestage", {"sysadmin_password": "TGk2OW51eCo=", "force": True})

    command = api.transport.only
    assert (command.type, command.subject) == (CommandType.SUBCLOUD_PRESTAGE, "a")
    assert command.data == {"force": True}
    assert sealer.open(command.sealed_password or "", bound_to=command.id) == "Li69nux*"


async def test_forget_staged(api: ServedApi) -> None:
    """The release and the verdict go to the coordinator as they are."""
    body = {"release": "23.09", "verdict": "unknown"}

    assert (await api.send("POST", f"{BASE}/a/staged", body)).status == 200

    command = api.transport.only
    assert (command.type, command.subject, command.data) == (CommandType.SUBCLOUD_STAGED, "a", body)


async def test_unstage(api: ServedApi, sealer: Sealer) -> None:
    """The removal of a release carries its sealed password."""
    body = {"release": "23.09", "sysadmin_password": "TGk2OW51eCo="}

    assert (await api.send("POST", f"{BASE}/a/unstage", body)).status == 200

    command = api.transport.only
    assert (command.type, command.subject) == (CommandType.SUBCLOUD_UNSTAGE, "a")
    assert command.data == {"release": "23.09"}
    assert sealer.open(command.sealed_password or "", bound_to=command.id) == "Li69nux*"


async def test_prestage_without_a_body(api: ServedApi) -> None:
    """No body is malformed here, and an empty object lacks its password, which the coordinator says."""
    api.insert(subclouds, api_rows.subcloud(1, "a"))

    reply = await api.send("PATCH", f"{BASE}/a/prestage")
    assert (reply.status, reply.detail) == (400, "Request body is malformed.")

    await api.send("PATCH", f"{BASE}/a/prestage", b"{}")
    assert api.transport.only.password_fault == "missing"


async def test_changes_of_what_nothing_is_called(api: ServedApi) -> None:
    """A name that cannot be stored is not found before anything is sent."""
    for method, path in (("DELETE", "a%00"), ("PATCH", "a%00"), ("PATCH", "a%00/prestage")):
        reply = await api.send(method, f"{BASE}/{path}", {"name": "a"})
        assert (reply.status, reply.detail) == (404, "Subcloud not found")
    assert api.transport.commands == []


@pytest.mark.parametrize("ref", ["ghost", "2"])
@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("", b"", {}),
        ("", b"{}", {}),
        ("", b"abc", {}),
        ("", b"", FORM),
        ("", b"--b--\r\n", FORM),
        ("", b'{"connection": {"ansible_ssh_pass": "x"}}', {}),
        ("/prestage", b"", {}),
        ("/prestage", b"abc", {}),
    ],
)
async def test_unknown_comes_before_the_body(
    api: ServedApi, ref: str, path: str, body: bytes, headers: dict[str, str]
) -> None:
    """That there is no such subcloud is told before what is wrong with the body; of one that is there, the body is."""
    api.insert(subclouds, api_rows.subcloud(1, "a"))

    unknown = await api.send("PATCH", f"{BASE}/{ref}{path}", body, headers=headers)
    known = [await api.send("PATCH", f"{BASE}/{name}{path}", body, headers=headers) for name in ("a", "1")]

    assert (unknown.status, unknown.detail) == (404, "Subcloud not found")
    assert [reply.status for reply in known] == [400, 400]
    assert api.transport.commands == []


@pytest.mark.parametrize(("role", "vouched"), [("admin", True), ("configurator", None)])
async def test_who_sets_a_version(api: ServedApi, role: str, vouched: bool | None) -> None:
    """The coordinator is told whether the caller is an administrator; the command is the same without that."""
    await api.send("PATCH", f"{BASE}/edge-1", {"software-version": "23.09"}, role=role)
    command = api.transport.only

    assert vouched is command.by_administrator
    assert command.digest() == command.model_copy(update={"by_administrator": None}).digest()


async def test_detail_shows_host_keys(api: ServedApi) -> None:
    """The detail shows the fingerprint and type of each recorded SSH host key."""
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJu0YTJvPpgCLGzVQ1hSqtBMgOJVc1VRkTvAyYV4Ff1j"
    api.insert(
        subclouds, {**api_rows.subcloud(1, "a"), "host_keys": key}, {**api_rows.subcloud(2, "b"), "host_keys": None}
    )

    found = [(await api.send("GET", f"{BASE}/{ref}/detail", role="reader")).json["host_keys"] for ref in ("a", "b")]

    assert [[parse_host_keys(key)[0].description], []] == found
