from __future__ import annotations

from typing import Any

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
from tests.support.served_api import ServedApi, multipart

BASE = "/v1.0/subclouds"
# What the client's constructor cannot do without (contract 4.1).
REQUIRED = {
    "id", "name", "description", "location", "software-version", "management-state", "availability-status",
    "deploy-status", "management-subnet", "management-start-ip", "management-end-ip", "management-gateway-ip",
    "systemcontroller-gateway-ip", "created-at", "updated-at", "group_id",
}  # fmt: skip
YAML = b"name: subcloud1\nsystem_mode: simplex\nlocation: no\nsoftware_version: 22.10\ndns_servers: [8.8.8.8]\n"


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


async def test_add_by_form(api: ServedApi) -> None:
    """The bootstrap values and the texts of the form become one flat mapping; the form wins; no other file is used."""
    body, headers = multipart(
        ("bootstrap_values", "f.yml", YAML),
        ("deploy_config", "d.yml", b"\xff: ["),
        ("bootstrap-address", "10.10.10.12"),
        ("sysadmin_password", "TGk2OW51eCo="),
        ("location", "attic"),
        ("group_id", "Default"),
    )

    reply = await api.send("POST", f"{BASE}/", body, headers=headers)

    assert reply.status == 200
    assert reply.json["info_message"] == "Prestager does not use, and did not keep: deploy_config, sysadmin_password.\n"
    command = api.transport.only
    assert command.type == CommandType.SUBCLOUD_ADD
    assert command.subject is None
    assert command.data == {
        "name": "subcloud1",
        "system_mode": "simplex",
        "location": "attic",
        "software_version": "22.10",
        "bootstrap-address": "10.10.10.12",
        "group_id": "Default",
    }
    assert (command.sealed_password, command.password_fault) == (None, None)


async def test_add_by_json(api: ServedApi) -> None:
    """The same fields come as plain JSON; nested values are not used, but for the connection."""
    connection = {"ansible_port": 2222, "ansible_connection": "local"}

    fields = {"name": "a", "availability-status": "online", "connection": connection}

    await api.send("POST", BASE, {**fields, "install_values": {"y": 1}, "sysadmin_password": "q"})

    assert api.transport.only.data == fields


@pytest.mark.parametrize(("method", "path"), [("POST", BASE), ("PATCH", f"{BASE}/a")])
async def test_unknown_fields(api: ServedApi, method: str, path: str) -> None:
    """A name that neither we nor dcmanager know is refused, as JSON and as a part of a form; not one in a file."""
    told = (400, "Unknown field: locaton; did you mean location?")
    api.insert(subclouds, api_rows.subcloud(1, "a"))
    body, headers = multipart(("name", "b"), ("locaton", "north"), ("bootstrap_values", "f", b"name: b\nanything: 1\n"))

    reply = await api.send(method, path, {"name": "b", "locaton": "north"})
    assert (reply.status, reply.detail) == told
    reply = await api.send(method, path, body, headers=headers)
    assert (reply.status, reply.detail) == told
    assert api.transport.commands == []


async def test_add_without_file_and_name(api: ServedApi) -> None:
    """A form without the bootstrap values, the only place of the client's for a name, is refused by their name."""
    body, headers = multipart(("bootstrap-address", "10.10.10.12"), ("sysadmin_password", "TGk2OW51eCo="))

    reply = await api.send("POST", BASE, body, headers=headers)

    assert (reply.status, reply.detail) == (400, "Missing required file for bootstrap_values")
    assert api.transport.commands == []


async def test_add_without_file_by_name(api: ServedApi) -> None:
    """A form that has a name itself needs no bootstrap values."""
    body, headers = multipart(("name", "a"), ("bootstrap-address", "10.10.10.12"))

    reply = await api.send("POST", BASE, body, headers=headers)

    assert reply.status == 200
    assert api.transport.only.data == {"name": "a", "bootstrap-address": "10.10.10.12"}


async def test_change_needs_no_file(api: ServedApi) -> None:
    """A form of changes has no bootstrap values, and is not asked for them."""
    body, headers = multipart(("location", "attic"))

    assert (await api.send("PATCH", f"{BASE}/a", body, headers=headers)).status == 200
    assert api.transport.only.data == {"location": "attic"}


async def test_add_with_bad_file(api: ServedApi) -> None:
    """A file that is no YAML is refused with the place."""
    body, headers = multipart(("bootstrap_values", "f.yml", b"name: 'a\n"))

    reply = await api.send("POST", BASE, body, headers=headers)

    assert (reply.status, reply.detail) == (400, "bootstrap_values is not valid YAML (line 2)")
    assert api.transport.commands == []


FORM = {"Content-Type": "multipart/form-data; boundary=b"}


