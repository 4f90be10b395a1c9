"""The API on a real socket with a real database; only the coordinator is a stand-in that records."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from aiohttp import web
from sqlalchemy import Table, insert

from api.connections import ConnectionBounds
from api.server import create_listener, create_runner
from db.database import Database
from db.tokens import TokenStore
from messages.commands import Answer, Command
from tests.support.waiting import PATIENCE_S

BOUNDS = ConnectionBounds(total=1000, per_address=1000)


class RecordingTransport:
    """Keeps every command and gives the same answer to each, or raises."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.answer: Answer | Exception = Answer(status=200, body={"done": True})

    async def request(self, command: Command) -> Answer:
        self.commands.append(command)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    @property
    def only(self) -> Command:
        """The one command that was sent."""
        (command,) = self.commands
        return command


@dataclass(frozen=True)
class Reply:
    """What came back, byte for byte."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def lines(self) -> list[str]:
        """The lines of text of an HTML page as dcmanager's client reads them."""
        reader = _BodyText()
        reader.feed(self.text)
        return "".join(reader.found).strip().split("\n")

    @property
    def detail(self) -> str:
        """What is wrong, in either form of an error; of a page, the line that dcmanager's client shows."""
        if self.headers["content-type"] == "application/json":
            return str(self.json["description"])
        lines = self.lines
        return lines[2] if len(lines) > 2 else ""


class _BodyText(HTMLParser):
    """Collects the text inside of <body>."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._inside = self._inside or tag == "body"

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "body"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.found.append(data)


@dataclass
class ServedApi:
    """A running API and what a test needs around it."""

    host: str
    port: int
    database: Database
    transport: RecordingTransport
    app: web.Application
    runner: web.AppRunner
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def connections(self) -> int:
        """How many connections the server has now."""
        server = self.runner.server
        return 0 if server is None else len(server.connections)

    @property
    def requests(self) -> int:
        """How many requests have begun to be handled."""
        server = self.runner.server
        return 0 if server is None else server.requests_count

    async def await_requests(self, count: int) -> None:
        """Wait until so many requests have begun to be handled."""
        async with asyncio.timeout(10):
            while self.requests < count:  # noqa: ASYNC110 - aiohttp counts and has no signal
                await asyncio.sleep(0.001)

    def token(self, role: str) -> str:
        """Return the token of a caller with `role`, called like the role."""
        if role not in self.tokens:
            self.tokens[role] = TokenStore(self.database).create_token(role, role)
        return self.tokens[role]

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | str | Mapping[str, Any] = b"",
        *,
        role: str | None = "admin",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request as bytes; a mapping goes as JSON."""
        content = json.dumps(body) if isinstance(body, Mapping) else body
        content = content.encode() if isinstance(content, str) else content
        lines = {"Host": "testing", "Connection": "close", "Content-Length": str(len(content))}
        if role is not None:
            lines["X-Auth-Token"] = self.token(role)
        head = "".join(f"{name}: {value}\r\n" for name, value in {**lines, **(headers or {})}.items())
        return await self.send_raw(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + content)

    async def send_raw(self, request: bytes) -> Reply:
        """Write bytes to the socket and read one response."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            writer.write(request)
            head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)).decode()
            status_line, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            length = 0 if request.startswith(b"HEAD") else int(headers.get("content-length", "0"))
            body = await reader.readexactly(length)
        finally:
            writer.close()
            await writer.wait_closed()
        return Reply(int(status_line.split()[1]), headers, body)

    def insert(self, table: Table, *rows: Mapping[str, Any]) -> None:
        """Put rows into the database."""
        with self.database.write() as connection:
            connection.execute(insert(table), [dict(row) for row in rows])


@asynccontextmanager
async def serve(
    app: web.Application, database: Database, transport: RecordingTransport, bounds: ConnectionBounds = BOUNDS
) -> AsyncIterator[ServedApi]:
    """Run the application in its real server on a free port."""
    runner = create_runner(app, shutdown_s=1.0)
    await runner.setup()
    await create_listener(runner, "127.0.0.1", 0, bounds=bounds).start()
    host, port = runner.addresses[0][:2]
    try:
        yield ServedApi(host, port, database, transport, app, runner)
    finally:
        await runner.cleanup()


def multipart(*parts: tuple[str, str] | tuple[str, str, bytes]) -> tuple[bytes, dict[str, str]]:
    """Return a body as requests-toolbelt makes it: (name, text) or (name, file name, content) each, and its header."""
    boundary = "c0ffee5577aa41d2b5c6f5b43d0c6c4c"
    body = b""
    for name, *rest in parts:
        disposition = f'form-data; name="{name}"'
        if len(rest) == 2:
            disposition += f'; filename="{rest[0]}"'
        content = rest[-1] if isinstance(rest[-1], bytes) else rest[-1].encode()
        body += f"--{boundary}\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + content + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}
