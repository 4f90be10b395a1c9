"""Coordinator and worker in one process over the in-process transport: the embedded installation's engine."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import structlog
from dramatiq import Worker

from actors.coordinator import Coordinator
from actors.declare import Actors
from actors.in_process import InProcessBroker, InProcessTransport, Replies
from actors.leases import RENEWAL_S, WATCH_S, HeldRuns, Leases
from actors.loop import Loop
from actors.relay import Relay
from actors.worker import StepWorker, WorkerTools
from db.engine import Database
from db.runs import forget_dispatches, lose_runs_of
from runner.jobs import Runner

_log = structlog.get_logger(__name__)

_THREADS: Final = 8
# Seconds between two looks at the rows that no message asked for.
_RECONCILE_S: Final = 4.0
# Seconds after which a loop looks by itself should a wake be missed.
_LOOK_S: Final = 5.0
_STOP_MS: Final = 20_000
# How soon an idle thread notices that it shall stop.
_WAKE_UP_MS: Final = 200


class InProcessMessages:
    """The broker of one process, its actors, and the loop that publishes the outbox to it."""

    def __init__(self, database: Database) -> None:
        self.broker = InProcessBroker()
        self.actors = Actors(self.broker)
        self.relay = Loop("outbox-relay", Relay(database, self.actors.publish).relay, _LOOK_S)


class EmbeddedActors:
    """Everything that moves in an embedded installation; `start` and `stop` once each."""

    def __init__(
        self, database: Database, messages: InProcessMessages, coordinator: Coordinator, tools: WorkerTools
    ) -> None:
        self._database = database
        self._tools = tools
        self.coordinator = coordinator
        self._messages = messages
        self._replies = Replies()
        self.worker = StepWorker(tools)
        messages.actors.declare_coordinator(coordinator, self._replies.deliver)
        messages.actors.declare_worker(self.worker)
        self._dramatiq = Worker(messages.broker, worker_threads=_THREADS, worker_timeout=_WAKE_UP_MS)
        held = HeldRuns(
            held=self.worker.held,
            pending=tools.reporter.pending,
            cancel=self._cancel,
            give_up=self.worker.give_up,
        )
        leases = Leases(database, tools.owner, held)
        self._reports = Loop("reports", tools.reporter.flush, _LOOK_S)
        self._waiting = Loop("waiting-runs", self.worker.take_waiting, _LOOK_S)
        self._renewals = Loop("leases", leases.renew, RENEWAL_S)
        self._lease_watch = Loop("lease-watch", leases.watch, WATCH_S)
        self._reconciler = Loop("reconciler", coordinator.coordinate, _RECONCILE_S)
        tools.reporter.wake = self._reports.wake
        self.worker.slot_freed = self._waiting.wake

    def transport(self, timeout_s: float) -> InProcessTransport:
        """Return the transport that brings commands here; an answer is waited for `timeout_s` seconds."""
        return InProcessTransport(self._messages.actors.send_command, self._replies, timeout_s)

    def start(self, runner: Runner) -> None:
        """Clean up after the process before, then go on with what the database says is to be done."""
        self.worker.attach(runner)
        runner.start()
        self._recover()
        for loop in (self._reports, self._messages.relay, self._renewals, self._lease_watch, self._waiting):
            loop.start()
        self._dramatiq.start()
        self._reconciler.start()

    def _recover(self) -> None:
        """Take back what died with an earlier process: its runs, now that nothing of them lives, and its messages."""
        name = self._tools.owner.partition("/")[0]
        with self._database.write() as connection:
            lost = lose_runs_of(connection, name, datetime.now(UTC))
            waiting = forget_dispatches(connection)
        _log.info("worker.recovered", lost_runs=lost, waiting_runs=waiting)

    def stop(self) -> None:
        """Take nothing new, stop running playbooks and record them as handed over, end every thread.

        The next start goes on where this one stopped. Repeating it does nothing.
        """
        self.worker.drain()
        for loop in (self._reconciler, self._waiting):
            loop.stop()
        self._dramatiq.stop(timeout=_STOP_MS)
        self.worker.runner.stop()
        for loop in (self._renewals, self._lease_watch, self._reports):
            loop.stop()
        self._tools.reporter.flush()
        self._messages.relay.stop()

    def _cancel(self, run_id: int, reason: str) -> None:
        self.worker.runner.cancel(run_id, reason)