@pytest.mark.parametrize(
    ("body", "headers", "detail"),
    [
        (b"", {}, "Body required"),
        (b"{}", {}, "Body required"),
        (b"--b--\r\n", FORM, "Body required"),
        (b"", FORM, "Request body is malformed."),
        (b"abc", {}, "Request body is malformed."),
        (b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\nabc', FORM, "Request body is malformed."),
        (b"no boundary", FORM, "Request body is malformed."),
        (b"--b--\r\n", {"Content-Type": "multipart/form-data"}, "Request body is malformed."),
        (multipart(("name", "n"), ("location", "a\0"))[0], multipart()[1], "Request body is malformed."),
    ],
)
async def test_unreadable_bodies(api: ServedApi, body: bytes, headers: dict[str, str], detail: str) -> None:
    """A body with nothing in it is refused by name, one that cannot be read by another."""
    api.insert(subclouds, api_rows.subcloud(1, "a"))

    for method, path in (("POST", BASE), ("PATCH", f"{BASE}/a")):
        reply = await api.send(method, path, body, headers=headers)
        assert (reply.status, reply.detail) == (400, detail)
    assert api.transport.commands == []


@pytest.mark.parametrize("disposition", [b'form-data; name=""', b"form-data", b"form-data; filename=f"])
async def test_part_without_a_name(api: ServedApi, disposition: bytes) -> None:
    """A part without a name is refused like any that is not known: it may be what the caller cares for."""
    part = b"--b\r\nContent-Disposition: %b\r\n\r\nx\r\n"
    body = part % b'form-data; name="description"' + part % disposition + b"--b--\r\n"
    api.insert(subclouds, api_rows.subcloud(1, "a"))

    reply = await api.send("PATCH", f"{BASE}/a", body, headers=FORM)

    assert (reply.status, reply.detail) == (400, "Unknown field: ''; GET /docs shows the fields that there are")
    assert api.transport.commands == []


@pytest.mark.parametrize(("method", "path"), [("POST", BASE), ("PATCH", f"{BASE}/a")])
async def test_file_in_the_place_of_a_text(api: ServedApi, method: str, path: str) -> None:
    """A file as a field that is a text is refused, not dropped: curl sends one where an @ is before the value."""
    api.insert(subclouds, api_rows.subcloud(1, "a"))
    body, headers = multipart(("name", "b"), ("location", "f.txt", b"attic"), ("install_values", "f", b"x"))

    reply = await api.send(method, path, body, headers=headers)

    assert (reply.status, reply.detail) == (400, "Invalid location: give a text, not a file")
    assert api.transport.commands == []


async def test_nested_form(api: ServedApi) -> None:
    """A form inside of a form is no body that anybody sends."""
    part = b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n\r\n--b--\r\n"

    assert (await api.send("POST", BASE, part, headers=FORM)).detail == "Request body is malformed."


async def test_change_by_form(api: ServedApi) -> None:
    """A change by form is its texts; files and passwords go no further, and the answer names them."""
    body, headers = multipart(
        ("description", "dépôt"), ("group_id", "Default"), ("install_values", "f", b"\xff"), ("sysadmin_password", "x")
    )

    reply = await api.send("PATCH", f"{BASE}/site.one", body, headers=headers)

    command = api.transport.only
    assert (command.type, command.subject) == (CommandType.SUBCLOUD_UPDATE, "site.one")
    assert command.data == {"description": "dépôt", "group_id": "Default"}
    assert (
        reply.json["info_message"] == "Prestager does not use, and did not keep: install_values, sysadmin_password.\n"
    )


async def test_change_of_what_is_not_used(api: ServedApi) -> None:
    """A change of nothing but what is not used is refused, and names it; an unknown subcloud comes before it."""
    api.insert(subclouds, api_rows.subcloud(1, "a"))
    body, headers = multipart(("install_values", "f", b"x"), ("bmc_password", "x"))

    reply, unknown = [await api.send("PATCH", f"{BASE}/{ref}", body, headers=headers) for ref in ("a", "b")]

    assert (reply.status, reply.detail) == (
        400,
        "nothing to update. Prestager does not use, and did not keep: bmc_password, install_values.",
    )
    assert (unknown.status, unknown.detail) == (404, "Subcloud not found")
    assert api.transport.commands == []


async def test_change_without_anything_unused(api: ServedApi) -> None:
    """An answer has no message where every field is used."""
    reply = await api.send("PATCH", f"{BASE}/a", {"location": "attic", "management_start_ip": "192.0.2.2"})

    assert "info_message" not in reply.json


async def test_connection_in_a_form(api: ServedApi) -> None:
    """A form holds the connection variables as JSON."""
    body, headers = multipart(("connection", '{"ansible_port": 22}'))

    await api.send("PATCH", f"{BASE}/a", body, headers=headers)

    assert api.transport.only.data == {"connection": {"ansible_port": 22}}


@pytest.mark.parametrize(
    ("connection", "detail"),
    [
        ({"ansible_ssh_pass": "hidden"}, "Invalid connection: ansible_ssh_pass looks like a secret"),
        ('{"ansible_become_password": "hidden"}', "Invalid connection: ansible_become_password looks like a secret"),
        ({"x": [{"token": "hidden"}]}, "Invalid connection: token looks like a secret"),
        ("ansible_password: hidden", "Invalid connection: give a JSON object of Ansible variables"),
    ],
)
async def test_secret_in_a_connection(api: ServedApi, connection: Any, detail: str) -> None:
    """A secret among the connection variables is refused, for they are kept and sent around."""
    api.insert(subclouds, api_rows.subcloud(1, "a"))

    for method, path in (("POST", BASE), ("PATCH", f"{BASE}/a")):
        reply = await api.send(method, path, {"name": "a", "connection": connection})
        assert reply.status == 400
        assert reply.detail.startswith(detail)
        assert "hidden" not in reply.text
    assert api.transport.commands == []


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
