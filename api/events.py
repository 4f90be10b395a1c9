"""GET /v1.0/events: a snapshot, then events as Server-Sent Events. Not of dcmanager's API."""

from __future__ import annotations

from http import HTTPStatus
from time import monotonic
from typing import Final

import structlog
from aiohttp import web
from sqlalchemy import Connection

from api.context import SERVICES
from api.errors import RETRY_AFTER, ApiError
from api.stream.follower import FOLLOWER, HEARTBEAT, EventListener, Filter, frame
from api.stream.serving import TOKEN_S, is_still_known, send, serve, stream_headers
from api.validation import read_query, validated
from db import read_queries
from db.filters import RowFilter, listed_steps, listed_subclouds
from db.holds import open_holds, site_holds
from db.live_output import running_runs
from db.read_queries import newest_event_id, oldest_event_id, was_restored_after
from messages.event_types import Dropped, SnapshotData
from messages.requests.queries import EventsQuery
from messages.serializers import strategy_resource
from messages.step_serializers import step_resource


def snapshot(connection: Connection, wanted: Filter, reason: str, *, brief: bool = False) -> tuple[int, bytes]:
    """Return the number of the last event that the snapshot includes, and the snapshot as a message of the stream.

    The snapshot may include effects of later events: a listener that applies those events comes to the same state.

    Args:
        connection: A reading connection.

        wanted: Filter of strategy and subcloud.

        reason: Why a snapshot is sent: `begin`, or why the listener could not resume.

        brief: Leave out steps and subclouds, for a listener that reads them elsewhere.
    """
    # Read first: an event that is committed meanwhile is then sent twice rather than never.
    last = newest_event_id(connection)
    strategy = read_queries.active_strategy(connection)
    if strategy is not None and wanted.strategy_id not in (None, strategy["id"]):
        strategy = None
    listed = None if brief else strategy
    held = {} if listed is None else site_holds(connection, listed["id"])
    rows = [] if listed is None else listed_steps(connection, listed["id"], RowFilter())
    works = read_queries.works_of_steps(connection, rows)
    data: SnapshotData = {
        "reason": reason,
        "strategy": None
        if strategy is None
        else strategy_resource(strategy, "read", holds=open_holds(connection, [strategy["id"]])),
        "steps": [
            step_resource(row, works[row["id"]], held.get(row["id"]))
            for row in rows
            if wanted.subcloud in (None, row["subcloud_name"])
        ],
        "runs": [
            {"run": run_id, **about}
            for run_id, about in running_runs(connection)
            if wanted.strategy_id in (None, about["strategy"]) and wanted.subcloud in (None, about["subcloud"])
        ],
        "subclouds": [
            {
                "name": row["name"],
                "management-state": row["management_state"],
                "availability-status": row["availability_status"],
                "prestage-status": row["prestage_status"],
            }
            for row in ([] if brief else listed_subclouds(connection, RowFilter()))
            if wanted.subcloud in (None, row["name"])
        ],
    }
    return last, frame("snapshot", data, event_id=last)


_log = structlog.get_logger(__name__)

# Longest time without a message, in seconds: proxies close silent connections.
_HEARTBEAT_S: Final = 15.0
# Listeners of one process; each is a connection.
_MOST_LISTENERS: Final = 1000
# A listener that is more events behind gets a snapshot in their place.
_FURTHEST_BEHIND: Final = 10_000


async def stream(request: web.Request) -> web.StreamResponse:
    """Stream a snapshot, then each event, until the client disconnects.

    With `Last-Event-ID` the stream goes on after that event, without a gap and without a repeat.
    """
    follower = request.app[FOLLOWER]
    query = read_query(EventsQuery, request)
    wanted = Filter(strategy_id=query.strategy, subcloud=query.subcloud, type=query.type)
    if follower.listeners >= _MOST_LISTENERS:
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "Too many listen already; try again later.", RETRY_AFTER)
    seen, first = await _beginning(request, wanted, query)
    response = web.StreamResponse(headers=stream_headers("text/event-stream"))
    listener = await follower.attach(wanted, seen)
    try:
        if not await serve(request, response, _send_events(request, response, listener, first)):
            _log.info("stream.listener-gone")
    finally:
        follower.detach(listener)
    return response


async def _send_events(
    request: web.Request, response: web.StreamResponse, listener: EventListener, first: bytes
) -> None:
    await response.prepare(request)
    await send(response, first or HEARTBEAT)
    check_token_at = monotonic() + TOKEN_S
    while listener.ended is None:
        content = await listener.take(_HEARTBEAT_S)
        if listener.ended is None:
            await send(response, content or HEARTBEAT)
        if monotonic() >= check_token_at:
            check_token_at = monotonic() + TOKEN_S
            if not await is_still_known(request):
                listener.end("the token is no longer valid")
    await send(response, frame("dropped", Dropped(reason=listener.ended)))


async def _beginning(request: web.Request, wanted: Filter, query: EventsQuery) -> tuple[int, bytes]:
    """Return the number of the event after which the stream begins, and the message that is sent first."""
    last = query.last_event_id
    header = request.headers.get("Last-Event-ID")
    if header:
        last = validated(EventsQuery, {"last_event_id": header}).last_event_id
    reads = request.app[SERVICES].reads
    reason = "begin"
    if last is not None:
        seen = last
        problem = await reads.run(lambda connection: _why_not_resume(connection, seen))
        if problem is None:
            return last, b""
        reason = problem
    return await reads.run(lambda connection: snapshot(connection, wanted, reason, brief=query.brief))


def _why_not_resume(connection: Connection, last: int) -> str | None:
    oldest, newest = oldest_event_id(connection), newest_event_id(connection)
    if was_restored_after(connection, last):
        return f"the database was restored from a backup after event {last}"
    if last > newest:
        return f"there is no event {last} yet: the number is of another installation"
    if last < newest and (oldest is None or last < oldest - 1):
        return f"what came after event {last} is no longer kept"
    if newest - last > _FURTHEST_BEHIND:
        return f"more than {_FURTHEST_BEHIND} events came after event {last}"
    return None
