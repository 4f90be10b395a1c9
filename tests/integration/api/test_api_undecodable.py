"""Bodies that cannot be decoded: refused by the handler that reads them, ignored by others, and no fault of ours."""

from __future__ import annotations

import asyncio
import gc
import gzip
import logging
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import pytest
from structlog.testing import capture_logs

from tests.support.served_api import ServedApi
from tests.support.waiting import PATIENCE_S

PATH = "/v1.0/sw-update-strategy"
GOOD = b'{"type": "prestage"}'
FORM = "Content-Type: multipart/form-data; boundary=b\r\n"


def encoded(coding: str, body: bytes) -> tuple[str, bytes]:
    """Return headers and body as they come with a Content-Encoding."""
    return f"Content-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n", body


def plain(body: bytes, headers: str = "") -> tuple[str, bytes]:
    """Return headers and body as they come."""
    return f"{headers}Content-Length: {len(body)}\r\n", body


def chunked(body: bytes) -> tuple[str, bytes]:
    """Return headers and body of what says that it comes in chunks."""
    return "Transfer-Encoding: chunked\r\n", body


BODIES = {
    "gzip that is none": encoded("gzip", b"no gzip at all"),
    "gzip cut off": encoded("gzip", gzip.compress(GOOD * 100)[:-12]),
    "gzip with a wrong checksum": encoded("gzip", gzip.compress(GOOD)[:-8] + b"\0" * 8),
    "gzip with rubbish behind": encoded("gzip", gzip.compress(GOOD) + b"rubbish"),
    "deflate that is none": encoded("deflate", b"not zlib!"),
    "deflate with a wrong checksum": encoded("deflate", zlib.compress(GOOD)[:-4] + b"\0\0\0\0"),
    "deflate cut off": encoded("deflate", zlib.compress(GOOD * 100)[:-8]),
    "br": encoded("br", b"\x0b\x02\x80\xff\xff"),
    "zstd": encoded("zstd", b"\x28\xb5\x2f\xfd\xff\xff\xff"),
    "a coding of nobody": encoded("rot13", b"\xff\xfe"),
    "two codings": encoded("gzip, deflate", gzip.compress(zlib.compress(GOOD))),
    "deflate in a bad chunk": ("Content-Encoding: deflate\r\nTransfer-Encoding: chunked\r\n", b"zz\r\n"),
    "no chunk size": chunked(b"zz\r\n"),
    "negative chunk size": chunked(b"-1\r\n"),
    "endless chunk size": chunked(b"f" * 40 + b"\r\n"),
    "chunk without its end": chunked(b"2\r\n{}XX0\r\n\r\n"),
    "bad trailer": chunked(b"2\r\n{}\r\n0\r\n\x01: \x02\r\n\r\n"),
    "no UTF-8": plain(b'{"type": "\xff\xfe"}'),
    "UTF-16": plain('{"type": "prestage"}'.encode("utf-16")),
    "a charset of nobody": plain(b"\xff", "Content-Type: application/json; charset=nobody\r\n"),
    "a charset that is no text": plain(b"\xff", "Content-Type: application/json; charset=hex\r\n"),
    "deep": plain(b'{"a":' * 100_000),
    "deep lists": plain(b"[" * 500_000),
    "NUL": plain(b'{"type": "a\\u0000b"}'),
    "raw NUL": plain(b'{"type": "a\0b"}'),
    "lone surrogate": plain(b'{"type": "\\ud800"}'),
    "surrogate in a key": plain(b'{"\\udfff": 1}'),
    "huge number": plain(b'{"max-parallel-subclouds": ' + b"9" * 10_000 + b"}"),
    "huge float": plain(b'{"max-parallel-subclouds": 1e999999}'),
    "no number": plain(b'{"a": NaN, "b": -Infinity}'),
    "form without its end": plain(b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx", FORM),
    "form in gzip that is none": encoded("gzip", b"no gzip at all")[:1]
    and (
        FORM + encoded("gzip", b"no gzip at all")[0],
        b"no gzip at all",
    ),
    "form without a boundary": plain(b"--b--", "Content-Type: multipart/form-data\r\n"),
    "form with another boundary": plain(b"--c\r\n\r\nx\r\n--c--\r\n", FORM),
    "form whose part is in base64 that is none": plain(
        b"--b\r\nContent-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64\r\n\r\n*\r\n--b--\r\n",
        FORM,
    ),
    "form whose part is in a coding of nobody": plain(
        b"--b\r\nContent-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: x\r\n\r\n*\r\n--b--\r\n", FORM
    ),
    "form whose part is in deflate that is none": plain(
        b"--b\r\nContent-Disposition: form-data; name=a\r\nContent-Encoding: deflate\r\n\r\nx!\r\n--b--\r\n", FORM
    ),
    "form whose part has a charset of nobody": plain(
        b"--b\r\nContent-Disposition: form-data; name=a\r\nContent-Type: text/plain; charset=x\r\n\r\nx\r\n--b--\r\n",
        FORM,
    ),
    "form whose part is no UTF-8": plain(
        b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n\xff\xfe\r\n--b--\r\n", FORM
    ),
    "YAML of a form with NUL": plain(
        b'--b\r\nContent-Disposition: form-data; name=bootstrap_values; filename=f\r\n\r\na: "\\0"\r\n--b--\r\n', FORM
    ),
}


@pytest.fixture
def nothing_is_wrong(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """See to it that no log of any library holds a traceback or an error, and nothing goes to the terminal."""
    caplog.set_level(logging.DEBUG)
    # What is there already need not be searched for what the test leaves: half a second each time.
    gc.freeze()
    with capture_logs() as ours:
        yield
    # An exception that nobody fetched is logged when it is thrown away.
    gc.collect()
    gc.unfreeze()
    records = caplog.get_records("call")
    assert [] == [one for one in ours if one["log_level"] not in {"debug", "info"}]
    assert [] == [record.getMessage() for record in records if record.levelno >= logging.WARNING or record.exc_info]
    for text in capfd.readouterr():
        assert "Traceback" not in text


@dataclass
class Conversation:
    """One request on a connection of its own: the head is sent first, the body when the test says so."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    body: bytes

    @classmethod
    async def begin(cls, api: ServedApi, line: str, kind: str, token: str) -> Self:
        """Connect, and send nothing but the head."""
        headers, body = BODIES[kind]
        reader, writer = await asyncio.open_connection(api.host, api.port)
        head = f"{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Auth-Token: {token}\r\n{headers}\r\n"
        writer.write(head.encode())
        return cls(reader, writer, body)

    async def end(self, *, stays: bool = False) -> int:
        """Send the body, wait until the connection is over, and return the status of the answer.

        One who does not stay hangs up with the answer; the server waits some seconds for the rest of a body.
        """
        self.writer.write(self.body)
        status = int((await asyncio.wait_for(self.reader.readline(), PATIENCE_S)).split()[1])
        with suppress(OSError):
            if not stays:
                self.writer.write_eof()
            await asyncio.wait_for(self.reader.read(), PATIENCE_S)
        self.writer.close()
        return status


async def answers(api: ServedApi, lines: Sequence[str], kind: str, token: str) -> list[int]:
    """Send a body with each request line, with the head and when it is being handled or answered; return statuses."""
    seen = api.requests
    late = [await Conversation.begin(api, line, kind, token) for line in lines]
    await api.await_requests(seen + len(lines))
    at_once = [await Conversation.begin(api, line, kind, token) for line in lines]
    return await asyncio.gather(*(one.end() for one in (*at_once, *late)))


def is_refused(kind: str, status: int) -> bool:
    """Tell whether a status is one of the caller's faults; a coding that nobody knows is none at all."""
    return 400 <= status < 500 or (kind == "a coding of nobody" and status == 200)


@pytest.mark.usefixtures("nothing_is_wrong")
@pytest.mark.parametrize("kind", BODIES)
async def test_refused(api: ServedApi, kind: str) -> None:
    """What cannot be decoded is the caller's fault: 4xx, nothing is sent on, and the log holds no traceback."""
    found = await answers(api, [f"POST {PATH}", "POST /v1.0/subclouds"], kind, api.token("admin"))

    assert all(is_refused(kind, status) for status in found), found
    assert [] == api.transport.commands


@pytest.mark.usefixtures("nothing_is_wrong")
@pytest.mark.parametrize("kind", BODIES)
async def test_not_looked_at(api: ServedApi, kind: str) -> None:
    """A body that nobody reads, of a stranger or of a GET, changes nothing of the answer, and logs no traceback."""
    asked = {f"POST {PATH}": 401, "GET /livez": 200, "POST /livez": 405}
    found = await answers(api, list(asked), kind, "prst_x")

    assert all(status in {400, usual} for status, usual in zip(found, [*asked.values()] * 2, strict=True)), found
    assert [] == api.transport.commands


@pytest.mark.usefixtures("nothing_is_wrong")
async def test_a_caller_who_stays(api: ServedApi) -> None:
    """The end that the server makes by itself, some seconds after such a body, is as quiet."""
    kinds = ("no chunk size", "deflate in a bad chunk", "deflate cut off")
    begun = [await Conversation.begin(api, f"POST {PATH}", kind, api.token("admin")) for kind in kinds]
    await api.await_requests(len(kinds))

    found = await asyncio.gather(*(one.end(stays=True) for one in begun))

    assert all(400 <= status < 500 for status in found), found
