"""Sends events to webhooks: first tries one after the other in the order of events, further tries beside them.

Runs on an event loop of its own; the database is read and written in threads, once a round for all webhooks. At least
once: what was sent and not written down when a process died is sent again, under the same `webhook-id`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from random import random
from time import monotonic
from traceback import format_tb
from typing import Any, Final, Protocol

import structlog

from db.encryption import Sealer, UnsealingError
from db.read_queries import Row
from db.unavailable import DatabaseUnavailableError
from db.webhook_deliveries import Cause, DeliveryState, Tried
from webhooks.http_client import AT_ONCE, Receivers
from webhooks.repository import DueDeliveries, WebhookRepository
from webhooks.retry_policy import Reply, judge
from webhooks.signing import open_secrets, signed_request

_log = structlog.get_logger(__name__)

# Pauses between two looks, in seconds: with webhooks, and without any.
_PAUSE_S: Final = 0.5
_IDLE_PAUSE_S: Final = 2.0
# How long after a look something may still be begun, in seconds. It ends before the claim does: a claim lasts for 30
# more at each look, and a try takes 11 at most.
_MAY_BEGIN_S: Final = 15.0
# How long tries in hand may take when this process stops, in seconds.
_STOP_S: Final = 3.0

FORGOTTEN: Final = "The event is no longer kept, see PRESTAGER_RETENTION_DAYS."
NO_SECRET: Final = (
    "Its secret cannot be opened or is none: it was sealed with another key, source, id or user."  # noqa: S105 - text
    " Set it anew and enable it."
)


class SendMetrics(Protocol):
    """Counts tries. Quick, and never raises."""

    def webhook_tried(self, outcome: str) -> None:
        """Count one try: delivered, retried, failed."""


class WebhookSender:
    """Sends for the webhooks that the book gives it; see the module. Used on one event loop, once."""

    def __init__(
        self,
        book: WebhookRepository,
        sealer: Sealer,
        receivers: Receivers,
        meters: SendMetrics | None = None,
        *,
        chance: Callable[[], float] = random,
    ) -> None:
        self._book = book
        self._sealer = sealer
        self._receivers = receivers
        self._meters = meters
        self._chance = chance
        self._installation = ""
        self._places = asyncio.Semaphore(AT_ONCE)
        self._woken = asyncio.Event()
        self._work = DueDeliveries()
        self._may_begin_until = 0.0
        # What came of tries and is not written down yet.
        self._tried: list[Tried] = []
        # Webhooks among them that want nothing more.
        self._gone: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        # Webhooks whose first tries are in hand, and other deliveries in hand, by webhook.
        self._lanes: set[int] = set()
        self._busy: defaultdict[int, set[int]] = defaultdict(set)

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop`; a look that fails is logged, and the next one comes."""
        ended = asyncio.create_task(stop.wait())
        failures = 0
        async with self._receivers:
            while not stop.is_set():
                try:
                    await self.look()
                    failures = 0
                except Exception as error:  # noqa: BLE001 - the top of a task
                    failures += 1
                    _tell_failure(error, failures)
                await self._pause(ended, _PAUSE_S if self._work.held and not failures else _IDLE_PAUSE_S)
            await self._end()

    async def look(self) -> None:
        """Write down what was tried, see what is to be done, and begin it."""
        if not self._installation:
            self._installation = await asyncio.to_thread(self._book.installation)
        began_at = monotonic()
        tries = self._tried[:]
        busy = {webhook: frozenset(ids) for webhook, ids in self._busy.items()}
        self._work = await asyncio.to_thread(self._book.look, tries, frozenset(self._lanes), busy)
        del self._tried[: len(tries)]
        self._gone = {one.webhook_id for one in self._tried if one.disable}
        self._may_begin_until = began_at + _MAY_BEGIN_S
        for webhook_id, rows in self._work.in_order.items():
            if rows:
                self._lanes.add(webhook_id)
                self._begin(self._send_in_order(self._work.held[webhook_id], rows))
        for webhook_id, rows in self._work.again.items():
            for row in rows:
                self._busy[webhook_id].add(row["id"])
                self._begin(self._send_again(self._work.held[webhook_id], row))

    async def settle(self, longest_s: float | None = None) -> None:
        """Wait for what is in hand, and write down what came of it; what takes longer is let go and sent anew."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=longest_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._tried:
            tries = self._tried[:]
            await asyncio.to_thread(self._book.record, tries)
            del self._tried[: len(tries)]

    async def _end(self) -> None:
        self._may_begin_until = 0.0
        try:
            await self.settle(_STOP_S)
            await asyncio.to_thread(self._book.release)
        except Exception as error:  # noqa: BLE001 - the claim ends by itself, and what is not written down is sent anew
            _log.warning("webhooks.not-released", fault=type(error).__name__)

    async def _pause(self, ended: asyncio.Task[Any], longest_s: float) -> None:
        woken = asyncio.create_task(self._woken.wait())
        await asyncio.wait({ended, woken}, timeout=longest_s, return_when=asyncio.FIRST_COMPLETED)
        woken.cancel()
        with suppress(asyncio.CancelledError):
            await woken
        self._woken.clear()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._woken.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("webhook.broke", exc_info=error)

    async def _send_in_order(self, read: Row, rows: Sequence[Row]) -> None:
        try:
            for row in rows:
                await self._send(read, row)
        finally:
            self._lanes.discard(read["id"])

    async def _send_again(self, read: Row, row: Row) -> None:
        webhook_id = read["id"]
        try:
            await self._send(read, row)
        finally:
            self._busy[webhook_id].discard(row["id"])
            if not self._busy[webhook_id]:
                del self._busy[webhook_id]

    def _now(self, read: Row) -> Row | None:
        """Return the webhook `read` as it is now; None when nothing that was read with it may be sent any more."""
        webhook = self._work.held.get(read["id"])
        if webhook is None or webhook["id"] in self._gone or monotonic() >= self._may_begin_until:
            return None
        # Of one that somebody changed, disabled and enabled it say, other rows may be open: they are read anew.
        return webhook if webhook["updated_at"] == read["updated_at"] else None

    async def _send(self, read: Row, row: Row) -> None:
        """Try once what was read with a webhook, if this process still may."""
        async with self._places:
            webhook = self._now(read)
            if webhook is None:
                return
            if row["cause"] != Cause.PING and row["event"] is None:
                self._note(webhook, row, _ended(row, FORGOTTEN))
                return
            try:
                secrets = open_secrets(self._sealer, webhook)
            except (UnsealingError, ValueError):
                self._note(webhook, row, _ended(row, NO_SECRET, disable=NO_SECRET))
                return
            try:
                headers, body = signed_request(self._installation, webhook, row, secrets)
                reply = await self._receivers.post(webhook["url"], headers, body)
            except Exception as error:  # noqa: BLE001 - without a note it would be tried again at once, for ever
                reply = _broken(error)
        self._note(webhook, row, self._judged(row, reply))

    def _judged(self, row: Row, reply: Reply) -> Tried:
        verdict = judge(reply, row["attempts"], self._chance())
        return Tried(
            delivery_id=row["id"],
            webhook_id=row["webhook_id"],
            attempts=row["attempts"],
            state=verdict.state,
            delay_s=verdict.delay_s,
            status=reply.status,
            error=verdict.error,
            took_s=reply.took_s,
            at=datetime.now(UTC),
            disable=verdict.disable,
        )

    def _note(self, webhook: Row, row: Row, tried: Tried) -> None:
        self._tried.append(tried)
        if tried.disable:
            self._gone.add(row["webhook_id"])
        if self._meters is not None:
            self._meters.webhook_tried("retried" if tried.state is DeliveryState.PENDING else tried.state)
        # Never the URL, which may hold a token.
        log = _log.debug if tried.state is DeliveryState.DELIVERED else _log.info
        log(
            "webhook.tried",
            webhook=webhook["name"],
            delivery=row["id"],
            event_id=row["event_id"],
            outcome=str(tried.state),
            attempts=row["attempts"] + 1,
            fault=tried.error or None,
        )


def _ended(row: Row, error: str, *, disable: str = "") -> Tried:
    """Return what is given up without a try."""
    return Tried(
        delivery_id=row["id"],
        webhook_id=row["webhook_id"],
        attempts=row["attempts"],
        state=DeliveryState.FAILED,
        delay_s=None,
        status=None,
        error=error,
        took_s=None,
        at=datetime.now(UTC),
        disable=disable,
    )


def _broken(error: Exception) -> Reply:
    """Return what comes of a try that a bug ended."""
    # Without the error's text, which may hold the URL.
    _log.error("webhook.broke", fault=type(error).__name__, stack="".join(format_tb(error.__traceback__)))
    return Reply(status=None, fault=f"The try could not be made ({type(error).__name__}).")


def _tell_failure(error: Exception, failures: int) -> None:
    if failures > 1:
        _log.warning("webhooks.still-failing", failures=failures, fault=type(error).__name__)
    elif isinstance(error, DatabaseUnavailableError):
        _log.warning("webhooks.failed", reason=str(error))
    else:
        _log.error("webhooks.failed", exc_info=error)
