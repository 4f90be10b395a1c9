"""Answers that go on, from a server of the standard library on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from client.errors import UnreachableError
from client.http_request import HttpAnswer, open_stream, send_request

LINES = b"one\ntwo\n"


class Handler(BaseHTTPRequestHandler):
    """Gives two lines; below `/short`, of an answer that it says is longer."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(LINES) + (100 if self.path == "/short" else 0)))
        self.end_headers()
        self.wfile.write(LINES)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name in the library
        """Log nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    """Address of the server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_lines_of_a_stream(url: str) -> None:
    """A stream gives its lines, and ends where the service ends it."""
    with open_stream(f"{url}/", {}, silence_s=60, ca_file=None) as lines:
        assert list(lines) == [b"one\n", b"two\n"]  # type: ignore[arg-type]


def fail_at(lines: HttpAnswer | Iterator[bytes], error: type[OSError]) -> None:
    """Take a line, and fail as a write to a closed pipe does."""
    assert not isinstance(lines, HttpAnswer)
    assert next(lines) == b"one\n"
    raise error


@pytest.mark.parametrize("error", [BrokenPipeError, ConnectionResetError, TimeoutError, FileNotFoundError])
def test_an_error_of_the_caller_is_none_of_the_connection(url: str, error: type[OSError]) -> None:
    """What fails in the block of a stream, such as a write to a closed standard output, is told as it is."""
    with pytest.raises(error), open_stream(f"{url}/", {}, silence_s=60, ca_file=None) as lines:
        fail_at(lines, error)


def test_an_answer_that_breaks_off(url: str) -> None:
    """An answer that ends before its length is reached is an API that is not reachable."""
    with pytest.raises(UnreachableError, match="ended the connection"):
        send_request("GET", f"{url}/short", {}, None, ca_file=None)


def test_nobody_there() -> None:
    """An address at which nothing listens is an API that is not reachable, for streams too."""
    with (
        pytest.raises(UnreachableError, match="does not answer"),
        open_stream("http://127.0.0.1:9/", {}, silence_s=60, ca_file=None),
    ):
        pytest.fail("there is no answer")
