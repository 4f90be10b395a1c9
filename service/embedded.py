"""Coordinator and worker in one process over the in-process transport: the embedded installation."""

from __future__ import annotations

from actors.actors import Actors
from actors.coordinator.coordinator import Coordinator
from actors.message_spans import MessageSpans
from actors.worker.dependencies import WorkerDependencies
from actors.worker.worker import StepWorker
from broker.in_process import InProcessBroker, InProcessTransport, Replies
from broker.outbox_relay import OutboxRelay, one_by_one
from db.database import Database
from db.retention import Retention
from db.unit_of_work import forget_unpublished
from runner.interface import Runner
from service.heartbeat import Heartbeat, ReportedProcess
from service.lifecycle import LOOK_S, Engine, EngineRun, WorkerLoops
from service.periodic_thread import PeriodicThread, WebhookSenderThread
from tracing.tracer import NULL_TRACER, Tracer


class InProcessMessages:
    """The broker of one process, its actors, and the loop that publishes what `writer`, the process, has to say."""

    def __init__(self, database: Database, writer: str, tracer: Tracer = NULL_TRACER) -> None:
        self.broker = InProcessBroker()
        if tracer.is_on:
            self.broker.add_middleware(MessageSpans(tracer))
        self.actors = Actors(self.broker)
        relay = OutboxRelay(database, one_by_one(self.actors.publish), writer)
        self.relay = PeriodicThread("outbox-relay", relay.relay, LOOK_S)


class EmbeddedActors:
    """Everything that moves in an embedded installation; `start` and `stop` once each."""

    def __init__(  # noqa: PLR0913, PLR0917 - wired in one place
        self,
        database: Database,
        messages: InProcessMessages,
        coordinator: Coordinator,
        tools: WorkerDependencies,
        retention: Retention,
        webhooks: WebhookSenderThread | None = None,
        process: ReportedProcess | None = None,
    ) -> None:
        self.coordinator = coordinator
        self.worker = StepWorker(tools)
        self._messages = messages
        self._replies = Replies()
        messages.actors.declare_coordinator(
            coordinator, lambda address, answer: self._replies.deliver(address.mark, answer)
        )
        messages.actors.declare_worker(self.worker)
        self._engine = Engine(
            database=database,
            broker=messages.broker,
            relay=messages.relay,
            coordinator=coordinator,
            worker_loops=WorkerLoops(database, self.worker, tools),
            retention=retention,
            webhooks=webhooks,
            heartbeat=Heartbeat(database, process, self.worker) if process is not None else None,
        )
        self._run: EngineRun | None = None

    def transport(self, timeout_s: float) -> InProcessTransport:
        """Return the transport that brings commands here; an answer is waited for `timeout_s` seconds."""
        return InProcessTransport(self._messages.actors.send_command, self._replies, timeout_s)

    def start(self, runner: Runner | None) -> None:
        """Clean up after the process before, then go on with what the database says is to be done."""
        with self._engine.database.write() as connection:
            forget_unpublished(connection)
        self._run = self._engine.start(runner)

    def stop(self) -> None:
        """Take nothing new, stop running playbooks and record them as handed over, end every thread.

        The next start goes on where this one stopped. Repeating it, or stopping what never started, does nothing.
        """
        if self._run is not None:
            self._run.stop()
