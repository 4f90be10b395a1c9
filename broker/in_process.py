"""The in-process transport: Dramatiq messages in memory, for an installation of one process.

Nothing here is durable and nothing needs to be: work that was lost with the process is planned again from the
database. Never use it across processes.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from queue import Empty, Queue
from threading import Lock, Semaphore
from typing import Any, Final
from uuid import uuid4

import structlog
from dramatiq import Consumer, Message, MessageProxy
from dramatiq.brokers.stub import StubBroker
from dramatiq.errors import DecodeError, QueueNotFound

from messages.commands import Answer, Command
from messages.errors import NoAnswerInTimeError, TransportUnavailableError

_log = structlog.get_logger(__name__)

# Dead letters kept for inspection, per queue; Dramatiq's own list grows without bound.
_DEAD_LETTERS_KEPT: Final = 100
# Requests that may wait for an answer at once; a request above that is refused.
_WAITING_REQUESTS: Final = 1000


class InProcessBroker(StubBroker):
    """Dramatiq's in-memory broker, with bounded dead letters and a consumer that survives a bad message."""

    def __init__(self) -> None:
        super().__init__(middleware=[])
        self.dead_letters_by_queue: Any = defaultdict(lambda: deque(maxlen=_DEAD_LETTERS_KEPT))

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 100) -> Consumer:
        """Return a consumer of a declared queue.

        Raises:
            QueueNotFound: The queue was never declared.
        """
        if queue_name not in self.queues:
            raise QueueNotFound(queue_name)  # type: ignore[no-untyped-call]
        return _InProcessConsumer(self.queues[queue_name], self.dead_letters_by_queue[queue_name], prefetch, timeout)


class _InProcessConsumer(Consumer):
    def __init__(self, queue: Queue[bytes], dead: deque[Any], prefetch: int, timeout_ms: int) -> None:
        self._queue = queue
        self._dead = dead
        self._timeout_s = timeout_ms / 1000
        self._places = Semaphore(prefetch)

    def ack(self, message: MessageProxy) -> None:
        del message
        self._queue.task_done()
        self._places.release()

    def nack(self, message: MessageProxy) -> None:
        message.clear_exception()
        self._dead.append(message)
        self._queue.task_done()
        self._places.release()

    def __next__(self) -> MessageProxy | None:
        if not self._places.acquire(timeout=self._timeout_s):
            return None
        try:
            return MessageProxy(Message.decode(self._queue.get(timeout=self._timeout_s)))
        except Empty:
            self._places.release()
            return None
        except DecodeError:
            # Raised further, it would end the consumer and with it the queue.
            _log.exception("message.unreadable")
            self._queue.task_done()
            self._places.release()
            return None


class Replies:
    """Passes answers from actor threads to the event loops that wait for them.

    Answers are matched by request and not by command: two requests may use one command id with different content, and
    each gets its own answer.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: dict[str, tuple[asyncio.AbstractEventLoop, asyncio.Future[Answer]]] = {}

    def expect(self, request_id: str) -> asyncio.Future[Answer]:
        """Return a future of the running loop that gets the answer of one request.

        Raises:
            TransportUnavailableError: Too many requests wait already.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        with self._lock:
            if len(self._waiting) >= _WAITING_REQUESTS:
                raise TransportUnavailableError
            self._waiting[request_id] = (loop, future)
        return future

    def give_up(self, request_id: str) -> None:
        """Stop waiting; an answer that comes later is dropped. Repeating it does nothing."""
        with self._lock:
            self._waiting.pop(request_id, None)

    def deliver(self, request_id: str | None, answer: Answer) -> None:
        """Hand the answer to the request that waits for it; an answer that no request waits for is dropped."""
        with self._lock:
            waiting = self._waiting.pop(request_id or "", None)
        if waiting is not None:
            loop, future = waiting
            loop.call_soon_threadsafe(_resolve, future, answer)


def _resolve(future: asyncio.Future[Answer], answer: Answer) -> None:
    if not future.done():
        future.set_result(answer)


class InProcessTransport:
    """Carries commands to the coordinator of the same process; see `messages.commands.CommandTransport`.

    `send` puts the command with the id of its request on the coordinator's queue; `timeout_s` is how long an answer is
    waited for.
    """

    def __init__(self, send: Callable[[Command, str], object], replies: Replies, timeout_s: float) -> None:
        self._send = send
        self._replies = replies
        self._timeout_s = timeout_s

    async def request(self, command: Command) -> Answer:
        """Return the coordinator's answer.

        Raises:
            TransportUnavailableError: Too many requests wait; nothing was handed over.
            NoAnswerInTimeError: Handed over, not answered in time.
        """
        request_id = str(uuid4())
        future = self._replies.expect(request_id)
        try:
            self._send(command, request_id)
            return await asyncio.wait_for(future, self._timeout_s)
        except TimeoutError as error:
            raise NoAnswerInTimeError from error
        finally:
            self._replies.give_up(request_id)

    async def close(self) -> None:
        """Do nothing: there is no connection."""
