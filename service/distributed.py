"""Coordinator and worker over RabbitMQ: the same parts as the embedded installation, in one process or in many."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

import pika
from dramatiq import Message

from actors.actors import Actors
from actors.coordinator.coordinator import Coordinator
from actors.message_spans import MessageSpans, in_trace
from actors.worker.dependencies import WorkerDependencies
from actors.worker.worker import StepWorker
from broker.amqp.command_transport import AmqpTransport, CommandIngress
from broker.amqp.consumer import Reader
from broker.amqp.dead_letters import keep_dead_letter
from broker.amqp.dramatiq_broker import PrestagerBroker, outgoing, read_envelope
from broker.amqp.errors import BadEnvelopeError
from broker.amqp.event_publisher import EventPublisher
from broker.amqp.publisher import Outgoing, Publisher, publish_span, read_trace_header, trace_header
from broker.amqp.topology_check import TopologyCheck
from broker.amqp.worker_control import HintKind, HintListener
from broker.outbox_relay import Call, OutboxRelay
from db.database import Database
from db.retention import Retention
from messages.queues import COMMANDS, QUEUE_OF, WORKER_QUEUES, phases_of_queues, queue_of_phase
from runner.interface import Runner
from service.heartbeat import Heartbeat, ReportedProcess
from service.lifecycle import LOOK_S, Engine, EngineRun, WorkerLoops
from service.periodic_thread import PeriodicThread, WebhookSenderThread
from tracing.tracer import NULL_TRACER, Tracer

# Seconds between two looks at the topology, and at the connection.
_RETRY_S: Final = 2.0
# Seconds between two looks for events to publish: how late a listener may be.
_EVENTS_S: Final = 0.5


class AmqpMessages:
    """RabbitMQ as one process sees it; `name` is what RabbitMQ shows of its connections, `source` our CloudEvents'."""

    def __init__(self, url: str, *, name: str, source: str, tracer: Tracer = NULL_TRACER) -> None:
        self.tracer = tracer
        self.url = url
        self.name = name
        self.source = source
        self.publisher = Publisher(url, f"{name} publisher")

    def publish(self, calls: Sequence[Call]) -> None:
        """Publish what the outbox holds, with confirms in flight.

        Raises:
            PublishError: Not all were confirmed; they are published again.
        """
        with ExitStack() as spans:
            self.publisher.publish([self._outgoing(call, spans) for call in calls])

    def _outgoing(self, call: Call, spans: ExitStack) -> Outgoing:
        queue = QUEUE_OF[call.actor]
        args = () if call.argument is None else (call.argument,)
        message: Message[None] = Message(queue_name=queue, actor_name=call.actor, args=args, kwargs={}, options={})
        if call.trace is None:
            return outgoing(message)
        span = spans.enter_context(publish_span(self.tracer, queue, call.trace))
        return replace(outgoing(message), headers=trace_header(span.traceparent))


