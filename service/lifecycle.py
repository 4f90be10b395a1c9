"""Start and stop the background threads of one process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from dramatiq import Broker, Worker

from actors.coordinator.coordinator import Coordinator
from actors.coordinator.history_retention import PURGE_S, HistoryRetention
from actors.worker.dependencies import WorkerDependencies
from actors.worker.lease_renewal import RENEWAL_S, WATCH_S, LeasedRuns, Leases
from actors.worker.live_output import LIVE_S
from actors.worker.worker import StepWorker
from db.database import Database
from db.live_output import tell_progress
from db.retention import Retention
from db.runs import lose_runs_of
from db.unit_of_work import unit_of_work
from runner.interface import Runner
from service.heartbeat import Heartbeat
from service.periodic_thread import PeriodicThread, WebhookSenderThread
from service.playbook_checks import PlaybookChecks

_log = structlog.get_logger(__name__)

_THREADS: Final = 8
# Seconds between two looks at the rows that no message asked for.
_RECONCILE_S: Final = 4.0
# Seconds after which a loop looks by itself should a wake be missed.
LOOK_S: Final = 5.0
_STOP_MS: Final = 20_000
# How soon an idle thread notices that it shall stop.
_WAKE_UP_MS: Final = 200


class WorkerLoops:
    """The loops beside a worker's actors: results, leases, what runs say, and runs that wait for a slot."""

    def __init__(self, database: Database, worker: StepWorker, tools: WorkerDependencies) -> None:
        self._database = database
        self._worker = worker
        self._tools = tools
        held = LeasedRuns(
            held=worker.held,
            pending=lambda: tools.results.pending() | worker.unsettled(),
            claimed_at=worker.claimed_at,
            cancel=worker.cancel,
            give_up=worker.give_up,
            context=worker.context,
            metrics=tools.metrics,
        )
        leases = Leases(database, tools.owner, held)
        self._reports = PeriodicThread("reports", tools.results.flush, LOOK_S)
        self._waiting = PeriodicThread("waiting-runs", worker.take_waiting, LOOK_S)
        self._renewals = PeriodicThread("leases", leases.renew, RENEWAL_S)
        self._lease_watch = PeriodicThread("lease-watch", leases.watch, WATCH_S)
        self._live = PeriodicThread("live-runs", worker.live.flush, LIVE_S)
        self._playbooks = PlaybookChecks(worker.playbooks, self._playbooks_changed)
        # Reports this process at once.
        self.report: Callable[[], None] = lambda: None
        tools.results.wake = self._reports.wake
        worker.slot_freed = self._waiting.wake

    def start(self, runner: Runner) -> None:
        """Sweep what an earlier process of this worker left, take its runs back, and begin."""
        self._worker.attach(runner)
        runner.start()
        name = self._tools.owner.partition("/")[0]
        with unit_of_work(self._database) as work:
            lost = lose_runs_of(work.connection, name, work.at)
            tell_progress(work, lost)
        _log.info("worker.recovered", lost_runs=len(lost))
        for loop in (self._playbooks, self._reports, self._renewals, self._lease_watch, self._waiting, self._live):
            loop.start()

    def drain(self) -> None:
        """Take no more runs."""
        self._worker.end()
        self._waiting.stop()
        self._playbooks.stop()

    def stop(self) -> None:
        """Stop inspections and running playbooks, and record them as handed over."""
        self._worker.stop()
        for loop in (self._renewals, self._lease_watch, self._reports, self._live):
            loop.stop()
        self._tools.results.flush()

    def _playbooks_changed(self) -> None:
        self._worker.slot_freed()
        self.report()


@dataclass(frozen=True, kw_only=True)
class Engine:
    """The moving parts of one process; `start` and `stop` once each."""

    database: Database
    broker: Broker
    relay: PeriodicThread
    coordinator: Coordinator | None
    worker_loops: WorkerLoops | None
    # How long history is kept.
    retention: Retention
    # What sends events to webhooks; None in a process without a coordinator.
    webhooks: WebhookSenderThread | None = None
    # Reports this process to all others.
    heartbeat: Heartbeat | None = None

    def start(self, runner: Runner | None = None, *, consume: bool = True) -> EngineRun:
        """Clean up after the process before, then go on with what the database says is to be done.

        Unless `consume`, the caller runs the Dramatiq worker: starts it afterwards and stops it before.
        """
        if self.worker_loops is not None and runner is not None:
            if self.heartbeat is not None:
                self.worker_loops.report = self.heartbeat.wake
            self.worker_loops.start(runner)
        return EngineRun(self, consume=consume)


class EngineRun:
    """A started engine."""

    def __init__(self, engine: Engine, *, consume: bool) -> None:
        self._engine = engine
        self._reconciler = (
            PeriodicThread("reconciler", engine.coordinator.coordinate, _RECONCILE_S) if engine.coordinator else None
        )
        self._dramatiq = Worker(engine.broker, worker_threads=_THREADS, worker_timeout=_WAKE_UP_MS) if consume else None
        retention = HistoryRetention(engine.database, engine.retention)
        self._retention = PeriodicThread("retention", retention.purge, PURGE_S) if engine.coordinator else None
        self._is_stopped = False
        engine.relay.start()
        if self._dramatiq is not None:
            self._dramatiq.start()
        for loop in (self._reconciler, self._retention, engine.webhooks, engine.heartbeat):
            if loop is not None:
                loop.start()

    def stop(self) -> None:
        """Take nothing new, stop running playbooks and record them as handed over, end every thread.

        The next start goes on where this one stopped. Repeating it does nothing.
        """
        if self._is_stopped:
            return
        self._is_stopped = True
        if self._engine.worker_loops is not None:
            self._engine.worker_loops.drain()
        if self._engine.webhooks is not None:
            # Its end takes seconds when receivers do not answer; playbooks must not run on meanwhile.
            self._engine.webhooks.drain()
        for loop in (self._reconciler, self._retention):
            if loop is not None:
                loop.stop()
        if self._dramatiq is not None:
            self._dramatiq.stop(timeout=_STOP_MS)
        if self._engine.worker_loops is not None:
            self._engine.worker_loops.stop()
        self._engine.relay.stop()
        if self._engine.webhooks is not None:
            self._engine.webhooks.stop()
        if self._engine.heartbeat is not None:
            self._engine.heartbeat.stop()
