from __future__ import annotations

import asyncio
import zlib

import pytest
from structlog.testing import capture_logs

from api.context import RequestLimits
from messages.dcmanager import SUBCLOUD_FIELDS
from tests.support.served_api import ServedApi, multipart

PATH = "/v1.0/sw-update-strategy"


@pytest.fixture
def limits() -> RequestLimits:
    """Small limits."""
    return RequestLimits(json_bytes=30_000, multipart_bytes=60_000, yaml_bytes=1000, part_count=5, body_s=0.3)


def chunked(body: bytes) -> bytes:
    """Return a body in one chunk, its end left out."""
    return f"{len(body):x}\r\n".encode() + body + b"\r\n"


async def test_largest_body(api: ServedApi) -> None:
    """A body of the largest size is read."""
    body = b'{"type": "' + b"x" * (30_000 - 12) + b'"}'

    assert len(body) == 30_000
    assert (await api.send("POST", PATH, body)).status == 200


async def test_announced_too_large(api: ServedApi) -> None:
    """A body that says itself that it is too large is refused unread."""
    reply = await api.send("POST", PATH, b"", headers={"Content-Length": "30001"})

    assert reply.status == 413
    assert reply.json == {
        "code": 413,
        "title": "Request Entity Too Large",
        "description": "The limit is 30000 bytes.",
    }


@pytest.mark.parametrize("compressed", [False, True])
async def test_found_too_large(api: ServedApi, compressed: bool) -> None:
    """A body that says nothing of its size, or grows on unpacking, is refused once it is too large."""
    body = b" " * 100_000
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {api.token('admin')}\r\nTransfer-Encoding: chunked\r\n"
    if compressed:
        head += "Content-Encoding: deflate\r\n"
        body = zlib.compress(body)

    reply = await api.send_raw(f"{head}\r\n".encode() + chunked(body) + b"0\r\n\r\n")

    assert reply.status == 413
    assert api.transport.commands == []


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([("name", "s"), ("region_name", "x" * 59_000)], 200),
        ([("name", "s"), ("a", "x" * 61_000)], 413),
        ([("a", "f", b"x" * 31_000), ("b", "f", b"x" * 31_000)], 413),
        ([("bootstrap_values", "f", b"a: " + b"x" * 990)], 200),
        ([("bootstrap_values", "f", b"a: " + b"x" * 1000)], 413),
        ([("name", "s"), *((name, "x") for name in sorted(SUBCLOUD_FIELDS)[-4:])], 200),
        ([("name", "s"), *((name, "x") for name in sorted(SUBCLOUD_FIELDS)[-5:])], 400),
    ],
)
@pytest.mark.parametrize("announced", [True, False])
async def test_forms(api: ServedApi, parts: list[tuple[str, str]], status: int, announced: bool) -> None:
    """A form is bounded as a whole, in its YAML file, and in its number of parts."""
    body, headers = multipart(*parts)
    if announced:
        reply = await api.send("POST", "/v1.0/subclouds", body, headers=headers)
    else:
        head = (
            f"POST /v1.0/subclouds HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {api.token('admin')}\r\n"
            f"Transfer-Encoding: chunked\r\nContent-Type: {headers['Content-Type']}\r\n\r\n"
        )
        reply = await api.send_raw(head.encode() + chunked(body) + b"0\r\n\r\n")

    assert reply.status == status
    assert len(api.transport.commands) == (1 if status == 200 else 0)


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data; boundary=b"])
async def test_slow_body(api: ServedApi, content_type: str) -> None:
    """A body that does not come is given up, and so is its connection."""
    headers = {"Content-Length": "1000", "Content-Type": content_type}

    reply = await api.send("POST", "/v1.0/subclouds", b"--b\r\n", headers=headers)

    assert reply.status == 408
    assert reply.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ("Content-Encoding: deflate\r\nContent-Length: 9", b"not zlib!"),
        ("Transfer-Encoding: chunked", b"zz\r\n"),
    ],
)
async def test_broken_transfer(api: ServedApi, headers: str, body: bytes) -> None:
    """A body that cannot be unpacked or breaks off is malformed."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {api.token('admin')}\r\n{headers}\r\n\r\n"

    assert (await api.send_raw(head.encode() + body)).status == 400
    assert api.transport.commands == []


async def test_caller_leaves(api: ServedApi) -> None:
    """A caller who leaves in the middle of a body changes nothing, is no failure, and the next one is served."""
    token = api.token("admin")
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {token}\r\nContent-Length: 100\r\n\r\n"
    with capture_logs() as logs:
        _, writer = await asyncio.open_connection(api.host, api.port)
        writer.write(head.encode() + b'{"type"')
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        assert (await api.send("GET", "/v1.0/subclouds")).status == 200

    assert api.transport.commands == []
    assert {entry["log_level"] for entry in logs} == {"info"}
