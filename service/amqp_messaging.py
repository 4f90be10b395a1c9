"""Messaging of one process over RabbitMQ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import pika
from dramatiq import Message

from actors.actors import Actors
from actors.message_spans import MessageSpans, in_trace
from broker.amqp.command_transport import AmqpTransport, CommandIngress
from broker.amqp.consumer import Reader
from broker.amqp.dead_letters import keep_dead_letter
from broker.amqp.dramatiq_broker import PrestagerBroker, outgoing, read_envelope
from broker.amqp.errors import BadEnvelopeError, ControlError
from broker.amqp.event_publisher import EventPublisher
from broker.amqp.publisher import Outgoing, Publisher, publish_span, read_trace_header, trace_header
from broker.amqp.topology_check import TopologyCheck
from broker.amqp.worker_control import Hint, HintKind, HintListener, ask_workers, outgoing_hint
from broker.queue_states import State, read_queue_states
from db.database import Database
from messages.commands import CommandTransport
from messages.queues import CANCEL_RUNS, COMMANDS, QUEUE_OF, WORKER_QUEUES, Call, phases_of_queues, queue_of_phase
from service.lifecycle import Part
from service.periodic_thread import PeriodicThread
from tracing.tracer import NULL_TRACER, Span, Tracer

if TYPE_CHECKING:
    from actors.coordinator.coordinator import Coordinator
    from actors.worker.dependencies import WorkerDependencies
    from actors.worker.worker import StepWorker

# Seconds between two looks at the topology, and at the connection.
_RETRY_S: Final = 2.0
# How long each step of a question about the queues may take, in seconds.
_QUEUES_S: Final = 3.0
# Seconds between two looks for events to publish: how late a listener may be.
_EVENTS_S: Final = 0.5


class AmqpMessaging:
    """Messages over RabbitMQ; a broker that is away is waited for in the background.

    Args:
        url: Address of the broker, with password.

        name: Shown by RabbitMQ for the connections.

        source: The `source` of CloudEvents of this installation.
    """

    def __init__(self, database: Database, url: str, *, name: str, source: str, tracer: Tracer = NULL_TRACER) -> None:
        self.source = source
        self._database = database
        self._url = url
        self._name = name
        self._tracer = tracer
        self._publisher = Publisher(url, f"{name} publisher")
        self._ingress = CommandIngress(self._publisher, source, tracer)
        self._topology_check = TopologyCheck(self._publisher)
        self.broker = PrestagerBroker(
            url,
            name,
            self._publisher,
            self._reader,
            self._has_room,
            # Not needed for the first one, but declaring the topology twice at the start costs nothing.
            on_consumer=self._request_topology,
        )
        if tracer.is_on:
            self.broker.add_middleware(MessageSpans(tracer))
        self.checks = {"broker": self.unavailable_reason}
        self._actors = Actors(self.broker)
        self._topology = PeriodicThread("topology", self._topology_check.check, _RETRY_S)
        self._events: PeriodicThread | None = None
        self._worker: StepWorker | None = None

    def declare_coordinator(self, coordinator: Coordinator) -> None:
        """Have the coordinator's messages carried out, and events published."""
        self._actors.declare_coordinator(coordinator, self._ingress.reply)
        publisher = EventPublisher(self._database, self._publisher, self.source)
        self._events = PeriodicThread("events", publisher.publish, _EVENTS_S)

    def declare_worker(self, worker: StepWorker, tools: WorkerDependencies, report: Callable[[], None]) -> None:
        """Have the worker's messages carried out, and hints obeyed; `report` is called after one to drain."""

        def obey(kind: HintKind) -> int:
            if kind == "cancel":
                worker.look_for_cancelled()
                return len(worker.held())
            if kind == "drain":
                worker.drain()
            else:
                worker.undrain()
            # The operator looks at `prestager workers` next.
            report()
            return len(worker.held())

        self._worker = worker
        self._publisher.prepare(HintListener(tools.name, obey).listen)
        self._actors.declare_worker(worker, {queue_of_phase(phase) for phase in tools.phases})

    def publish(self, calls: Sequence[Call]) -> Future[None]:
        """Begin to publish messages; returns at once, and their confirms are waited for together.

        The future ends with a `PublishError` when not all were confirmed; they are published again.
        """
        spans: list[Span] = []
        published = self._publisher.submit([self._outgoing(call, spans) for call in calls])
        if spans:
            published.add_done_callback(partial(_end_spans, spans))
        return published

    def command_transport(self, timeout_s: float) -> CommandTransport:
        """Return a transport of commands to the coordinator; an answer is waited for `timeout_s` seconds."""
        return AmqpTransport(
            self._url, name=f"{self._name} api", source=self.source, timeout_s=timeout_s, tracer=self._tracer
        )

    def queue_states(self) -> Mapping[str, State]:
        """Ask RabbitMQ over a connection of its own, which waits for no other."""
        return read_queue_states(self._url, f"{self._name} queues", timeout_s=_QUEUES_S)

    def ask_worker(self, worker: str, *, drain: bool) -> int:
        """Have a worker drain, or take runs again, and return how many it works on."""
        answers = ask_workers(self._url, Hint(kind="drain" if drain else "undrain", worker=worker))
        if not answers:
            raise ControlError("it did not answer in time; it may have no connection to the broker now")
        return answers[0].running

    def connection_parts(self) -> list[Part]:
        """Return the publisher, the topology, and for a worker what keeps the connection."""
        parts = [
            Part(name="publisher", start=self._publisher.start, stop=self._publisher.stop),
            self._topology.part(),
        ]
        if self._worker is not None:
            # Hints come by the publisher's connection, which without work would not be made again.
            parts.append(PeriodicThread("connection", self._publisher.connect, _RETRY_S).part())
        return parts

    def event_parts(self) -> list[Part]:
        """Return the thread that publishes events; in a process without a coordinator none does."""
        return [] if self._events is None else [self._events.part()]

    def unavailable_reason(self) -> str | None:
        """Ask the broker and return why it cannot be used now; None when it can."""
        return self._publisher.unavailable_reason() or self._topology_check.missing_reason

    def _outgoing(self, call: Call, spans: list[Span]) -> Outgoing:
        if call.actor == CANCEL_RUNS:
            return outgoing_hint(Hint(kind="cancel"))
        queue = QUEUE_OF[call.actor]
        args = () if call.argument is None else (call.argument,)
        message: Message[None] = Message(queue_name=queue, actor_name=call.actor, args=args, kwargs={}, options={})
        if call.trace is None:
            return outgoing(message)
        span = publish_span(self._tracer, queue, call.trace)
        spans.append(span)
        return replace(outgoing(message), headers=trace_header(span.traceparent))

    def _request_topology(self) -> None:
        self._topology_check.request()
        self._topology.wake()

    def _reader(self, broker: PrestagerBroker, queue: str) -> Reader:
        if queue == COMMANDS:
            return self._ingress.read

        def read(method: object, properties: pika.BasicProperties, body: bytes) -> Message[object] | None:
            del method
            # Only those of this queue: what serves another queue expects other arguments.
            served_here = {name for name, actor in broker.actors.items() if actor.queue_name == queue}
            try:
                return in_trace(read_envelope(body, queue, served_here), read_trace_header(properties, self._tracer))
            except BadEnvelopeError as error:
                keep_dead_letter(self._publisher, queue, properties, body, str(error))
                return None

        return read

    def _has_room(self, queue: str) -> bool:
        """Leave work in the queue while it cannot be done: operators see it there, and other workers can take it."""
        if not self._topology_check.may_consume():
            return False
        if self._worker is None or queue not in WORKER_QUEUES:
            return True
        return self._worker.room(phases_of_queues({queue})) > 0


def _end_spans(spans: Sequence[Span], published: Future[None]) -> None:
    error = None if published.cancelled() else published.exception()
    for span in spans:
        if error is not None:
            span.fail(type(error).__name__)
        span.end()
