"""The HTTP API of a process: server, authentication, certificate and limits of connections by the settings."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final

import structlog

from api.app import create_app
from api.auth import Authenticator
from api.connections import ConnectionBounds
from api.context import PageServices, Readiness
from api.docs_routes import Documents
from api.errors import CertificateError
from api.login_tries import LoginTries
from api.server import BoundedListener, TlsContext, create_listener, create_runner, no_tls
from api.tls import ServerCertificate
from apidocs.openapi.assembly import make_documents
from db.audit import record_worker_action
from db.tokens import LoginCodes
from messages.commands import WorkerAction
from service.errors import StartError, system_reason
from service.roles import ProcessRole
from service.settings import Settings
from service.wiring import Process

_log = structlog.get_logger(__name__)

# Most connections where the settings name no number.
_USUAL: Final = 4000
# Descriptors of every process: database, broker, logs, event loops, monitoring.
_OWN: Final = 300
# Of each playbook that runs, of each try of a webhook.
_PER_RUN: Final = 6
_WEBHOOK_TRIES: Final = 32
# Whatever is reserved, such a part of all descriptors is for callers.
_LEAST_PART: Final = 4


def api_bounds(settings: Settings, roles: frozenset[ProcessRole]) -> ConnectionBounds:
    """Return the bounds of the API's connections; logs a number of the settings that the descriptors do not allow."""
    room = _room(settings, roles)
    wanted = settings.max_connections or _USUAL
    total = min(wanted, room)
    if settings.max_connections is not None and total < wanted:
        _log.warning(
            "connections.bounded",
            max_connections=total,
            reason=f"PRESTAGER_MAX_CONNECTIONS is {wanted}; the limit of open files leaves room for {room}.",
            advice="Raise the limit: LimitNOFILE= in the unit, or ulimit -n.",
        )
    per_address = settings.max_connections_per_address or max(1, total // 2)
    return ConnectionBounds(total=total, per_address=min(per_address, total))


def _room(settings: Settings, roles: frozenset[ProcessRole]) -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return _USUAL if settings.max_connections is None else settings.max_connections
    reserved = _OWN
    if ProcessRole.WORKER in roles:
        reserved += settings.slots * _PER_RUN + settings.inspections
    if ProcessRole.COORDINATOR in roles:
        reserved += settings.probe_concurrency + _WEBHOOK_TRIES
    return max(limit - reserved, limit // _LEAST_PART, 1)


@asynccontextmanager
async def server_certificate(settings: Settings) -> AsyncIterator[TlsContext]:
    """Give what returns the TLS context for the next connection; until the end of the block new files are taken.

    Without a certificate in the settings connections are in the clear.

    Raises:
        StartError: The files cannot be used.
    """
    if settings.tls_certificate_file is None or settings.tls_key_file is None:
        yield no_tls
        return
    try:
        certificate = ServerCertificate(settings.tls_certificate_file, settings.tls_key_file)
    except CertificateError as error:
        raise StartError(
            f"PRESTAGER_TLS_CERTIFICATE_FILE and PRESTAGER_TLS_KEY_FILE cannot be used: {error}"
        ) from error
    task = asyncio.create_task(certificate.watch())
    try:
        yield lambda: certificate.context
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def api_server(
    process: Process, authenticator: Authenticator, *, readiness: Readiness, started: Callable[[], bool]
) -> AsyncIterator[str]:
    """Serve the API until the end of the block and close `authenticator`; give the URL with the port in use.

    Raises:
        StartError: The address cannot be listened on, or the certificate cannot be used.
    """
    settings = process.settings
    transport = process.messaging.command_transport(settings.command_timeout_s)
    app = create_app(
        documents=Documents(make_documents),
        database=process.database,
        transport=transport,
        sealer=process.sealer,
        authenticator=authenticator,
        readiness=readiness,
        started=started,
        metrics=process.metrics,
        page=_page_services(process),
        queue_states=process.messaging.queue_states,
        ask_worker=partial(_ask_worker, process),
        tracer=process.tracer,
    )
    runner = create_runner(app)
    await runner.setup()
    try:
        async with server_certificate(settings) as tls:
            bounds = api_bounds(settings, process.roles)
            site = create_listener(runner, settings.listen_host, settings.listen_port, bounds=bounds, tls=tls)
            await _listen(site, settings)
            yield f"{'http' if tls() is None else 'https'}://{_url_host(settings.listen_host)}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
        await transport.close()
        authenticator.close()


def _ask_worker(process: Process, worker: str, action: WorkerAction, *, caller: str, origin: str) -> int | None:
    """Have a worker drain or take runs again, and write it into the audit; return how many runs it works on."""
    running = process.messaging.ask_worker(worker, drain=action is WorkerAction.DRAIN)
    if running is not None:
        with process.database.write() as connection:
            record_worker_action(connection, action, worker, caller=caller, origin=origin, at=datetime.now(UTC))
    return running


def _page_services(process: Process) -> PageServices | None:
    settings = process.settings
    if not settings.ui:
        return None
    return PageServices(codes=LoginCodes(process.database), tries=LoginTries(), may_be_plain=settings.ui_insecure)


async def _listen(site: BoundedListener, settings: Settings) -> None:
    try:
        await site.start()
    except OSError as error:
        raise StartError(
            f"PRESTAGER_LISTEN {settings.listen} cannot be listened on: {system_reason(error)}. Stop what uses it, or"
            " set another address."
        ) from error


def _url_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
