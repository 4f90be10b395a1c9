"""The embedded service as a process: API, actors and probe, from start to the signal that stops them.

The order matters: the port is taken before anything works, so that a second service fails without a trace; and at the
end the API stops before the work does.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, nullcontext, suppress
from typing import Final

import structlog
from aiohttp import web
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from api.app import create_app
from api.docs_routes import Documents
from api.keystone.authenticator import KeystoneAuthenticator
from api.server import BoundedListener, create_listener, create_runner
from apidocs.openapi.assembly import make_documents
from db.errors import why_unavailable
from db.heartbeats import missing_workers, served_queues
from db.migrate import current_revision, head_revision
from db.schema import controller
from db.tokens import TokenStore
from monitoring.http_server import Health
from runner.capacity import raise_descriptor_limit
from runner.errors import NoRunRootError, ProcessesLeftError, WorkerNameTakenError
from runner.playbook_readiness import LOOSE_S
from service.api_server import api_bounds, build_authenticator, server_certificate
from service.database import only_instance
from service.distributed import AmqpActors
from service.errors import StartError, system_reason
from service.monitoring import is_alive, monitoring
from service.readiness import AsyncCheck, Check, Readiness, SharedChecks
from service.roles import ALL_ROLES, ProcessRole
from service.settings import Settings
from service.site_access import probe_factory
from service.wiring import Installation, build
from sites.availability_probe import AvailabilityProbe, ProbeRules

_log = structlog.get_logger(__name__)

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def serve(settings: Settings, roles: frozenset[ProcessRole] = ALL_ROLES) -> None:
    """Run one process of the service until SIGTERM or SIGINT; a second one ends it at once.

    Raises:
        StartError: It cannot start; nothing was changed but the schema.
    """
    raise_descriptor_limit()
    # Parts of one installation may share the directory; what does everything must be alone in it.
    with only_instance(settings.data_dir) if roles == ALL_ROLES else nullcontext():
        installation = build(settings, roles)
        try:
            asyncio.run(_Service(installation, roles).run())
        finally:
            installation.tracer.stop()
            installation.database.close()


class _Service:
    """One life of the service."""

    def __init__(self, installation: Installation, roles: frozenset[ProcessRole]) -> None:
        self._installation = installation
        self._roles = roles
        self._settings = installation.settings
        self._authenticator = build_authenticator(installation.settings, installation.database)
        # Why the service is not ready; None: it is.
        self._unready: str | None = "starting"
        self._stop = asyncio.Event()
        self._started = False
        self._was_ready = False
        self._revision = head_revision()
        self._told = Readiness(self._settings.ready_file)
        self._checks = self._shared_checks()

    async def run(self) -> None:
        self._listen_to_signals()
        with closing(self._checks):
            await self._run()

    async def _run(self) -> None:
        async with self._monitor(), self._actors_stopped_at_end(), self._api() as url:
            await self._start_actors()
            async with self._probe():
                if url is not None:
                    await self._welcome(url)
                # A signal that came meanwhile stays what is said last.
                self._unready = None if not self._stop.is_set() else self._unready
                self._was_ready = True
                _log.info("service.ready", **({"url": url} if url else {}), roles=sorted(self._roles), pid=os.getpid())
                await self._told.tell_until_stopped(self._stop)
            _log.info("service.stopping")
        _log.info("service.stopped")

    def _monitor(self) -> AbstractAsyncContextManager[None]:
        health = Health(alive=is_alive, ready=self._readiness, started=lambda: self._was_ready)
        return monitoring(self._installation, self._roles, health)

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._signalled, number)

    def _signalled(self, number: int) -> None:
        if self._stop.is_set():
            # Playbooks notice the death of this process and stop by themselves; the next start goes on from there.
            os._exit(128 + number)
        self._unready = "stopping"
        self._stop.set()

    @asynccontextmanager
    async def _api(self) -> AsyncIterator[str | None]:
        """Listen, and stop listening at the end; give the URL with its real port, None without an API."""
        if ProcessRole.API not in self._roles:
            yield None
            return
        settings = self._settings
        transport = self._installation.actors.transport(settings.command_timeout_s)
        app = create_app(
            documents=Documents(make_documents),
            database=self._installation.database,
            transport=transport,
            sealer=self._installation.sealer,
            authenticator=self._authenticator,
            readiness=self._readiness,
            started=lambda: self._was_ready,
            metrics=self._installation.metrics,
            tracer=self._installation.tracer,
        )
        runner = create_runner(app)
        await runner.setup()
        try:
            async with server_certificate(settings) as tls:
                bounds = api_bounds(settings, self._roles)
                site = create_listener(runner, settings.listen_host, settings.listen_port, bounds=bounds, tls=tls)
                await _listen(site, settings)
                yield f"{'http' if tls() is None else 'https'}://{_shown_address(settings.listen_host, runner)}"
        finally:
            await runner.cleanup()
            await transport.close()
            self._authenticator.close()

    @asynccontextmanager
    async def _actors_stopped_at_end(self) -> AsyncIterator[None]:
        """Stop the actors, if they were started, after the API has stopped."""
        try:
            yield
        finally:
            if self._started:
                await asyncio.to_thread(self._installation.actors.stop)

    async def _start_actors(self) -> None:
        """Start the actors; what callers ask for meanwhile waits for them."""
        try:
            await asyncio.to_thread(self._installation.actors.start, self._installation.runner)
        except WorkerNameTakenError as error:
            raise StartError(
                f"Another service of this machine runs as worker '{self._settings.worker_name}'. Stop it, or set"
                " PRESTAGER_WORKER_NAME to another name."
            ) from error
        except (NoRunRootError, ProcessesLeftError) as error:
            raise StartError(f"Playbooks cannot be run: {error}.") from error
        self._started = True

    @asynccontextmanager
    async def _probe(self) -> AsyncIterator[None]:
        if not self._settings.probe or ProcessRole.COORDINATOR not in self._roles:
            yield
            return
        probe = AvailabilityProbe(
            self._installation.database, probe_rules(self._settings), probe_factory(self._settings)
        )
        task = asyncio.create_task(probe.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _readiness(self) -> Mapping[str, str | None]:
        # What costs nothing to know is told as it is now.
        checks = {"service": self._unready, **await self._checks.results()}
        if ProcessRole.WORKER in self._roles and self._installation.actors.worker.is_draining:
            checks["worker"] = "drains: it finishes its runs and takes no more"
        return checks

    def _shared_checks(self) -> SharedChecks:
        blocking: dict[str, Check] = {"database": self._database_fault, "schema": self._schema_fault}
        asynchronous: dict[str, AsyncCheck] = {}
        actors = self._installation.actors
        if ProcessRole.WORKER in self._roles:
            # It looks at files, which may be on a network.
            playbooks = actors.worker.playbooks
            blocking["playbooks"] = lambda: playbooks.obstacle(within_s=LOOSE_S)
        if isinstance(actors, AmqpActors):
            blocking["broker"] = actors.broker_fault
            if ProcessRole.COORDINATOR in self._roles:
                # Told only: commands are taken, and wait in the database.
                blocking["workers"] = self._missing_workers
        if isinstance(self._authenticator, KeystoneAuthenticator):
            # An API that knows nobody serves nobody but those it remembers.
            asynchronous["keystone"] = self._authenticator.unavailable_reason
        return SharedChecks(blocking, asynchronous)

    def _database_fault(self) -> str | None:
        try:
            with self._installation.database.read() as connection:
                connection.execute(select(controller.c.id))
        except SQLAlchemyError as error:
            return f"cannot be read: {why_unavailable(error) or 'it reports an error'}"
        return None

    def _schema_fault(self) -> str | None:
        try:
            revision = current_revision(self._installation.database)
        except SQLAlchemyError:
            # Said of the database already.
            return None
        return None if revision == self._revision else f"is {revision}; this program needs {self._revision}"

    def _missing_workers(self) -> str | None:
        try:
            with self._installation.database.read() as connection:
                missing = missing_workers(served_queues(connection))
        except SQLAlchemyError:
            # Said of the database already.
            return None
        return "; ".join(missing) or None

    async def _welcome(self, url: str) -> None:
        if self._settings.auth == "keystone":
            return
        if not await asyncio.to_thread(TokenStore(self._installation.database).list_tokens):
            _log.warning(
                "service.no-token",
                advice="Nobody can use the API yet. To make a token, run: prestager token create NAME --role admin",
                url=f"{url}/v1.0",
            )


def probe_rules(settings: Settings) -> ProbeRules:
    """Return what the settings say of the availability probe."""
    return ProbeRules(
        interval_s=settings.probe_interval_s,
        failures=settings.probe_failures,
        concurrency=settings.probe_concurrency,
    )


async def _listen(site: BoundedListener, settings: Settings) -> None:
    try:
        await site.start()
    except OSError as error:
        raise StartError(
            f"PRESTAGER_LISTEN {settings.listen} cannot be listened on: {system_reason(error)}. Stop what uses it, or"
            " set another address."
        ) from error


def _shown_address(host: str, runner: web.AppRunner) -> str:
    port = runner.addresses[0][1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
