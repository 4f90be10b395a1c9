"""Messaging of one process: its interface, and messages within the process itself.

Over RabbitMQ it is `service/amqp_messaging.py`; the parts of a process are given one of both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from dramatiq import Broker, Worker

from actors.actors import Actors
from actors.message_spans import MessageSpans
from broker.in_process import InProcessBroker, InProcessTransport, Replies
from broker.outbox_relay import OutboxRelay
from broker.queue_states import State
from db.database import Database
from db.unit_of_work import forget_unpublished
from messages.commands import CommandTransport
from messages.queues import CANCEL_RUNS, Call
from service.lifecycle import Part
from service.periodic_thread import LOOK_S, PeriodicThread
from tracing.tracer import NULL_TRACER, Tracer

if TYPE_CHECKING:
    from actors.coordinator.coordinator import Coordinator
    from actors.worker.dependencies import WorkerDependencies
    from actors.worker.worker import StepWorker

# Threads that carry out messages.
_THREADS: Final = 8
_STOP_MS: Final = 20_000
# How soon an idle thread notices that it shall stop.
_WAKE_UP_MS: Final = 200


class Messaging(Protocol):
    """Messages of one process: its broker and actors, and what they need to be started and stopped.

    The coordinator and the worker, where the process has them, are declared before the parts are taken.
    """

    @property
    def broker(self) -> Broker:
        """The broker that the actors are declared on."""

    @property
    def checks(self) -> Mapping[str, Callable[[], str | None]]:
        """Checks for readiness by name; each returns a reason, None without one, and may block."""

    def declare_coordinator(self, coordinator: Coordinator) -> None:
        """Have the coordinator's messages carried out."""

    def declare_worker(self, worker: StepWorker, tools: WorkerDependencies, report: Callable[[], None]) -> None:
        """Have the worker's messages carried out; `report` has this process reported at once."""

    def publish(self, calls: Sequence[Call]) -> Future[None]:
        """Begin to publish messages; an error of the future means that they are to be published again."""

    def command_transport(self, timeout_s: float) -> CommandTransport:
        """Return a transport of commands to the coordinator; an answer is waited for `timeout_s` seconds."""

    def queue_states(self) -> Mapping[str, State] | None:
        """Ask the broker for the states of the queues, which may block for seconds; None: there is no RabbitMQ.

        Raises:
            BrokerUnavailableError: It does not answer.
        """

    def ask_worker(self, worker: str, *, drain: bool) -> int | None:
        """Have a worker drain, or take runs again, and return how many it works on; None: there is no RabbitMQ.

        Blocks for seconds.

        Raises:
            BrokerUnavailableError: The broker does not answer.
            ControlError: The worker does not.
        """

    def connection_parts(self) -> list[Part]:
        """Return the parts that are started first."""

    def event_parts(self) -> list[Part]:
        """Return the parts that publish events."""


class InProcessMessaging:
    """Messages within one process; it has all parts of the installation."""

    def __init__(self, database: Database, tracer: Tracer = NULL_TRACER) -> None:
        self._database = database
        self.broker = InProcessBroker()
        if tracer.is_on:
            self.broker.add_middleware(MessageSpans(tracer))
        self.actors = Actors(self.broker)
        self._worker: StepWorker | None = None
        self.checks: Mapping[str, Callable[[], str | None]] = {}
        self._replies = Replies()

    def declare_coordinator(self, coordinator: Coordinator) -> None:
        """Have the coordinator's messages carried out."""
        self.actors.declare_coordinator(
            coordinator, lambda address, answer: self._replies.deliver(address.mark, answer)
        )

    def declare_worker(self, worker: StepWorker, tools: WorkerDependencies, report: Callable[[], None]) -> None:
        """Have the worker's messages carried out."""
        del tools, report
        self._worker = worker
        self.actors.declare_worker(worker)

    def publish(self, calls: Sequence[Call]) -> Future[None]:
        """Put messages on their queues; the future has ended."""
        for call in calls:
            if call.actor != CANCEL_RUNS:
                self.actors.publish(call)
            elif self._worker is not None:
                self._worker.look_for_cancelled()
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def command_transport(self, timeout_s: float) -> CommandTransport:
        """Return a transport of commands to the coordinator; an answer is waited for `timeout_s` seconds."""
        return InProcessTransport(self.actors.send_command, self._replies, timeout_s)

    def queue_states(self) -> None:
        """Return nothing: there are no queues to look at."""

    def ask_worker(self, worker: str, *, drain: bool) -> None:
        """Ask nothing: a process that does everything never drains."""

    def connection_parts(self) -> list[Part]:
        """Return the part that forgets messages and events of the process before: the plan makes messages again."""

        def forget() -> None:
            with self._database.write() as connection:
                forget_unpublished(connection)

        return [Part(name="unpublished", start=forget)]

    def event_parts(self) -> list[Part]:
        """Return no parts: no exchange takes events."""
        return []


def dramatiq_part(broker: Broker) -> Part:
    """Return the threads that carry out the messages of a broker's queues."""
    worker = Worker(broker, worker_threads=_THREADS, worker_timeout=_WAKE_UP_MS)
    return Part(name="dramatiq", start=worker.start, stop=partial(worker.stop, timeout=_STOP_MS))


def relay_part(relay: OutboxRelay) -> Part:
    """Return the thread of an outbox relay; when it has stopped, messages are published or left in the outbox."""
    thread = PeriodicThread("outbox-relay", relay.relay, LOOK_S)
    relay.wake = thread.wake

    def stop() -> None:
        relay.hurry()
        thread.stop()
        relay.stop()

    return Part(name=thread.name, start=thread.start, stop=stop)
