"""The service whose callers a real Keystone knows, with playbooks that only pretend, for dcmanager's client."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from aiohttp import web

from api.app import create_app
from api.docs_routes import Documents
from api.keystone.authenticator import KeystoneAuthenticator
from api.server import create_runner
from apidocs.openapi.assembly import make_documents
from service.settings import Settings
from service.wiring import build
from statemachine.host_keys import HostKeyPolicy
from tests.integration.keystone.keystone_api import identity
from tests.support.dcmanager_client import DcmanagerClient
from tests.support.fake_playbooks import FakePlaybooks
from tests.support.keystone_server import KeystoneServer
from tests.support.tcp_proxy import HOST, free_port
from tests.support.waiting import PATIENCE_S

VALUES = """
name: {name}
system_mode: simplex
management_subnet: 192.168.101.0/24
management_start_address: 192.168.101.2
management_end_address: 192.168.101.50
management_gateway_address: 192.168.101.1
systemcontroller_gateway_address: 192.168.204.101
external_oam_subnet: 10.10.10.0/24
external_oam_gateway_address: 10.10.10.1
external_oam_floating_address: 10.10.10.12
"""


class DcmanagerService:
    """The API, coordinator and a worker that only pretends, in a thread of their own."""

    def __init__(
        self, keystone: KeystoneServer, directory: Path, playbooks: FakePlaybooks | None = None, *, slots: int = 10
    ) -> None:
        playbooks = playbooks or FakePlaybooks()
        settings = Settings(
            data_dir=directory, release="23.09", feed_dir=directory / "feed", host_keys=HostKeyPolicy.IGNORE
        )
        self.port = free_port()
        self._installation = build(settings, runner_factory=lambda finished: playbooks.runner(slots, finished))
        self._installation.lifecycle.start()
        self._authenticator = KeystoneAuthenticator(identity(keystone), timeout_s=4.0, cache_s=60.0)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._web = self._do(self._serve())

    def close(self) -> None:
        """End everything."""
        self._do(self._web.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._authenticator.close()
        self._installation.lifecycle.stop()
        self._installation.database.close()

    async def _serve(self) -> web.AppRunner:
        async def readiness() -> dict[str, str | None]:
            return {}

        app = create_app(
            documents=Documents(make_documents),
            database=self._installation.database,
            transport=self._installation.messaging.command_transport(30.0),
            sealer=self._installation.sealer,
            authenticator=self._authenticator,
            readiness=readiness,
        )
        runner = create_runner(app, shutdown_s=1.0)
        await runner.setup()
        await web.TCPSite(runner, HOST, self.port).start()
        return runner

    def _do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)


def brought_up(admin: DcmanagerClient, *names: str, group: str = "Default") -> None:
    """Add subclouds, bring them online, and manage them."""
    for name in names:
        admin.subcloud_add(VALUES.format(name=name), "10.10.10.12", group)
        admin.subcloud_update(name, **{"availability-status": "online", "deploy-status": "complete"})
        admin.subcloud_update(name, management_state="managed")
