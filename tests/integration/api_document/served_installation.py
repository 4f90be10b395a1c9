"""A whole embedded installation behind a real socket, with playbooks that only pretend: what a document promises of."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

from aiohttp import web
from sqlalchemy import select

from api.app import create_app
from api.auth import TokenAuthenticator
from api.context import RequestLimits
from api.docs_routes import Documents
from api.server import create_runner
from api.stream.follower import FOLLOWER
from apidocs.openapi.assembly import make_documents
from db.schema import strategies
from db.tokens import Role, TokenStore
from messages.commands import Command, CommandType
from runner.fake import FakeRunEnd, FakeRunner
from service.settings import Settings
from service.wiring import Process, build
from statemachine.host_keys import HostKeyPolicy
from tests.support.waiting import PATIENCE_S, wait_for

_COMMAND_S = 20.0
_SITE = {
    "software_version": "22.12",
    "management-state": "managed",
    "availability-status": "online",
    "oam_floating_ip": "192.0.2.1",
}
# How long a stream lasts at most.
_STREAM_S = 0.2


@dataclass(frozen=True)
class Served:
    """Where it is, and the token of somebody who may do everything."""

    url: str
    token: str


@contextmanager
def served_installation(data_dir: Path) -> Iterator[Served]:
    """Run an installation with a few sites of the document's examples, and serve it from a thread of its own."""
    installation = build(
        Settings(
            data_dir=data_dir,
            release="23.09",
            host_keys=HostKeyPolicy.IGNORE,
            deploy_dir=data_dir / "deploy",
            feed_dir=data_dir / "feed",
        ),
        runner_factory=lambda on_finished: FakeRunner(
            slots=4, on_finished=on_finished, decide=lambda _job: FakeRunEnd(delay_s=0.01)
        ),
    )
    try:
        token = TokenStore(installation.database).create_token("fuzzer", Role.ADMIN)
        installation.lifecycle.start()
        try:
            _fill(installation)
            with _serving(_app(installation)) as url:
                yield Served(url, token)
        finally:
            installation.lifecycle.stop()
    finally:
        installation.database.close()


def _app(installation: Process) -> web.Application:
    async def readiness() -> Mapping[str, str | None]:
        return {"database": None}

    return create_app(
        documents=Documents(make_documents),
        database=installation.database,
        transport=installation.messaging.command_transport(_COMMAND_S),
        sealer=installation.sealer,
        authenticator=TokenAuthenticator(TokenStore(installation.database)),
        readiness=readiness,
        limits=RequestLimits(body_s=2.0),
    )


def _fill(installation: Process) -> None:
    """Make the group and the sites that the examples of the document are about, and a strategy that is history."""
    ask = partial(_ask, installation)
    ask(CommandType.GROUP_CREATE, data={"name": "north", "description": "north"})
    for number in (12, 13):
        ask(CommandType.SUBCLOUD_ADD, data={"name": f"edge-{number}", "group_id": "north", **_SITE})
    ask(CommandType.STRATEGY_CREATE, data={"type": "prestage"}, with_password=True)
    ask(CommandType.STRATEGY_APPLY)
    wait_for(lambda: _state(installation) == "complete")
    ask(CommandType.STRATEGY_DELETE)


def _ask(
    installation: Process, kind: CommandType, *, data: Mapping[str, Any] | None = None, with_password: bool = False
) -> None:
    command = Command(type=kind, data=dict(data or {}))
    if with_password:
        sealed = installation.sealer.seal("secret", bound_to=command.id)
        command = command.model_copy(update={"sealed_password": sealed})
    answer = asyncio.run(installation.messaging.command_transport(_COMMAND_S).request(command))
    assert answer.status == 200, answer.detail


def _state(installation: Process) -> str:
    with installation.database.read() as connection:
        return str(connection.execute(select(strategies.c.state)).scalar_one())


@contextmanager
def _serving(app: web.Application) -> Iterator[str]:
    loop = asyncio.new_event_loop()
    runner = create_runner(app, shutdown_s=1.0)
    hang_up: list[asyncio.Task[None]] = []

    async def start() -> str:
        await runner.setup()
        hang_up.append(asyncio.create_task(_hang_up_on_listeners(app)))
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    url = loop.run_until_complete(start())
    thread = Thread(target=loop.run_forever, name="served-api")
    thread.start()
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(hang_up[0].cancel)
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(PATIENCE_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _hang_up_on_listeners(app: web.Application) -> None:
    """End every stream soon, in the way in which a service that stops does: a client here waits for the end."""
    while True:
        app[FOLLOWER].close()
        await asyncio.sleep(_STREAM_S)
