"""Sends events to webhooks: first tries one after the other in the order of events, further tries beside them.

Runs on an event loop of its own; the database is read and written in threads, once a round for all webhooks. At least
once: a delivery that was sent and not recorded when a process died is sent again, under the same `webhook-id`.
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

from db.encryption import Sealer
from db.errors import DatabaseUnavailableError, UnsealingError
from db.read_queries import Row
from db.webhook_deliveries import Cause, DeliveryState, Tried
from webhooks.http_client import AT_ONCE, WebhookClient
from webhooks.repository import DueDeliveries, WebhookRepository
from webhooks.retry_policy import Reply, decide
from webhooks.signing import open_secrets, signed_request

_log = structlog.get_logger(__name__)

# Pauses between two polls, in seconds: with webhooks, and without any.
_PAUSE_S: Final = 0.5
_IDLE_PAUSE_S: Final = 2.0
# Seconds after a poll in which tries may still begin. They end before the claim does: a poll extends it to 30 s, and a
# try takes 11 s at most.
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
    """Sends for the webhooks that the repository claims; see the module. Used on one event loop, once."""

    def __init__(
        self,
        repository: WebhookRepository,
        sealer: Sealer,
        client: WebhookClient,
        metrics: SendMetrics | None = None,
        *,
        chance: Callable[[], float] = random,
    ) -> None:
        self._repository = repository
        self._sealer = sealer
        self._client = client
        self._metrics = metrics
        self._chance = chance
        self._installation = ""
        self._places = asyncio.Semaphore(AT_ONCE)
        self._woken = asyncio.Event()
        self._due = DueDeliveries()
        self._may_begin_until = 0.0
        # Results of tries that are not stored yet.
        self._tried: list[Tried] = []
        # Webhooks among them that are to be disabled.
        self._gone: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        # Webhooks whose first tries are in hand, and other deliveries in hand, by webhook.
        self._lanes: set[int] = set()
        self._busy: defaultdict[int, set[int]] = defaultdict(set)

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop`; a poll that fails is logged, and the next one follows."""
        ended = asyncio.create_task(stop.wait())
        failures = 0
        async with self._client:
            while not stop.is_set():
                try:
                    await self.poll()
                    failures = 0
                except Exception as error:  # noqa: BLE001 - the top of a task
                    failures += 1
                    _log_failure(error, failures)
                await self._pause(ended, _PAUSE_S if self._due.held and not failures else _IDLE_PAUSE_S)
            await self._end()

    async def poll(self) -> None:
        """Store results of tries, read due deliveries, and begin to send them."""
        if not self._installation:
            self._installation = await asyncio.to_thread(self._repository.installation)
        began_at = monotonic()
        tries = self._tried[:]
        busy = {webhook: frozenset(ids) for webhook, ids in self._busy.items()}
        self._due = await asyncio.to_thread(self._repository.poll, tries, frozenset(self._lanes), busy)
        del self._tried[: len(tries)]
        self._gone = {one.webhook_id for one in self._tried if one.disable}
        self._may_begin_until = began_at + _MAY_BEGIN_S
        for webhook_id, rows in self._due.in_order.items():
            if rows:
                self._lanes.add(webhook_id)
                self._begin(self._send_in_order(self._due.held[webhook_id], rows))
        for webhook_id, rows in self._due.again.items():
            for row in rows:
                self._busy[webhook_id].add(row["id"])
                self._begin(self._send_again(self._due.held[webhook_id], row))

    async def settle(self, longest_s: float | None = None) -> None:
        """Wait for tries in hand, and store their results; those that take longer are cancelled and sent again."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=longest_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._tried:
            tries = self._tried[:]
            await asyncio.to_thread(self._repository.record, tries)
            del self._tried[: len(tries)]

    async def _end(self) -> None:
        self._may_begin_until = 0.0
        try:
            await self.settle(_STOP_S)
            await asyncio.to_thread(self._repository.release)
        except Exception as error:  # noqa: BLE001 - the claim ends by itself, and results that are not stored are sent again
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
        """Return the webhook `read` as it is now; None when deliveries that were read with it must not be sent."""
        webhook = self._due.held.get(read["id"])
        if webhook is None or webhook["id"] in self._gone or monotonic() >= self._may_begin_until:
            return None
        # After a change, such as disabling and enabling it, other rows may be open: they are read anew.
        return webhook if webhook["updated_at"] == read["updated_at"] else None

    async def _send(self, read: Row, row: Row) -> None:
        """Try a delivery that was read with a webhook once, if this process still may."""
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
                reply = await self._client.post(webhook["url"], headers, body)
            except Exception as error:  # noqa: BLE001 - without a note it would be tried again at once, for ever
                reply = _broken(error)
        self._note(webhook, row, self._result(row, reply))

    def _result(self, row: Row, reply: Reply) -> Tried:
        decision = decide(reply, row["attempts"], self._chance())
        return Tried(
            delivery_id=row["id"],
            webhook_id=row["webhook_id"],
            attempts=row["attempts"],
            state=decision.state,
            delay_s=decision.delay_s,
            status=reply.status,
            error=decision.error,
            took_s=reply.took_s,
            at=datetime.now(UTC),
            disable=decision.disable,
        )

    def _note(self, webhook: Row, row: Row, tried: Tried) -> None:
        self._tried.append(tried)
        if tried.disable:
            self._gone.add(row["webhook_id"])
        if self._metrics is not None:
            self._metrics.webhook_tried("retried" if tried.state is DeliveryState.PENDING else tried.state)
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
    """Return the result of a delivery that is given up without a try."""
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
    """Return the reply of a try that a bug ended."""
    # Without the error's text, which may hold the URL.
    _log.error("webhook.broke", fault=type(error).__name__, stack="".join(format_tb(error.__traceback__)))
    return Reply(status=None, error=f"The try could not be made ({type(error).__name__}).")


def _log_failure(error: Exception, failures: int) -> None:
    if failures > 1:
        _log.warning("webhooks.still-failing", failures=failures, fault=type(error).__name__)
    elif isinstance(error, DatabaseUnavailableError):
        _log.warning("webhooks.failed", reason=str(error))
    else:
        _log.error("webhooks.failed", exc_info=error)
