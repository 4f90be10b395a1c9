"""The requests of dcmanager's client and of the published curl samples, byte for byte (contract 2.4, 12)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from db.encryption import Sealer
from db.schema import steps, strategies, subclouds
from tests.support import api_rows
from tests.support.served_api import ServedApi, multipart

STRATEGY = "/v1.0/sw-update-strategy"
PRESTAGE = {"type": "prestage"}
SECRET = '"sysadmin_password": "TGk2OW51eCo="'


def as_the_client(api: ServedApi, line: str, body: bytes = b"", **headers: str) -> bytes:
    """Return a request as python-requests writes it."""
    fields = {
        "Host": f"{api.host}:{api.port}",
        "User-Agent": "python-requests/2.34.2",
        "Accept-Encoding": "gzip, deflate",
        "Accept": "*/*",
        "Connection": "keep-alive",
        "x-auth-token": api.token("admin"),
        "X-Project-Id": "0b2f1d2c",
        "X-User-Id": "66a1b2c3",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    if body or not line.startswith("GET"):
        fields["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{line} HTTP/1.1\r\n{head}\r\n".encode() + body


@pytest.mark.parametrize(
    ("line", "body", "command", "subject"),
    [
        (
            f"POST {STRATEGY}/",
            f'{{"cloud_name": "subcloud1", {SECRET}, "for_install": "true", "type": "prestage"}}',
            "strategy.create",
            None,
        ),
        (
            f"POST {STRATEGY}/",
            (
                '{"subcloud-apply-type": "parallel", "max-parallel-subclouds": 50, "stop-on-failure": "true", '
                f'{SECRET}, "for_install": "true", "force": "true", "type": "prestage"}}'
            ),
            "strategy.create",
            None,
        ),
        (
            f"POST {STRATEGY}/",
            (
                f'{{"stop-on-failure": "true", "subcloud_group": "Default", {SECRET}, "release": "22.12", '
                '"for_sw_deploy": "true", "type": "prestage"}'
            ),
            "strategy.create",
            None,
        ),
        (
            "PATCH /v1.0/subclouds/subcloud1/prestage",
            f'{{{SECRET}, "for_install": "true"}}',
            "subcloud.prestage",
            "subcloud1",
        ),
        (
            "PATCH /v1.0/subclouds/subcloud1/prestage",
            f'{{"force": "true", {SECRET}, "release": "22.12", "for_sw_deploy": "true"}}',
            "subcloud.prestage",
            "subcloud1",
        ),
        (
            "POST /v1.0/subcloud-groups/",
            '{"name": "g1", "description": "group one", "update_apply_type": "serial", "max_parallel_subclouds": "3"}',
            "group.create",
            None,
        ),
        (
            "PATCH /v1.0/subcloud-groups/g1",
            '{"update_apply_type": "parallel", "max_parallel_subclouds": 7}',
            "group.update",
            "g1",
        ),
    ],
)
async def test_json_requests(
    api: ServedApi, sealer: Sealer, line: str, body: str, command: str, subject: str | None
) -> None:
    """Each JSON request becomes its command, the password sealed and the rest as written."""
    reply = await api.send_raw(as_the_client(api, line, body.encode(), Content_Type="application/json"))

    assert (reply.status, reply.json) == (200, {"done": True})
    sent = api.transport.only
    fields = json.loads(body)
    password = fields.pop("sysadmin_password", None)
    assert (sent.type, sent.subject, sent.data) == (command, subject, fields)
    assert (sent.sealed_password is not None) == (password is not None)
    if sent.sealed_password:
        assert sealer.open(sent.sealed_password, bound_to=sent.id) == "Li69nux*"


@pytest.mark.parametrize(
    ("line", "body", "command", "subject", "data"),
    [
        (f"POST {STRATEGY}/actions?type=prestage", b'{"action": "apply"}', "strategy.apply", None, PRESTAGE),
        (f"POST {STRATEGY}/actions?type=prestage", b'{"action": "abort"}', "strategy.abort", None, PRESTAGE),
        (f"DELETE {STRATEGY}?type=prestage", b"", "strategy.delete", None, PRESTAGE),
        ("DELETE /v1.0/subclouds/subcloud2", b"", "subcloud.delete", "subcloud2", {}),
        ("DELETE /v1.0/subcloud-groups/g1", b"", "group.delete", "g1", {}),
    ],
)  # fmt: skip
async def test_actions_and_deletes(
    api: ServedApi, line: str, body: bytes, command: str, subject: str | None, data: dict[str, Any]
) -> None:
    """Each action and delete becomes its command."""
    headers = {"Content_Type": "application/json"} if body else {}

    assert (await api.send_raw(as_the_client(api, line, body, **headers))).status == 200
    sent = api.transport.only
    assert (sent.type, sent.subject, sent.data) == (command, subject, data)


@pytest.mark.parametrize(
    ("line", "parts", "command", "data"),
    [
        (
            "PATCH /v1.0/subclouds/subcloud1",
            [("management-state", "managed"), ("force", "true")],
            "subcloud.update",
            {"management-state": "managed", "force": "true"},
        ),
        (
            "PATCH /v1.0/subclouds/subcloud1",
            [("management-state", "unmanaged")],
            "subcloud.update",
            {"management-state": "unmanaged"},
        ),
        (
            "PATCH /v1.0/subclouds/subcloud1",
            [("description", "d"), ("location", "l"), ("group_id", "Default")],
            "subcloud.update",
            {"description": "d", "location": "l", "group_id": "Default"},
        ),
        (
            "POST /v1.0/subclouds/",
            [
                ("bootstrap_values", "f.yml", b"name: subcloud2\nsystem_mode: simplex\n"),
                ("bootstrap-address", "10.10.10.13"),
                ("sysadmin_password", "TGk2OW51eCo="),
                ("group_id", "Default"),
            ],
            "subcloud.add",
            {"name": "subcloud2", "system_mode": "simplex", "bootstrap-address": "10.10.10.13", "group_id": "Default"},
        ),
    ],
)
async def test_form_requests(api: ServedApi, line: str, parts: list[Any], command: str, data: dict[str, str]) -> None:
    """Each form becomes its command."""
    body, headers = multipart(*parts)

    reply = await api.send_raw(as_the_client(api, line, body, Content_Type=headers["Content-Type"]))

    assert reply.status == 200
    assert (api.transport.only.type, api.transport.only.data) == (command, data)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        (f"{STRATEGY}?type=prestage", "type"),
        (f"{STRATEGY}/steps", "strategy-steps"),
        (f"{STRATEGY}/steps/subcloud1", "cloud"),
        ("/v1.0/subclouds/", "subclouds"),
        ("/v1.0/subclouds/subcloud1", "name"),
        ("/v1.0/subclouds/1/detail", "oam_floating_ip"),
        ("/v1.0/subcloud-groups/", "subcloud_groups"),
        ("/v1.0/subcloud-groups/Default", "name"),
        ("/v1.0/subcloud-groups/Default/subclouds", "subclouds"),
    ],
)
async def test_reading_requests(api: ServedApi, path: str, key: str) -> None:
    """Each read answers with 200 and JSON."""
    api.insert(subclouds, api_rows.subcloud(1, "subcloud1"))
    api.insert(strategies, api_rows.strategy(1))
    api.insert(steps, api_rows.step(1, "subcloud1", strategy_id=1))

    reply = await api.send_raw(as_the_client(api, f"GET {path}"))

    assert reply.status == 200
    assert key in reply.json


def as_curl(api: ServedApi, path: str, body: bytes) -> bytes:
    """Return a POST as curl -d writes it."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {api.host}:{api.port}\r\nUser-Agent: curl/7.64.0\r\n"
        f"Accept: */*\r\nX-Auth-Token: {api.token('admin')}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    )
    return head.encode() + body


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
async def test_continued_lines_of_curl(api: ServedApi, end: bytes) -> None:
    """The published sample keeps a backslash at the end of each line inside of its quotes, and works."""
    body = end.join(
        [
            b'{"type": "prestage", \\',
            b'"subcloud-apply-type": "parallel", \\',
            b'"max-parallel-subclouds": "50", \\',
            b'"stop-on-failure": "true", \\',
            b'"group": "Default", \\',
            b'"sysadmin_password": "TGk2OW51eCo="}',
        ]
    )

    assert (await api.send_raw(as_curl(api, STRATEGY, body))).status == 200
    assert api.transport.only.data == {
        "type": "prestage",
        "subcloud-apply-type": "parallel",
        "max-parallel-subclouds": "50",
        "stop-on-failure": "true",
        "group": "Default",
    }
    assert api.transport.only.sealed_password is not None


async def test_apply_sample_without_its_body(api: ServedApi) -> None:
    """The published apply sample sends no body and no length; the answer says what is missing."""
    request = (
        f"POST {STRATEGY}/actions HTTP/1.1\r\nHost: x\r\nUser-Agent: curl/7.64.0\r\nAccept: */*\r\n"
        f"Content-Type: application/json\r\nX-Auth-Token: {api.token('admin')}\r\n\r\n"
    )

    reply = await api.send_raw(request.encode())

    assert (reply.status, reply.detail) == (400, "Body required")


async def test_malformed_sample(api: ServedApi) -> None:
    """The published sample of malformed data is a bad request."""
    reply = await api.send_raw(as_curl(api, STRATEGY, b"abc"))

    assert (reply.status, reply.detail) == (400, "Request body is malformed.")
