"""Connections of strangers: bounded in number, by address, and in how long they may take to say and hear something."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import suppress
from time import monotonic

import pytest
from structlog.testing import capture_logs

from api.connections import ConnectionBounds, ConnectionCounts
from api.errors import TooManyConnectionsError
from db.schema import events
from tests.support import api_rows
from tests.support.served_api import ServedApi
from tests.support.waiting import PATIENCE_S

DEADLINE_S = PATIENCE_S
HEAD_S = 0.4
ALIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
def bounds() -> ConnectionBounds:
    """Few connections and short times."""
    return ConnectionBounds(total=6, per_address=4, head_s=HEAD_S, write_s=0.3)


async def connect(api: ServedApi, source: str = "127.0.0.1") -> Streams:
    """Connect from an address."""
    return await asyncio.open_connection(api.host, api.port, local_addr=(source, 0))


async def read_head(reader: asyncio.StreamReader) -> int:
    """Read the head of an answer and its body, and return the status."""
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE_S)).decode().lower()
    length = next(int(line.partition(":")[2]) for line in head.split("\r\n") if line.startswith("content-length"))
    await reader.readexactly(length)
    return int(head.split()[1])


async def drip(writer: asyncio.StreamWriter, content: bytes) -> None:
    """Send one byte after the other, each well within the time that a head may take."""
    with suppress(ConnectionError):
        for place in range(len(content)):
            writer.write(content[place : place + 1])
            await writer.drain()
            await asyncio.sleep(HEAD_S / 8)


async def all_that_comes(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the connection ends."""
    found = b""
    async with asyncio.timeout(DEADLINE_S):
        with suppress(ConnectionError):
            while content := await reader.read(65536):
                found += content
    return found


async def await_connections(api: ServedApi, count: int) -> None:
    """Wait until the server has so many connections."""
    end = monotonic() + DEADLINE_S
    while api.connections != count:
        assert monotonic() < end, api.connections
        await asyncio.sleep(0.01)


async def test_nothing_is_said(api: ServedApi) -> None:
    """A connection on which nothing comes ends within the time of a head, without an answer."""
    reader, writer = await connect(api)

    assert b"" == await all_that_comes(reader)
    await await_connections(api, 0)
    writer.close()


@pytest.mark.parametrize("head", [ALIVE[:-2] + b"X: " + b"y" * 1000, b"\r\n" * 500, b"GET /" + b"x" * 1000])
async def test_a_dripping_head(api: ServedApi, head: bytes) -> None:
    """A head that comes byte by byte is given up after its time, however lively the drip is."""
    reader, writer = await connect(api)
    began = monotonic()
    dripping = asyncio.create_task(drip(writer, head))
    answer = await all_that_comes(reader)

    assert HEAD_S * 0.8 < monotonic() - began < HEAD_S * len(head) / 16
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1:2] == [b"408"]
    assert json.loads(body)["description"] == "The head of the request did not come in time."
    await await_connections(api, 0)
    dripping.cancel()
    writer.close()


async def test_a_dripping_second_head(api: ServedApi) -> None:
    """A connection may idle between requests; from the first byte of the next one on its head has its time."""
    idle_reader, idle_writer = await connect(api)
    idle_writer.write(ALIVE)
    assert 200 == await read_head(idle_reader)
    reader, writer = await connect(api)
    writer.write(ALIVE)
    assert 200 == await read_head(reader)
    dripping = asyncio.create_task(drip(writer, ALIVE[:-2] + b"X: " + b"y" * 1000))

    assert (await all_that_comes(reader)).startswith(b"HTTP/1.1 408")
    idle_writer.write(ALIVE)
    assert 200 == await read_head(idle_reader)
    dripping.cancel()
    for one in (writer, idle_writer):
        one.close()


async def test_a_head_behind_a_request(api: ServedApi) -> None:
    """A head that never ends takes no answer from the request before it on the same connection."""
    may_answer = asyncio.Event()
    answer_of = api.transport.request

    async def late(command: object) -> object:
        await may_answer.wait()
        return await answer_of(command)  # type: ignore[arg-type]

    api.transport.request = late  # type: ignore[method-assign,assignment]
    body = b'{"type": "prestage"}'
    head = f"POST /v1.0/sw-update-strategy HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {api.token('admin')}\r\n"
    reader, writer = await connect(api)
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    await api.await_requests(1)
    dripping = asyncio.create_task(drip(writer, ALIVE[:-2]))
    other_reader, other_writer = await connect(api)
    # Had the same time, and is over.
    await all_that_comes(other_reader)
    may_answer.set()

    assert 200 == await read_head(reader)
    assert b"" == await all_that_comes(reader)
    dripping.cancel()
    for one in (writer, other_writer):
        one.close()


