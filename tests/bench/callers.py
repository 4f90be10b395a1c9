"""What Keystone costs a request: the API with a real Keystone against one that lets everybody in.

Run it with `make bench-callers`, after `bin/setup test`. Times are those of a client over loopback.
"""

from __future__ import annotations

import asyncio
import logging
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Final

import structlog
from aiohttp import ClientSession, web

from api.app import create_app
from api.auth import Authenticator, Caller
from api.docs_routes import Documents
from api.keystone.authenticator import KeystoneAuthenticator
from api.keystone.identity import KeystoneIdentity, ServiceAccount
from api.server import create_runner
from apidocs.openapi.assembly import make_documents
from db.database import Database
from db.encryption import Sealer
from db.migrate import upgrade
from messages.commands import Answer, Command
from tests.support.keystone_server import KeystoneServer

REQUESTS: Final = 1000
ROUNDS: Final = 3
GOAL_MS: Final = 1.0


class Anybody:
    """Lets everybody in."""

    async def authenticate(self, token: str | None) -> Caller:
        """Return the same caller for all."""
        return Caller(name="anybody", roles=frozenset({"admin"}), project="admin")


class Nowhere:
    """Takes no command."""

    async def request(self, command: Command) -> Answer:
        """Answer nothing."""
        return Answer(status=200, body=None)


async def median_ms(database: Database, authenticator: Authenticator, tokens: list[str]) -> float:
    """Return the median time of a small read, in milliseconds; tokens are used in turn."""

    async def readiness() -> Mapping[str, str | None]:
        return {}

    app = create_app(
        documents=Documents(make_documents),
        database=database,
        transport=Nowhere(),
        sealer=Sealer(b"k" * 32),
        authenticator=authenticator,
        readiness=readiness,
    )
    runner = create_runner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1.0/subcloud-groups"
    times: list[float] = []
    async with ClientSession() as session:
        for number in range(REQUESTS if len(tokens) == 1 else len(tokens)):
            started = perf_counter()
            async with session.get(url, headers={"X-Auth-Token": tokens[number % len(tokens)]}) as reply:
                assert reply.status == 200
                await reply.read()
            times.append(perf_counter() - started)
    await runner.cleanup()
    return statistics.median(times) * 1000


async def measure(keystone: KeystoneServer, database: Database) -> float:
    """Print the figures and return what a remembered caller costs, in milliseconds."""
    account = ServiceAccount(
        auth_url=keystone.url,
        username=keystone.service_user,
        password=keystone.password,
        user_domain="Default",
        project="services",
        project_domain="Default",
        ca_file=None,
    )
    asking = KeystoneAuthenticator(KeystoneIdentity(account, 4.0), timeout_s=4.0, cache_s=3600.0)
    token = keystone.token("admin")
    await asking.authenticate(token)
    # In turn and the best of each, for the machine has other things to do.
    without, cached = [], []
    for _ in range(ROUNDS):
        without.append(await median_ms(database, Anybody(), [token]))
        cached.append(await median_ms(database, asking, [token]))
    new = await median_ms(database, asking, [keystone.token("admin") for _ in range(50)])
    started = perf_counter()
    for _ in range(REQUESTS):
        await asking.authenticate(token)
    alone_ms = (perf_counter() - started) / REQUESTS * 1000
    asking.close()
    cost = min(cached) - min(without)
    print(f"a request without Keystone    {min(without):7.3f} ms (median)")  # noqa: T201 - what it is for
    print(f"with a remembered caller      {min(cached):7.3f} ms, {cost:+.3f} ms (goal: below {GOAL_MS})")  # noqa: T201
    print(f"with a new token              {new:7.3f} ms")  # noqa: T201
    print(f"to look up a remembered one   {alone_ms * 1000:7.1f} us")  # noqa: T201
    return cost


def main() -> None:
    """Measure; exit with 1 when the goal is missed."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory() as directory, KeystoneServer() as keystone:
        database = Database(f"sqlite:///{Path(directory) / 'bench.db'}")
        upgrade(database)
        cost = asyncio.run(measure(keystone, database))
        database.close()
    sys.exit(cost >= GOAL_MS)


if __name__ == "__main__":
    main()