class AmqpActors:
    """The actors of one process: a coordinator, a worker, both, or for an API alone none."""

    def __init__(  # noqa: PLR0913 - wired in one place
        self,
        database: Database,
        messages: AmqpMessages,
        *,
        relay: PeriodicThread,
        retention: Retention,
        coordinator: Coordinator | None = None,
        tools: WorkerDependencies | None = None,
        webhooks: WebhookSenderThread | None = None,
        process: ReportedProcess | None = None,
    ) -> None:
        self._messages = messages
        self._ingress = CommandIngress(messages.publisher, messages.source, messages.tracer)
        self._topology_check = TopologyCheck(messages.publisher)
        self._broker = PrestagerBroker(
            messages.url,
            messages.name,
            messages.publisher,
            self._reader,
            self._has_room,
            # Not needed for the first one, but declaring the topology twice at the start costs nothing.
            on_consumer=self._request_topology,
        )
        if messages.tracer.is_on:
            self._broker.add_middleware(MessageSpans(messages.tracer))
        actors = Actors(self._broker)
        self._worker = StepWorker(tools) if tools is not None else None
        self._events: PeriodicThread | None = None
        if coordinator is not None:
            actors.declare_coordinator(coordinator, self._ingress.reply)
            publisher = EventPublisher(database, messages.publisher, messages.source)
            self._events = PeriodicThread("events", publisher.publish, _EVENTS_S)
        if self._worker is not None and tools is not None:
            messages.publisher.prepare(HintListener(tools.name, self._obey).listen)
            actors.declare_worker(self._worker, {queue_of_phase(phase) for phase in tools.phases})
        self._heartbeat = Heartbeat(database, process, self._worker) if process is not None else None
        self._engine = Engine(
            database=database,
            broker=self._broker,
            relay=relay,
            coordinator=coordinator,
            retention=retention,
            worker_loops=WorkerLoops(database, self._worker, tools) if self._worker and tools else None,
            webhooks=webhooks,
            heartbeat=self._heartbeat,
        )
        self._topology = PeriodicThread("topology", self._topology_check.check, _RETRY_S)
        self._connection = PeriodicThread("connection", messages.publisher.connect, _RETRY_S)
        self._run: EngineRun | None = None

    @property
    def worker(self) -> StepWorker:
        """Return the worker.

        Raises:
            RuntimeError: This process has none.
        """
        if self._worker is None:
            raise RuntimeError("this process has no worker")
        return self._worker

    def transport(self, timeout_s: float) -> AmqpTransport:
        """Return the transport that brings commands to the coordinator; an answer is waited for `timeout_s` seconds."""
        return AmqpTransport(
            self._messages.url,
            name=f"{self._messages.name} api",
            source=self._messages.source,
            timeout_s=timeout_s,
            tracer=self._messages.tracer,
        )

    @property
    def broker(self) -> PrestagerBroker:
        """Return the broker that the actors are declared on."""
        return self._broker

    def start(self, runner: Runner | None, *, consume: bool = True) -> None:
        """Begin; a broker that is away is waited for in the background. See `Engine.start` for `consume`."""
        self._messages.publisher.start()
        self._topology.start()
        if self._worker is not None:
            # Hints come by the publisher's connection, which without work would not be made again.
            self._connection.start()
        self._run = self._engine.start(runner, consume=consume)
        if self._events is not None:
            self._events.start()

    def stop(self) -> None:
        """Take nothing new, stop running playbooks and record them as handed over, end every thread.

        Repeating it, or stopping what never started, does nothing.
        """
        if self._run is None:
            return
        self._topology.stop()
        self._connection.stop()
        self._run.stop()
        if self._events is not None:
            self._events.stop()
        self._messages.publisher.stop()

    def broker_fault(self) -> str | None:
        """Ask the broker and return why it cannot be used now; None when it can."""
        return self._messages.publisher.unavailable_reason() or self._topology_check.missing_reason

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
                return in_trace(
                    read_envelope(body, queue, served_here), read_trace_header(properties, self._messages.tracer)
                )
            except BadEnvelopeError as error:
                keep_dead_letter(self._messages.publisher, queue, properties, body, str(error))
                return None

        return read

    def _has_room(self, queue: str) -> bool:
        """Leave work in the queue while it cannot be done: operators see it there, and other workers can take it."""
        if not self._topology_check.may_consume():
            return False
        if self._worker is None or queue not in WORKER_QUEUES:
            return True
        return self._worker.room(phases_of_queues({queue})) > 0

    def _obey(self, kind: HintKind) -> int:
        if kind == "drain":
            self.worker.drain()
        else:
            self.worker.undrain()
        if self._heartbeat is not None:
            # Whoever asked looks at `prestager workers` next.
            self._heartbeat.wake()
        return len(self.worker.held())


def amqp_relay(database: Database, messages: AmqpMessages, writer: str) -> PeriodicThread:
    """Return the loop that publishes what this process has to say."""
    return PeriodicThread("outbox-relay", OutboxRelay(database, messages.publish, writer).relay, LOOK_S)
