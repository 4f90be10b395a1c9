"""The Dramatiq actors: each takes one short message and calls the part that does the work.

Messages only make the work run sooner. None is retried by Dramatiq: what is to be done again is decided from the
database.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any

import dramatiq
import structlog
from dramatiq import Actor, Broker

from actors.message_spans import trace_options
from db.errors import DatabaseUnavailableError
from messages.commands import Answer, Command, ReplyAddress
from messages.queues import QUEUE_OF, WORKER_QUEUES, Call

if TYPE_CHECKING:
    from actors.coordinator.coordinator import Coordinator
    from actors.worker.worker import StepWorker

_log = structlog.get_logger(__name__)

Reply = Callable[[ReplyAddress, Answer], None]


class Actors:
    """The actors of one process, by name."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._by_name: dict[str, Actor[..., Any]] = {}
        # Whether a call of the coordinator is on its queue and not taken yet.
        self._is_coordinator_called = False
        self._calling = Lock()

    def _declare(self, name: str, work: Callable[..., Any]) -> None:
        declare = dramatiq.actor(actor_name=name, queue_name=QUEUE_OF[name], broker=self._broker)
        self._by_name[name] = declare(work)

    def declare_coordinator(self, coordinator: Coordinator, reply: Reply) -> None:
        """Declare what one coordinator at a time consumes; `reply` answers the caller."""

        def execute_command(document: dict[str, Any], reply_to: str | None = None, mark: str | None = None) -> None:
            try:
                command = Command.model_validate(document)
                answer = coordinator.execute(command, is_awaited=reply_to != "")
                address = ReplyAddress(
                    command_id=command.id, queue=reply_to, mark=mark, traceparent=command.traceparent
                )
                reply(address, answer)
            except Exception:  # noqa: BLE001 - Dramatiq would log the arguments, the sealed password among them
                _log.exception("command.unanswered")

        def coordinate() -> None:
            with self._calling:
                self._is_coordinator_called = False
            with _left_to_loops():
                coordinator.coordinate()

        self._declare("execute_command", execute_command)
        self._declare("coordinate", coordinate)

    def declare_worker(self, worker: StepWorker, queues: Collection[str] = WORKER_QUEUES) -> None:
        """Declare what workers compete for, as far as it comes by one of `queues`."""

        def inspect_site(run_id: int) -> None:
            with _left_to_loops():
                worker.inspect(run_id)

        def stage_content(run_id: int) -> None:
            with _left_to_loops():
                worker.start_playbook(run_id)

        def prepare_release(run_id: int) -> None:
            with _left_to_loops():
                worker.start_playbook(run_id)

        for work in (inspect_site, stage_content, prepare_release):
            if QUEUE_OF[work.__name__] in queues:
                self._declare(work.__name__, work)

    def send_command(self, command: Command, request_id: str) -> None:
        """Put a command on the coordinator's queue; its answer carries `request_id`."""
        self._by_name["execute_command"].send(command.model_dump(mode="json"), None, request_id)

    def publish(self, call: Call) -> None:
        """Put a message on the queue of its actor, unless it is one to the coordinator and another is there already.

        Raises:
            KeyError: No such actor was declared in this process.
        """
        if call.actor == "coordinate":
            with self._calling:
                if not self._is_coordinator_called:
                    self._send(call)
                    self._is_coordinator_called = True
        else:
            self._send(call)

    def _send(self, call: Call) -> None:
        args = () if call.argument is None else (call.argument,)
        self._by_name[call.actor].send_with_options(args=args, **trace_options(call.trace))


@contextmanager
def _left_to_loops() -> Iterator[None]:
    """Take a message for done though the database is away: the loops find its work when the database is back.

    Else a long outage would leave a dead letter for each message.
    """
    try:
        yield
    except DatabaseUnavailableError as error:
        _log.warning("message.left-to-loops", reason=error.reason)
