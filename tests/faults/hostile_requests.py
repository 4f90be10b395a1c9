"""What the fault tests of part B share: an API in this process, raw requests, mutations, places to look for secrets."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import psutil
from aiohttp import web

from api.app import create_app
from api.auth import TokenAuthenticator
from api.context import RequestLimits
from api.docs_routes import Documents
from api.server import create_runner
from apidocs.openapi.assembly import make_documents
from db.tokens import Role, TokenStore
from tests.support.installation import StartedInstallation
from tests.support.tcp_proxy import HOST

# What a change of bytes likes to put in.
_SPICES = (
    *(b"\x00", b"\xff", b"\r\n", b"\n\n", b'"', b"{", b"}", b"[" * 50),
    *(b"null", b"-1", b"1e400", b"\\ud800", b"%", b"%00"),
)


def mutated(random: Random, whole: bytes) -> bytes:
    """Return bytes with one to four changes: flipped, cut out, doubled, cut off, spiced."""
    body = bytearray(whole)
    for _ in range(random.randint(1, 4)):
        place = random.randrange(len(body) + 1)
        match random.randrange(6):
            case 0 if place < len(body):
                body[place] = random.randrange(256)
            case 1:
                del body[place : place + random.randint(1, 20)]
            case 2:
                body[place:place] = body[place : place + random.randint(1, 40)]
            case 3:
                del body[place:]
            case _:
                body[place:place] = random.choice(_SPICES)
    return bytes(body)


@dataclass(frozen=True)
class Server:
    """An API that runs in the loop of an installation."""

    installation: StartedInstallation
    port: int
    token: str


@contextmanager
def served(installation: StartedInstallation) -> Iterator[Server]:
    """Give the installation an API on a free port of loopback."""
    token = TokenStore(installation.database).create_token("faults", Role.ADMIN)

    async def ready() -> Mapping[str, str | None]:
        return {}

    async def begin() -> web.AppRunner:
        app = create_app(
            documents=Documents(make_documents),
            database=installation.database,
            transport=installation.transport,
            sealer=installation.sealer,
            authenticator=TokenAuthenticator(TokenStore(installation.database)),
            readiness=ready,
            limits=RequestLimits(body_s=0.3),
        )
        runner = create_runner(app, shutdown_s=1.0)
        # Seconds that aiohttp reads on after an answer whose request was not whole; its own 10 are long for a test.
        runner._kwargs["lingering_time"] = 1.0
        await runner.setup()
        await web.TCPSite(runner, HOST, 0).start()
        return runner

    runner = installation.loop.do(begin())
    try:
        yield Server(installation, runner.addresses[0][1], token)
    finally:
        installation.loop.do(runner.cleanup())


async def exchange(port: int, request: bytes, patience_s: float) -> int | None:
    """Write bytes to the server and return the status of the answer; None when there was none.

    An answer that is no HTTP is status 0.
    """
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(request)
        async with asyncio.timeout(patience_s):
            line = await reader.readline()
    except (TimeoutError, ConnectionError):
        return None
    finally:
        writer.transport.abort()
    words = line.split()
    if not words:
        return None
    return int(words[1]) if words[0].startswith(b"HTTP/") and words[1].isdigit() else 0


def files_with(words: list[bytes], *roots: Path) -> list[str]:
    """Return the files below the roots that hold one of the words."""
    found = []
    for root in roots:
        for path in root.rglob("*"):
            with suppress(OSError):
                if path.is_file() and not path.is_symlink():
                    content = path.read_bytes()
                    found += [f"{path}: word {place}" for place, word in enumerate(words) if word in content]
    return found


def processes_with(words: list[bytes]) -> list[str]:
    """Return the processes but this one that show a word in their arguments or environment."""
    found = []
    for pid in psutil.pids():
        for name in ("cmdline", "environ"):
            with suppress(OSError):
                if pid != os.getpid():
                    content = Path(f"/proc/{pid}/{name}").read_bytes()
                    found += [
                        f"{name} of {content[:80]!r}: word {i}" for i, word in enumerate(words) if word in content
                    ]
    return found