@pytest.mark.parametrize("authenticated", [True, False])
async def test_a_dripping_body(api: ServedApi, authenticated: bool) -> None:
    """A body that comes byte by byte is given up, whether or not somebody reads it."""
    token = api.token("admin") if authenticated else "prst_x"
    reader, writer = await connect(api)
    head = (
        f"POST /v1.0/sw-update-strategy HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {token}\r\nContent-Length: 100000\r\n\r\n"
    )
    writer.write(head.encode())
    dripping = asyncio.create_task(drip(writer, b"{" * 100_000))

    assert (408 if authenticated else 401) == await read_head(reader)
    assert b"" == await all_that_comes(reader)
    await await_connections(api, 0)
    dripping.cancel()
    writer.close()


async def test_nobody_hears_the_answer(api: ServedApi) -> None:
    """A caller who takes nothing in is let go; what waits for it does not wait for ever."""
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.setblocking(False)
        await asyncio.get_running_loop().sock_connect(deaf, (api.host, api.port))
        request = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
        sending = asyncio.create_task(asyncio.get_running_loop().sock_sendall(deaf, request * 200))
        await api.await_requests(2)
        await await_connections(api, 0)
        with suppress(ConnectionError):
            await sending


async def test_one_address_has_its_part(api: ServedApi) -> None:
    """Connections of one address beyond its number are refused; others are served, and a free place is given."""
    held = [await connect(api) for _ in range(4)]
    for reader, writer in held:
        writer.write(ALIVE)
        assert 200 == await read_head(reader)
    with capture_logs() as logs:
        reader, writer = await connect(api)
        refusal = await all_that_comes(reader)
    other_reader, other_writer = await connect(api, "127.0.0.2")
    other_writer.write(ALIVE)

    assert refusal == b"" or refusal.startswith(b"HTTP/1.1 503")
    assert [("connections.refused", 1, "one address")] == [
        (one["event"], one["count"], one["too_many_of"]) for one in logs
    ]
    assert 200 == await read_head(other_reader)
    held[0][1].close()
    await await_connections(api, 4)
    again_reader, again_writer = await connect(api)
    again_writer.write(ALIVE)
    assert 200 == await read_head(again_reader)
    for one in (writer, other_writer, again_writer, *(one for _, one in held)):
        one.close()


async def test_all_together_are_bounded(api: ServedApi) -> None:
    """However many addresses there are, there are never more connections than the bound."""
    held = [await connect(api, f"127.0.0.{number}") for number in range(1, 31)]
    assert 6 >= api.connections
    await await_connections(api, 0)
    reader, writer = await connect(api)
    writer.write(ALIVE)
    assert 200 == await read_head(reader)
    for one in (writer, *(one for _, one in held)):
        one.close()


async def test_long_answers_go_on(api: ServedApi) -> None:
    """The stream of events goes on for longer than any of the times, and counts as the one connection that it is."""
    reader, writer = await connect(api)
    writer.write(f"GET /v1.0/events HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {api.token('reader')}\r\n\r\n".encode())
    await asyncio.wait_for(reader.readuntil(b"event: snapshot"), DEADLINE_S)
    for _ in range(2):
        # Ends when the time of a head is over.
        other_reader, other_writer = await connect(api)
        await all_that_comes(other_reader)
        other_writer.close()
    happened = {"type": "subcloud.online", "subject": "subcloud/far", "data": {}, "at": api_rows.CREATED}
    api.insert(events, {**happened, "published": False})

    await asyncio.wait_for(reader.readuntil(b"subcloud/far"), DEADLINE_S)
    writer.close()


def test_of_whom_a_connection_is() -> None:
    """IPv4 addresses count one by one however they are written; of IPv6 a whole /64 network counts as one."""
    counts = ConnectionCounts(ConnectionBounds(total=100, per_address=1))
    of_one = counts.admit("10.0.0.1")
    counts.admit("2001:db8:1:1::1")
    counts.admit("2001:db8:1:2::1")
    counts.admit("fe80::1%eth0")

    for address in ("10.0.0.1", "::ffff:10.0.0.1", "2001:db8:1:1:ffff::2", "fe80::2%eth1"):
        with pytest.raises(TooManyConnectionsError):
            counts.admit(address)
    of_one()
    of_one()
    counts.admit("::ffff:10.0.0.1")
    with pytest.raises(TooManyConnectionsError):
        counts.admit("10.0.0.1")
