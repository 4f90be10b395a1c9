"""One process of the service, from its start to the signal that stops it: API, monitoring, parts and probe.

The API's port is taken before any part is started: a second service fails and has changed nothing. At the end the API
stops first, then the parts.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, nullcontext, suppress
from typing import Any, Final

import structlog

from db.tokens import TokenStore
from monitoring.logging import configure_logs
from runner.capacity import raise_descriptor_limit
from runner.errors import NoRunRootError, ProcessesLeftError, WorkerNameTakenError
from runner.process_limits import yield_cores
from service.authentication import build_authenticator
from service.database import only_instance
from service.errors import StartError
from service.lifecycle import freeze_heap
from service.load_settings import unknown_variables
from service.readiness import process_checks
from service.readiness_reporter import ReadinessReporter
from service.roles import ALL_ROLES, ProcessRole
from service.settings import Settings
from service.startup_checks import doubts, startable_settings
from service.wiring import Process, RunnerFactory, build

_log = structlog.get_logger(__name__)

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
# Within so many seconds a second signal is the first one again: a terminal sends Ctrl-C to the whole group, a wrapper
# passes it on, and the kernel repeats the signal of a dead parent for each of its threads.
_SAME_REQUEST_S: Final = 0.5


def run_service(roles: frozenset[ProcessRole], **given: int | str) -> None:
    """Run one process of the service with the settings of this machine until SIGTERM or SIGINT.

    Args:
        roles: The roles of the process.

        given: Settings by their names, which count before what file and environment say.

    Raises:
        CommandError: A setting makes a start impossible; every fault is listed.
        StartError: It cannot start; nothing was changed but the schema.
    """
    serve(ready_settings(roles, **given), roles)


def ready_settings(roles: frozenset[ProcessRole], **given: int | str) -> Settings:
    """Return the checked settings of this machine, with the log set up and doubts about them in it.

    The arguments are those of `run_service`.

    Raises:
        CommandError: A setting makes a start impossible; every fault is listed.
    """
    settings = startable_settings(**given)
    configure_logs(settings.log_format, settings.log_level)
    for doubt in (*unknown_variables(os.environ), *doubts(settings, listens=ProcessRole.API in roles)):
        _log.warning("settings.doubt", doubt=doubt)
    return settings


def serve(
    settings: Settings, roles: frozenset[ProcessRole] = ALL_ROLES, runner_factory: RunnerFactory | None = None
) -> None:
    """Run one process of the service until SIGTERM or SIGINT; a second one, half a second later, ends it at once.

    Args:
        settings: Read and checked.

        roles: The roles of the process.

        runner_factory: Takes the place of the Ansible supervisor.

    Raises:
        StartError: It cannot start; nothing was changed but the schema.
    """
    raise_descriptor_limit()
    if roles == {ProcessRole.WORKER}:
        yield_cores(0, settings.worker_nice)
    # Parts of one installation may share the directory; what does everything must be alone in it.
    with only_instance(settings.data_dir) if roles == ALL_ROLES else nullcontext():
        process = build(settings, roles, runner_factory)
        try:
            asyncio.run(_Service(process).run())
        finally:
            process.tracer.stop()
            process.database.close()


def settings_of_part(settings: Settings, role: ProcessRole) -> Settings:
    """Return the settings of one of the processes.

    The file that says that the service is ready belongs to the first process. Metrics and health of the API are at
    `monitor_listen`, those of the coordinator and the worker at the next two ports.
    """
    changes: dict[str, Any] = {"ready_file": None}
    if settings.monitor_listen is not None:
        host, _, port = settings.monitor_listen.rpartition(":")
        changes["monitor_listen"] = f"{host}:{int(port) + list(ProcessRole).index(role) if int(port) else 0}"
    return settings.model_copy(update=changes)


class _Service:
    """Runs one process, with its API, monitoring and probes, until a signal stops it."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._settings = process.settings
        self._authenticator = build_authenticator(process.settings, process.database)
        # Why the service is not ready; None: it is.
        self._unready: str | None = "starting"
        self._stop = asyncio.Event()
        self._asked_to_stop_at = 0.0
        self._was_ready = False
        self._reporter = ReadinessReporter(self._settings.ready_file)
        self._checks = process_checks(process, self._authenticator)

    async def run(self) -> None:
        self._listen_to_signals()
        with closing(self._checks):
            await self._run()

    async def _run(self) -> None:
        async with self._monitor(), self._stopped_at_end(), self._api() as url:
            await self._start()
            freeze_heap()
            async with self._probe():
                if url is not None:
                    await self._welcome(url)
                # A signal that came meanwhile stays what is said last.
                self._unready = None if not self._stop.is_set() else self._unready
                self._was_ready = True
                _log.info(
                    "service.ready", **({"url": url} if url else {}), roles=sorted(self._process.roles), pid=os.getpid()
                )
                await self._reporter.report_until(self._stop)
            _log.info("service.stopping")
        _log.info("service.stopped")

    def _monitor(self) -> AbstractAsyncContextManager[None]:
        listen = self._settings.monitor_listen
        if listen is None:
            return nullcontext()
        # A process that listens nowhere needs no HTTP server.
        from monitoring.http_server import Health  # noqa: PLC0415
        from service.monitoring import is_alive, monitoring  # noqa: PLC0415

        health = Health(alive=is_alive, ready=self._readiness, started=lambda: self._was_ready)
        return monitoring(self._process, health, listen)

    @asynccontextmanager
    async def _api(self) -> AsyncIterator[str | None]:
        """Serve the API until the end of the block, and give its URL; None without an API."""
        if ProcessRole.API not in self._process.roles:
            yield None
            return
        # A process without the API needs neither an HTTP server nor its models.
        from service.api_server import api_server  # noqa: PLC0415

        async with api_server(
            self._process, self._authenticator, readiness=self._readiness, started=lambda: self._was_ready
        ) as url:
            yield url

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._signalled, number)

    def _signalled(self, number: int) -> None:
        if not self._stop.is_set():
            self._asked_to_stop_at = time.monotonic()
            self._unready = "stopping"
            self._stop.set()
        elif time.monotonic() - self._asked_to_stop_at > _SAME_REQUEST_S:
            # Playbooks notice the death of this process and stop by themselves; the next start goes on from there.
            os._exit(128 + number)

    @asynccontextmanager
    async def _stopped_at_end(self) -> AsyncIterator[None]:
        """Stop the parts that were started, after the API has stopped."""
        try:
            yield
        finally:
            await asyncio.to_thread(self._process.lifecycle.stop)

    async def _start(self) -> None:
        """Start all parts; requests that come meanwhile wait for them."""
        try:
            await asyncio.to_thread(self._process.lifecycle.start)
        except WorkerNameTakenError as error:
            raise StartError(
                f"Another service of this machine runs as worker '{self._settings.worker_name}'. Stop it, or set"
                " PRESTAGER_WORKER_NAME to another name."
            ) from error
        except (NoRunRootError, ProcessesLeftError) as error:
            raise StartError(f"Playbooks cannot be run: {error}.") from error

    @asynccontextmanager
    async def _probe(self) -> AsyncIterator[None]:
        if not self._settings.probe or ProcessRole.COORDINATOR not in self._process.roles:
            yield
            return
        # A process of another role probes no site.
        from service.coordinator_role import availability_probe  # noqa: PLC0415

        task = asyncio.create_task(availability_probe(self._process).run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _readiness(self) -> Mapping[str, str | None]:
        # The state of the process and of its worker cost nothing: they are of now.
        checks = {"service": self._unready, **await self._checks.results()}
        if self._process.worker is not None and self._process.worker.is_draining:
            checks["worker"] = "drains: it finishes its runs and takes no more"
        return checks

    async def _welcome(self, url: str) -> None:
        if self._settings.auth == "keystone":
            return
        if not await asyncio.to_thread(TokenStore(self._process.database).list_tokens):
            _log.warning(
                "service.no-token",
                advice="Nobody can use the API yet. To make a token, run: prestager token create NAME --role admin",
                url=f"{url}/v1.0",
            )
