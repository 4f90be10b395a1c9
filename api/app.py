"""The HTTP application. Built by `service.process`; building it connects to nothing."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from sqlalchemy import Connection

from api.auth import READ, Authenticator
from api.context import (
    PAGE,
    SERVICES,
    AskWorker,
    PageServices,
    QueueStates,
    Readiness,
    RequestLimits,
    RequestMetrics,
    Services,
)
from api.database_reader import DatabaseReader
from api.docs_routes import DOCUMENTS, Documents
from api.middleware import add_trace_header, log_access, render_errors, trace_requests
from api.page import add_page, make_code
from api.routes import add_routes, guard
from api.step_log import LOG_FOLLOWERS, LogFollowers
from api.stream.follower import FOLLOWER, Follower
from db.database import Database
from db.encryption import Sealer
from db.inventory import installation_id
from messages.commands import CommandTransport
from messages.events import event_source
from tracing.tracer import NULL_TRACER, Tracer


def create_app(  # noqa: PLR0913 - everything that the API works with, by name
    *,
    database: Database,
    transport: CommandTransport,
    sealer: Sealer,
    authenticator: Authenticator,
    readiness: Readiness,
    documents: Documents,
    started: Callable[[], bool] = lambda: True,
    limits: RequestLimits | None = None,
    metrics: RequestMetrics | None = None,
    page: PageServices | None = None,
    queue_states: QueueStates = lambda: None,
    ask_worker: AskWorker = lambda *_, **__: None,
    tracer: Tracer = NULL_TRACER,
) -> web.Application:
    """Return the application.

    Args:
        database: For reading only. The caller closes it, after the cleanup of the application.

        transport: Carries every change to the coordinator.

        sealer: Seals passwords before they go anywhere.

        authenticator: Identifies callers by their tokens.

        readiness: Checks for /readyz.

        documents: Served by /openapi.json and /docs.

        started: For /startupz: whether the process was ready once.

        limits: Limits of the size of requests and of the time that they take.

        metrics: Counts requests.

        queue_states: States of the queues, for /v1.0/health.

        ask_worker: Has a worker drain, or take runs again.

        page: Of the page at /ui; None: there is none.

        tracer: Makes spans of requests.
    """
    limits = limits or RequestLimits()
    outermost = [trace_requests(tracer)] if tracer.is_on else []
    app = web.Application(middlewares=[*outermost, log_access, render_errors], client_max_size=limits.multipart_bytes)
    if tracer.is_on:
        app.on_response_prepare.append(add_trace_header)
    services = Services(
        reads=DatabaseReader(database),
        transport=transport,
        sealer=sealer,
        authenticator=authenticator,
        readiness=readiness,
        started=started,
        limits=limits,
        metrics=metrics,
        queue_states=queue_states,
        ask_worker=ask_worker,
    )
    app[SERVICES] = services
    app[FOLLOWER] = Follower(services.reads.run, _source)
    app[DOCUMENTS] = documents
    app[LOG_FOLLOWERS] = LogFollowers(services.reads.run)
    app.on_shutdown.append(_end_streams)
    app.on_cleanup.append(_close_reads)
    add_routes(app.router)
    if page is not None:
        app[PAGE] = page
        add_page(app.router, guard(make_code, READ))
    return app


def _source(connection: Connection) -> str:
    return event_source(installation_id(connection))


async def _end_streams(app: web.Application) -> None:
    app[FOLLOWER].close()
    app[LOG_FOLLOWERS].close()


async def _close_reads(app: web.Application) -> None:
    app[SERVICES].reads.close()
