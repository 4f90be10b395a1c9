"""Output of a step or of one run, at once or followed, and the list of a step's runs. Not of dcmanager's API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from time import monotonic
from typing import Final

import structlog
from aiohttp import web
from sqlalchemy import Connection

from api.context import SERVICES
from api.database_reader import DATABASE_ERRORS, Read
from api.errors import RETRY_AFTER, ApiError
from api.responses import database_response, encode, encode_page
from api.stream.serving import TOKEN_S, is_still_known, send, serve, stream_headers
from api.stream.tail import LogPosition, LogTail, RunTail, header
from api.validation import not_found, path_number, path_ref, read_query, step_not_found
from db import read_queries
from db.run_output import PhaseOutput, ends_of, outputs, phase_run, runs_of_step, text_after
from messages.requests.queries import FollowQuery, LogQuery, PageQuery, StepLogQuery
from messages.step_serializers import run_resource

_log = structlog.get_logger(__name__)

_NO_RUN: Final = "Run not found; it may have been removed with the history"
# Most followers of one process; each is a connection.
_MOST: Final = 100
# Pause between two looks, in seconds.
_PAUSE_S: Final = 0.5
# Pauses between two looks for a run that begins, in seconds; longer and longer while none does.
_SHORTEST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 4.0
# Longest time without output, in seconds: proxies close silent connections, that of the installation after 90 s.
_SILENCE_S: Final = 60.0


class LogFollowers:
    """The followers of logs in this process: counted, woken by new output of their runs, and ended at the stop."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._count = 0
        self._closing = asyncio.Event()
        self._wanted: set[int] = set()
        self._looking: asyncio.Task[Mapping[int, int | None]] | None = None

    @contextmanager
    def place(self) -> Iterator[None]:
        """Count one follower, within a `with` block.

        Raises:
            ApiError: 503; there are too many.
        """
        if self._count >= _MOST:
            detail = "Too many follow logs already; try again later."
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, detail, RETRY_AFTER)
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    @property
    def count(self) -> int:
        """Number of followers."""
        return self._count

    @property
    def is_closing(self) -> bool:
        """Whether the service stops."""
        return self._closing.is_set()

    async def has_news(self, run_id: int, seen_bytes: int) -> bool:
        """Wait for the next look; return whether a run has printed more than its first `seen_bytes` bytes, or ended."""
        self._wanted.add(run_id)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        # Shared: a follower that hangs up must not cancel it for the others.
        ends = await asyncio.shield(self._looking)
        end = ends.get(run_id, seen_bytes)
        return end is None or end > seen_bytes

    async def _look(self) -> Mapping[int, int | None]:
        await self.pause(_PAUSE_S)
        wanted, self._wanted, self._looking = self._wanted, set(), None
        if self.is_closing:
            return {}
        try:
            return await self._read(lambda connection: ends_of(connection, wanted))
        except DATABASE_ERRORS:
            _log.warning("log.store-away")
            return {}

    async def pause(self, seconds: float) -> None:
        """Wait for a number of seconds, or until the service stops."""
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return

    def close(self) -> None:
        """End all followers."""
        self._closing.set()


LOG_FOLLOWERS: Final = web.AppKey("log-followers", LogFollowers)


async def show_log(request: web.Request) -> web.StreamResponse:
    """Show what the newest run of one phase printed so far, or of all phases one after the other.

    With `follow` it goes on with what is printed from now on. Serves the step that started last, of any strategy or
    standalone, and for a phase the last that has it: details of past steps point here too.
    """
    name = path_ref(request, step_not_found())
    phase = read_query(LogQuery, request, HTTPStatus.NOT_FOUND).phase

    if read_query(StepLogQuery, request).follow:
        return await _follow(request, name, phase)

    def read(connection: Connection) -> bytes:
        step = read_queries.latest_step(connection, name, phase)
        if step is None:
            raise step_not_found()
        return _render_log(outputs(connection, step, phase), name, phase)

    text = await request.app[SERVICES].reads.run(read)
    return web.Response(body=text, content_type="text/plain", charset="utf-8")


async def _follow(request: web.Request, name: str, phase: str | None) -> web.StreamResponse:
    """Send the output of the step of a subcloud, or of one phase of it, until it has ended.

    Raises:
        ApiError: 404 without a step; 503 when too many follow, or the database does not answer.
    """

    def find(connection: Connection) -> LogTail:
        step = read_queries.step_to_follow(connection, name, phase)
        if step is None:
            raise step_not_found()
        return LogTail(step_id=step["id"], phase=phase)

    return await _send_tail(request, find, subcloud=name)


async def _send_tail(
    request: web.Request, find: Callable[[Connection], LogTail | RunTail], *, subcloud: str | None = None
) -> web.StreamResponse:
    """Send what `find` returns, until it has ended.

    Raises:
        ApiError: 503 when too many follow, or the database does not answer; else as `find` does.
    """
    with request.app[LOG_FOLLOWERS].place():
        tail = await request.app[SERVICES].reads.run(find)
        response = web.StreamResponse(headers=stream_headers("text/plain"))
        await response.prepare(request)
        if not await serve(request, response, _LogSender(request, response, tail).run()):
            _log.info("log.follower-gone", subcloud=subcloud, path=request.path)
        return response


