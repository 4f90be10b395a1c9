"""Bodies that add or change a subcloud: forms, files and JSON."""

from __future__ import annotations

from typing import Any

import pytest

from db.schema import subclouds
from messages.commands import CommandType
from tests.support import api_rows
from tests.support.served_api import ServedApi, multipart

BASE = "/v1.0/subclouds"
FORM = {"Content-Type": "multipart/form-data; boundary=b"}
YAML = b"name: subcloud1\nsystem_mode: simplex\nlocation: no\nsoftware_version: 22.10\ndns_servers: [8.8.8.8]\n"


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
