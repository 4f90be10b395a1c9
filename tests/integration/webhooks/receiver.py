"""A receiver of webhooks: a real HTTP server on loopback that answers as it is told and keeps what it got."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ssl import SSLContext

from aiohttp import web

Answer = web.StreamResponse | int | Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Got:
    """One request, byte for byte."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Receiver:
    """Answers with what is next in `answers`, then with 200."""

    url: str
    got: list[Got] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    # Requests that are being answered now, and the most that ever were.
    at_once: int = 0
    most_at_once: int = 0
    # Set: nobody is answered before it is cleared.
    hold: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Keep the request and answer it."""
        self.got.append(Got(request.path, dict(request.headers), await request.read()))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.hold.wait()
            given = self.answers.pop(0) if self.answers else 200
            if isinstance(given, int):
                return web.Response(status=given)
            return given if isinstance(given, web.StreamResponse) else await given(request)
        finally:
            self.at_once -= 1

    async def busy(self, count: int) -> None:
        """Wait until so many requests are being answered."""
        async with asyncio.timeout(20):
            while self.at_once < count:  # noqa: ASYNC110 - what is waited for is another's
                await asyncio.sleep(0.005)

    async def taken(self, count: int) -> None:
        """Wait until so many requests have come."""
        async with asyncio.timeout(20):
            while len(self.got) < count:  # noqa: ASYNC110 - the same
                await asyncio.sleep(0.005)


@asynccontextmanager
async def receiving(ssl: SSLContext | None = None) -> AsyncIterator[Receiver]:
    """Give a receiver that listens."""
    receiver = Receiver("")
    receiver.hold.set()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", receiver.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl).start()
    port = runner.addresses[0][1]
    receiver.url = f"http{'s' if ssl else ''}://127.0.0.1:{port}/hook/t0ken-in-path"
    try:
        yield receiver
    finally:
        receiver.hold.set()
        await runner.cleanup()