async def show_run_log(request: web.Request) -> web.StreamResponse:
    """Show what one run has printed, of any step, attempt or strategy, as long as it is kept.

    With `follow` it goes on with what is printed from now on, and ends with the outcome of the run.
    """
    run_id = path_number(request, "ref", not_found(_NO_RUN))
    if read_query(FollowQuery, request).follow:

        def find(connection: Connection) -> RunTail:
            if phase_run(connection, run_id) is None:
                raise not_found(_NO_RUN)
            return RunTail(run_id=run_id)

        return await _send_tail(request, find)

    def read(connection: Connection) -> bytes:
        run = phase_run(connection, run_id)
        if run is None:
            raise not_found(_NO_RUN)
        if not run.has_text:
            raise not_found(f"Run {run_id} has not printed anything")
        return text_after(connection, run, 0).content

    text = await request.app[SERVICES].reads.run(read)
    return web.Response(body=text, content_type="text/plain", charset="utf-8")


async def show_runs(request: web.Request) -> web.Response:
    """Show the runs of one step, of any strategy or standalone, in the order in which they were handed out."""
    step_id = path_number(request, "ref", step_not_found())
    page = read_query(PageQuery, request)

    def read(connection: Connection) -> bytes:
        step = read_queries.step_by_id(connection, step_id)
        if step is None:
            raise step_not_found()
        rows = runs_of_step(connection, step, after=page.marker or 0, limit=page.limit)
        items = [encode(run_resource(row, step, read_queries.worker_name(row["owner"]))) for row in rows]
        return encode_page(request, "runs", items, last=rows[-1]["id"] if rows else None, limit=page.limit)

    return await database_response(request, read)


class _LogSender:
    """Sends the output of one step or run to one follower."""

    def __init__(self, request: web.Request, response: web.StreamResponse, tail: LogTail | RunTail) -> None:
        self._request = request
        self._response = response
        self._tail = tail
        self._position = LogPosition()
        self._sent_at = self._token_seen_at = monotonic()
        self._pause_s = _SHORTEST_PAUSE_S

    async def run(self) -> None:
        """Send until it has ended, or until there is a reason to stop.

        Raises:
            ConnectionError: The follower hung up.

            TimeoutError: It reads too slowly.
        """
        is_due = True
        while (reason := await self._stop_reason()) is None:
            if is_due:
                await self._look()
            if self._position.is_over:
                return
            if monotonic() >= self._sent_at + _SILENCE_S:
                await self._send_line(f"[... nothing new for {_SILENCE_S:g} s ...]")
            is_due = await self._wait()
        await self._send_line(f"=== {reason} ===")

    async def _wait(self) -> bool:
        """Wait a little; return whether there may be new output."""
        followers = self._request.app[LOG_FOLLOWERS]
        if not self._position.is_ended:
            return await followers.has_news(self._position.place[1], self._position.seen_bytes)
        await followers.pause(self._pause_s)
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        return True

    async def _look(self) -> None:
        position = self._position
        try:
            content, position = await self._request.app[SERVICES].reads.run(
                lambda connection: self._tail.after(connection, position)
            )
        except DATABASE_ERRORS:
            # Output of this time is kept in it, or at the worker.
            _log.warning("log.store-away")
            return
        if content:
            self._pause_s = _SHORTEST_PAUSE_S
            await self._send(content)
        self._position = position

    async def _stop_reason(self) -> str | None:
        """Return the reason to stop; None: there is none."""
        if self._request.app[LOG_FOLLOWERS].is_closing:
            return "the service is stopping; follow again"
        if self._request.transport is None or self._request.transport.is_closing():
            raise ConnectionError
        if monotonic() >= self._token_seen_at + TOKEN_S:
            self._token_seen_at = monotonic()
            if not await is_still_known(self._request):
                return "the token is no longer valid"
        return None

    async def _send_line(self, line: str) -> None:
        """Send a line that is not output of a run."""
        await self._send(f"{'' if self._position.is_line else chr(10)}{line}\n".encode())
        self._position = replace(self._position, is_line=True)

    async def _send(self, content: bytes) -> None:
        await send(self._response, content)
        self._sent_at = monotonic()


def _render_log(found: list[PhaseOutput], name: str, phase: str | None) -> bytes:
    if not found:
        what = f"phase '{phase}'" if phase else "any phase"
        raise ApiError(HTTPStatus.NOT_FOUND, f"There is no output of {what} for subcloud {name} yet")
    return found[0].content if phase else b"".join(map(_with_header, found))


def _with_header(output: PhaseOutput) -> bytes:
    end = b"" if output.content.endswith(b"\n") else b"\n"
    return header(output.run) + output.content + end
