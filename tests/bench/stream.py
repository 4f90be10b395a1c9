"""The stream of events under load: listeners who come back at random miss nothing, and many of them cost little.

Run it with `make soak`. The server is a process of its own, over SQLite and loopback only; listeners and the writer of
events are here. It stops by itself, and exits with 1 when a listener had a gap or a repeat, or when it cost too much.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Final

import psutil
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web
from sqlalchemy import insert

from api.app import create_app
from api.auth import TokenAuthenticator
from api.docs_routes import Documents
from api.server import create_runner
from apidocs.openapi.assembly import make_documents
from db.database import Database
from db.encryption import Sealer
from db.migrate import upgrade
from db.schema import events
from db.tokens import Role, TokenStore
from messages.commands import Answer, Command

LISTENERS: Final = 50
EVENTS: Final = 20_000
WRITTEN_AT_ONCE: Final = 50
FURTHEST_BEHIND: Final = 5000
# The measurement.
MANY: Final = 200
RATE: Final = 100
MEASURED_S: Final = 15.0
GOAL_SHARE: Final = 0.30
DEADLINE_S: Final = 300.0


class Nowhere:
    """Takes no command."""

    async def request(self, command: Command) -> Answer:
        """Answer nothing."""
        del command
        return Answer(status=200, body=None)

    async def close(self) -> None:
        """Do nothing."""


async def serve(url: str) -> None:
    """Serve the API until killed; its port is printed."""

    async def readiness() -> Mapping[str, str | None]:
        return {}

    database = Database(url)
    app = create_app(
        documents=Documents(make_documents),
        database=database,
        transport=Nowhere(),
        sealer=Sealer(b"k" * 32),
        authenticator=TokenAuthenticator(TokenStore(database)),
        readiness=readiness,
    )
    runner = create_runner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def write(database: Database, count: int) -> None:
    """Store some events in one transaction."""
    about = {"strategy": 1, "subcloud": "edge-12", "stage": 1}
    row = {"type": "step.prestage.complete", "subject": "step/1", "data": about, "published": False}
    with database.write() as connection:
        connection.execute(insert(events), [{**row, "at": datetime.now(UTC)} for _ in range(count)])


class Listener:
    """One who follows all events, hangs up at random and comes back."""

    def __init__(self, session: ClientSession, url: str, chance: random.Random, last: int) -> None:
        self._session = session
        self._url = url
        self._chance = chance
        self._last = last
        self.seen = 0
        self.visits = 0
        self.wrong: list[str] = []

    async def follow(self) -> None:
        """Listen until the last event was heard."""
        while self.seen < self._last:
            try:
                await self._visit(self._chance.randrange(200, 4000))
            except ClientError:
                await asyncio.sleep(0.1)

    async def _visit(self, patience: int) -> None:
        self.visits += 1
        headers = {"Last-Event-ID": str(self.seen)}
        async with self._session.get(self._url, headers=headers, timeout=ClientTimeout(total=None)) as answer:
            async for line in answer.content:
                if line.startswith((b"event: snapshot", b"event: dropped")):
                    self.wrong.append(f"after {self.seen}: {line.decode().strip()}")
                    return
                if line.startswith(b"id: "):
                    self._hear(int(line[4:]))
                    patience -= 1
                    if patience <= 0 or self.seen >= self._last:
                        return

    def _hear(self, number: int) -> None:
        if number != self.seen + 1:
            self.wrong.append(f"{number} after {self.seen}")
        self.seen = number


async def soak(session: ClientSession, url: str, database: Database, listeners: int, count: int) -> list[str]:
    """Let listeners follow so many events while they are written; return what was wrong."""
    seed = int(os.environ.get("PRESTAGER_SOAK_SEED", random.SystemRandom().randrange(2**32)))
    sys.stdout.write(f"seed {seed}: PRESTAGER_SOAK_SEED={seed} repeats it\n")
    found = [Listener(session, url, random.Random(seed + place), count) for place in range(listeners)]
    began = perf_counter()

    async def fill() -> None:
        for written in range(0, count, WRITTEN_AT_ONCE):
            # Who is too far behind hears a snapshot instead, and rightly so.
            while min(one.seen for one in found) < written - FURTHEST_BEHIND:  # noqa: ASYNC110 - a bench may poll
                await asyncio.sleep(0.05)
            await asyncio.to_thread(write, database, WRITTEN_AT_ONCE)

    async with asyncio.timeout(DEADLINE_S):
        await asyncio.gather(fill(), *(one.follow() for one in found))
    visits = sum(one.visits for one in found)
    took = perf_counter() - began
    sys.stdout.write(f"{listeners} listeners heard {count} events each in {took:.1f} s over {visits} connections\n")
    return [text for one in found for text in one.wrong]


async def cost(session: ClientSession, url: str, database: Database, server: psutil.Process) -> float:
    """Return the share of a core that the server takes for many listeners."""

    async def listen() -> None:
        async with session.get(url, timeout=ClientTimeout(total=None)) as answer:
            async for _ in answer.content.iter_any():
                pass

    tasks = [asyncio.create_task(listen()) for _ in range(MANY)]
    await asyncio.sleep(2)
    before, began = sum(server.cpu_times()[:2]), perf_counter()
    while perf_counter() - began < MEASURED_S:
        await asyncio.to_thread(write, database, RATE // 10)
        await asyncio.sleep(0.1)
    share = (sum(server.cpu_times()[:2]) - before) / (perf_counter() - began)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    sys.stdout.write(f"{MANY} listeners at about {RATE} events/s: {share:.1%} of a core (goal {GOAL_SHARE:.0%})\n")
    return share


async def run(directory: Path) -> int:
    """Do both and return the exit code."""
    url = f"sqlite:///{directory / 'stream.db'}"
    database = Database(url)
    upgrade(database)
    token = TokenStore(database).create_token("soak", Role.READER)
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.stream", "serve", url, stdout=subprocess.PIPE
    )
    try:
        assert server.stdout is not None
        path = f"http://127.0.0.1:{int(await server.stdout.readline())}/v1.0/events"
        async with ClientSession(headers={"X-Auth-Token": token}, connector=TCPConnector(limit=0)) as session:
            wrong = await soak(session, path, database, LISTENERS, EVENTS)
            share = await cost(session, path, database, psutil.Process(server.pid))
    finally:
        server.kill()
        await server.wait()
        database.close()
    for text in wrong[:20]:
        sys.stdout.write(f"wrong: {text}\n")
    return int(bool(wrong) or share > GOAL_SHARE)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as directory:
            sys.exit(asyncio.run(run(Path(directory))))
