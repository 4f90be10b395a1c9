"""Worker of a process: the step worker with its dependencies and runner, and the threads beside its actors.

The threads are for results, leases, live output, waiting runs, and the check of the playbooks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import structlog

from actors.worker.dependencies import ControllerSoftware, WorkerDependencies
from actors.worker.lease_renewal import RENEWAL_S, WATCH_S, LeasedRuns, Leases
from actors.worker.live_output import LIVE_S
from actors.worker.result_writer import ResultWriter
from actors.worker.worker import StepWorker
from db.database import Database
from db.live_output import tell_progress
from db.runs import lose_runs_of
from db.unit_of_work import unit_of_work
from messages.queues import phases_of_queues
from playbook_sets.load_check import LoadCheck
from playbook_sets.playbook_readiness import PlaybookReadiness
from playbook_sets.playbook_set import PlaybookCheck
from runner.interface import OnFinished, Runner
from runner.supervisor import Supervisor
from service.controller import ansible_installation
from service.lifecycle import Part
from service.periodic_thread import LOOK_S, PeriodicThread
from service.site_access import software_lister
from sites.host_key_scan import ScanLimits
from statemachine.states import PLAYBOOK_PHASES

if TYPE_CHECKING:
    from service.wiring import ProcessResources


_log = structlog.get_logger(__name__)

# Seconds between two looks at the files; a playbook that is to be started looks by itself.
_CHECK_S: Final = 30.0


class PlaybookChecks:
    """Checks one set of playbooks in a thread: what changes is logged and reported. `start` and `stop` once each.

    While the set cannot be loaded the worker starts no playbook, and its runs wait. `changed` is called when another
    error is found than before, or none any more.
    """

    def __init__(self, readiness: PlaybookReadiness, changed: Callable[[], None]) -> None:
        self._readiness = readiness
        self._changed = changed
        # Of the last check; None: none was made.
        self._error: str | None = None
        self._is_stopped = False
        self._thread = PeriodicThread("playbook-check", self.check, _CHECK_S)
        readiness.wanted = self._thread.wake

    def start(self) -> None:
        """Begin to check, at once and then every `_CHECK_S` seconds."""
        self._thread.start()

    def stop(self) -> None:
        """End, and with it a check that goes on; its end is not waited for."""
        self._is_stopped = True
        self._thread.stop(join=False)
        self._readiness.stop()

    def check(self) -> None:
        """Check the set, and log and report a change; a check that `stop` has ended says nothing about the set."""
        was_obstructed = self._readiness.obstacle() is not None
        has_changed = self._readiness.check()
        if self._is_stopped:
            return
        error = self._readiness.error
        if has_changed and error:
            _log.error("playbooks.broken", reason=error, advice="No playbook is started until this is mended.")
        elif self._error and not error:
            _log.info("playbooks.load-again")
        self._error = error
        if has_changed or was_obstructed:
            self._changed()


class WorkerThreads:
    """The threads beside a worker's actors; `start`, `drain` and `stop` once each.

    `report` has this process reported at once.
    """

    def __init__(
        self,
        database: Database,
        worker: StepWorker,
        tools: WorkerDependencies,
        runner: Runner,
        report: Callable[[], None],
    ) -> None:
        self._database = database
        self._worker = worker
        self._tools = tools
        self._runner = runner
        self._report = report
        held = LeasedRuns(
            held=worker.held,
            pending=lambda: tools.results.pending() | worker.unsettled(),
            is_claiming=lambda: worker.is_claiming,
            claimed_at=worker.claimed_at,
            stop_run=worker.stop_run,
            cancel=worker.cancel,
            give_up=worker.give_up,
            context=worker.context,
            metrics=tools.metrics,
        )
        leases = Leases(database, tools.owner, held)
        self._results = PeriodicThread("reports", tools.results.flush, LOOK_S)
        self._waiting = PeriodicThread("waiting-runs", worker.take_waiting, LOOK_S)
        self._renewals = PeriodicThread("leases", leases.renew, RENEWAL_S)
        self._lease_watch = PeriodicThread("lease-watch", leases.watch, WATCH_S)
        self._live = PeriodicThread("live-runs", worker.live.flush, LIVE_S)
        self._playbooks = PlaybookChecks(worker.playbooks, self._playbooks_changed)
        tools.results.wake = self._results.wake
        worker.slot_freed = self._waiting.wake
        # A renewal reads which runs are to be cancelled.
        worker.look_for_cancelled = self._renewals.wake

    def start(self) -> None:
        """Start all threads."""
        threads = (self._playbooks, self._results, self._renewals, self._lease_watch, self._waiting, self._live)
        for thread in threads:
            thread.start()

    def drain(self) -> None:
        """Take no more runs."""
        self._worker.end()
        self._waiting.stop()
        self._playbooks.stop()

    def stop(self) -> None:
        """Stop inspections and running playbooks, record them as handed over, and end all threads."""
        self._worker.stop()
        for thread in (self._renewals, self._lease_watch, self._results, self._live):
            thread.stop()
        self._tools.results.flush()

    def recovery_parts(self) -> list[Part]:
        """Return the parts that sweep what an earlier process of this worker left, and take its runs back."""
        return [
            # The worker is stopped with its threads; once more does nothing.
            Part(name="runner", start=self._start_runner, stop=self._worker.stop),
            Part(name="recovery", start=self._lose_runs),
        ]

    def part(self) -> Part:
        """Return these threads as a part of a process."""
        return Part(name="worker", start=self.start, drain=self.drain, stop=self.stop)

    def _start_runner(self) -> None:
        self._worker.attach(self._runner)
        self._runner.start()

    def _lose_runs(self) -> None:
        name = self._tools.owner.partition("/")[0]
        with unit_of_work(self._database) as work:
            lost = lose_runs_of(work.connection, name, work.at)
            tell_progress(work, lost)
        _log.info("worker.recovered", lost_runs=len(lost))

    def _playbooks_changed(self) -> None:
        self._worker.look_again()
        self._report()


class WorkerRole:
    """The worker of a process, and what it works with.

    `runner_factory` takes the place of the Ansible supervisor.
    """

    def __init__(self, resources: ProcessResources, runner_factory: Callable[[OnFinished], Runner] | None) -> None:
        self._resources = resources
        self.dependencies = _dependencies(resources, has_ansible=runner_factory is None)
        self.worker = StepWorker(self.dependencies)
        self.runner = (runner_factory or self._supervisor)(self.worker.finished)

    def threads(self, report: Callable[[], None]) -> WorkerThreads:
        """Return the threads beside its actors; `report` has this process reported at once."""
        return WorkerThreads(self._resources.database, self.worker, self.dependencies, self.runner, report)

    def _supervisor(self, on_finished: OnFinished) -> Runner:
        settings = self._resources.settings
        return Supervisor(
            slots=settings.slots,
            worker=settings.worker_name,
            on_finished=on_finished,
            ansible=ansible_installation(settings),
            preload=settings.preload,
            on_plain_start=self._resources.metrics.started_plainly,
        )


def _dependencies(resources: ProcessResources, *, has_ansible: bool) -> WorkerDependencies:
    settings = resources.settings
    phases = phases_of_queues(settings.served_queues)
    resources.metrics.expect_runs(phases)
    runs_playbooks = not phases.isdisjoint(PLAYBOOK_PHASES)
    return WorkerDependencies(
        database=resources.database,
        inspector=resources.inspector,
        dcmanager=resources.dcmanager,
        sealer=resources.sealer,
        results=ResultWriter(resources.database, resources.owner, resources.metrics),
        metrics=resources.metrics,
        layout=resources.layout,
        playbooks=_playbooks(resources, runs_playbooks=runs_playbooks and has_ansible),
        rules=resources.site_rules,
        host_keys=settings.host_keys,
        host_key_limits=ScanLimits(
            connect_s=settings.site_connect_timeout_s,
            deadline_s=settings.site_connect_timeout_s + settings.site_read_timeout_s,
        ),
        owner=resources.owner,
        phases=phases,
        inspections=settings.inspections,
        software=ControllerSoftware(software_lister(settings), settings.release),
        tracer=resources.tracer,
    )


def _playbooks(resources: ProcessResources, *, runs_playbooks: bool) -> PlaybookReadiness:
    settings = resources.settings
    directory, loader = settings.playbooks_dir, None
    if runs_playbooks:
        loader = LoadCheck(directory, ansible_installation(settings), worker=settings.worker_name)
    return PlaybookReadiness(PlaybookCheck(directory), loader)
