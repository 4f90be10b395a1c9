"""The routes of those who watch: the stream, history, the audit, and what needs no token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp.typedefs import Handler

from api import docs_routes, events, health, history
from apidocs.openapi.envelopes import (
    Alive,
    AuditPage,
    Ready,
    Started,
    StepPage,
    StrategyPage,
    StreamMessage,
    Versions,
    WorkerList,
)
from apidocs.openapi.operation import Header, Operation, Response
from messages.requests.queries import AuditQuery, EventsQuery, PageQuery
from messages.schemas import HistoricStrategy

_EVENTS: Final = "Events"
_HISTORY: Final = "History and audit"
_PROCESSES: Final = "Processes"
_PROCESS: Final = "The process itself"
_STRATEGY: Final = ("Id of the strategy.", "1")
_NO_STRATEGY: Final = {404: "There is no such strategy."}

WATCHING: Final[Mapping[Handler, Operation]] = {
    events.stream: Operation(
        id="stream-events",
        tag=_EVENTS,
        query=EventsQuery,
        headers=(
            Header(
                name="Last-Event-ID",
                description="Go on after the event of this number. An empty one is as good as none.",
                schema={"type": "string", "pattern": "^[0-9]{0,18}$"},
            ),
        ),
        response=Response(
            description="Server-Sent Events without an end: a `snapshot`, then the CloudEvents that are published over"
            " AMQP too, and a `dropped` with a reason where the server ends the stream.",
            type=StreamMessage,
            media_type="text/event-stream",
        ),
    ),
    history.show_strategies: Operation(
        id="list-past-strategies",
        tag=_HISTORY,
        query=PageQuery,
        response=Response(description="A page of strategies.", type=StrategyPage),
    ),
    history.show_strategy: Operation(
        id="show-past-strategy",
        tag=_HISTORY,
        ref=_STRATEGY,
        response=Response(description="The strategy.", type=HistoricStrategy),
        errors=_NO_STRATEGY,
    ),
    history.show_steps: Operation(
        id="list-past-steps",
        tag=_HISTORY,
        ref=_STRATEGY,
        query=PageQuery,
        response=Response(description="A page of steps.", type=StepPage),
        errors=_NO_STRATEGY,
    ),
    history.show_audit: Operation(
        id="list-audit",
        tag=_HISTORY,
        query=AuditQuery,
        response=Response(description="A page of the audit.", type=AuditPage),
    ),
    health.show_workers: Operation(
        id="list-workers",
        tag=_PROCESSES,
        response=Response(description="The processes by role and name.", type=WorkerList),
    ),
    health.show_versions: Operation(
        id="list-versions", tag=_PROCESS, response=Response(description="The versions.", type=Versions)
    ),
    health.show_alive: Operation(
        id="is-alive", tag=_PROCESS, response=Response(description="It is alive.", type=Alive)
    ),
    health.show_ready: Operation(
        id="is-ready",
        tag=_PROCESS,
        response=Response(description="It is ready.", type=Ready),
        other_responses={503: Response(description="It is not ready.", type=Ready)},
    ),
    health.show_started: Operation(
        id="is-started",
        tag=_PROCESS,
        response=Response(description="It was ready once.", type=Started),
        other_responses={503: Response(description="It is still starting.", type=Started)},
    ),
    docs_routes.show_document: Operation(
        id="show-document",
        tag=_PROCESS,
        response=Response(description="An OpenAPI 3.1 document.", type=dict[str, object]),
    ),
    docs_routes.show_html: Operation(
        id="show-page", tag=_PROCESS, response=Response(description="The page.", type=str, media_type="text/html")
    ),
}
