"""The worker: claims runs, carries their phases out and reports their ends.

An actor calls `inspect` or `start_playbook` and is done in well under a second: inspections of sites and playbooks go
on in this process, and their end is reported from there.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from time import monotonic
from typing import Final

import structlog

from actors.worker.cancellations import Cancellations
from actors.worker.claimed_runs import ClaimedRuns, run_result
from actors.worker.dependencies import WorkerDependencies
from actors.worker.host_key_check import FirstContact, HostKeyCheck
from actors.worker.inspections import Inspections
from actors.worker.live_output import LiveRuns
from actors.worker.playbook_runs import PlaybookRuns
from actors.worker.precheck import Precheck
from actors.worker.run_claims import RunClaims
from actors.worker.run_context import RunContext
from db.errors import UnsealingError
from db.runs import RunAssignment, RunResult
from runner.errors import NoFreeSlotError, NoUnstagePlaybookError
from runner.interface import RunEnded, Runner
from runner.processes import MARKER
from sites.host_key_scan import HostKeyScanner
from statemachine.states import PLAYBOOK_PHASES, FailureClass, RunOutcome, StepState

_log = structlog.get_logger(__name__)

_CANCELLED: Final = "It was cancelled."


class StepWorker:
    """Carries runs out for one worker process; `runner` is attached before the first run."""

    def __init__(self, tools: WorkerDependencies) -> None:
        self._tools = tools
        self._host_keys = HostKeyCheck(
            tools.database,
            tools.host_keys,
            HostKeyScanner(tools.host_key_limits, {MARKER: f"{tools.name}:host-key"}),
            ssh_user=tools.layout.ssh_user,
            owner=tools.owner,
        )
        self._precheck = Precheck(
            tools.inspector,
            tools.rules,
            self._host_keys,
            playbooks_dir=tools.layout.playbooks_dir,
            dcmanager=tools.dcmanager,
        )
        self._inspections = Inspections(tools.inspections)
        self._held = ClaimedRuns(tools)
        self._cancelled = Cancellations()
        self._first_contact = FirstContact(
            self._host_keys,
            self._inspections,
            self._held,
            start=self._start_after_contact,
            stopped=self._stopped_report,
            finish=self._finish,
            freed=self._room_freed,
        )
        self._prechecks = RunClaims(
            self._held,
            tools.phases.difference(PLAYBOOK_PHASES),
            free=self._free_places,
            begin=self._begin_precheck,
            is_hopeless=lambda: self._draining,
        )
        self._playbooks = RunClaims(
            self._held,
            tools.phases.intersection(PLAYBOOK_PHASES),
            free=self._free_slots,
            begin=self._begin_playbook,
            is_hopeless=lambda: self._draining,
        )
        self._served = [one for one in (self._prechecks, self._playbooks) if one.phases]
        self._draining = False
        # Whether the playbooks can be run; none is started while they cannot.
        self.playbooks = tools.playbooks
        self._is_ending = False
        # What playbooks say while they go on.
        self.live = LiveRuns(tools.database, tools.owner)
        self._playbook_runs = PlaybookRuns(tools, self._host_keys, self.live)
        self._runner: Runner | None = None
        # Wakes the loop that takes waiting runs.
        self.slot_freed: Callable[[], None] = lambda: None
        # Wakes the loop that reads which runs are to be cancelled.
        self.look_for_cancelled: Callable[[], None] = lambda: None

    def attach(self, runner: Runner) -> None:
        """Give the worker the runner for its playbooks, before it is started."""
        self._runner = runner
        runner.watch(self.live)

    @property
    def runner(self) -> Runner:
        """Return the runner.

        Raises:
            RuntimeError: None was attached.
        """
        if self._runner is None:
            raise RuntimeError("no runner is attached to this worker")
        return self._runner

    def held(self) -> frozenset[int]:
        """Return the runs that this process works on now."""
        return self._held.ids()

    def unsettled(self) -> frozenset[int]:
        """Return the runs whose end is under way to the database."""
        return self._held.unsettled()

    @property
    def is_claiming(self) -> bool:
        """Whether a claim is under way, so that the database may know more runs of this process than it does."""
        return self._held.is_claiming

    def claimed_at(self, run_id: int) -> float | None:
        """Return when the claim of a run was asked for, by a monotonic clock; None if this process does not hold it."""
        return self._held.claimed_at(run_id)

    def context(self, run_id: int) -> RunContext:
        """Return the context of a run; an empty one, if this process does not work on it."""
        return self._held.context(run_id)

    def give_up(self, run_id: int) -> None:
        """Report a run as lost that is ours by the database and that no part works on."""
        self._tools.results.add(run_result(run_id, RunOutcome.LOST))

    @property
    def precheck_count(self) -> int:
        """Number of inspections now."""
        return self._tools.inspections - self._inspections.free

    @property
    def playbook_count(self) -> int:
        """Number of playbooks that run now, each on a slot."""
        return max(0, len(self._held.ids()) - self.precheck_count)

    @property
    def is_draining(self) -> bool:
        """Tell whether no more runs are taken."""
        return self._draining

    def drain(self) -> None:
        """Take no more runs; those that are being worked on go on. Repeating it does nothing."""
        self._draining = True

    def undrain(self) -> None:
        """Take runs again; a process that is stopping does not. Repeating it does nothing."""
        if self._is_ending:
            return
        self._draining = False
        self.look_again()

    def end(self) -> None:
        """Take no more runs until the process ends."""
        self._is_ending = True
        self._draining = True

    def stop_run(self, run_id: int, reason: str) -> None:
        """Stop a run that this worker loses; unknown and ended ones are ignored. Callable from any thread."""
        self._inspections.cancel(run_id)
        self.runner.stop_run(run_id, reason)

    def cancel(self, run_id: int, grace_s: float) -> None:
        """Cancel a run for an operator; it is reported as cancelled. Callable from any thread, repeatable.

        Args:
            run_id: A run of this process; one that has ended is ignored.

            grace_s: Seconds between TERM and KILL of its processes.
        """
        self._cancelled.add(run_id, grace_s)
        if not self.is_claiming and run_id not in self.held() | self.unsettled():
            # It has ended meanwhile.
            self._cancelled.forget(run_id)
        self._inspections.cancel(run_id)
        self.runner.cancel(run_id, grace_s)

    def stop(self) -> None:
        """Stop everything that goes on and record it as handed over. Repeating it does nothing."""
        self._inspections.stop()
        self.runner.stop()

    def inspect(self, run_id: int) -> bool:
        """Begin a precheck, or carry it out where no site need be asked; False: all places are taken, and it waits.

        A run that is taken, or withdrawn, is left alone.
        """
        return self._prechecks.take(run_id)

    def _begin_precheck(self, assignment: RunAssignment) -> bool:
        """Return False when there is no place to ask the site."""
        if self._is_cancelled(assignment):
            self._finish(run_result(assignment.run_id, RunOutcome.CANCELLED, _CANCELLED))
            return True
        report = self._precheck.without_asking(assignment)
        if report is not None:
            self._finish(report)
            return True
        if not self._inspections.reserve():
            return False
        self._held.begun(assignment.run_id)
        asking = self._precheck.ask(assignment)
        self._inspections.begin(assignment.run_id, asking, lambda answer: self._inspected(assignment, answer))
        if self._is_cancelled(assignment):
            self._inspections.cancel(assignment.run_id)
        return True

    def _inspected(self, assignment: RunAssignment, answer: Future[RunResult]) -> None:
        with self.context(assignment.run_id).bound():
            if answer.cancelled():
                report = self._stopped_report(assignment.run_id)
            else:
                report = self._precheck.after_asking(assignment, answer)
            self._inspections.release()
            self._finish(report)
        self._room_freed()

    def _stopped_report(self, run_id: int) -> RunResult:
        """Return the report of a run that was stopped, as that of a playbook."""
        if self._cancelled.grace_s(run_id) is not None:
            return run_result(run_id, RunOutcome.CANCELLED, _CANCELLED)
        return run_result(run_id, RunOutcome.DRAINED if self._draining else RunOutcome.LOST)

    def _is_cancelled(self, assignment: RunAssignment) -> bool:
        """Return whether the run is to be cancelled, by its row or since."""
        return assignment.is_cancelled or self._cancelled.grace_s(assignment.run_id) is not None

    def _finish(self, report: RunResult) -> None:
        self._cancelled.forget(report.run_id)
        self._held.finish(report)

    def start_playbook(self, run_id: int) -> bool:
        """Start the playbook of a run; False when no slot is free, or no playbook can be run: then the run waits.

        A run that is taken, or withdrawn, is left alone.
        """
        return self.playbooks.obstacle() is None and self._playbooks.take(run_id)

    def _begin_playbook(self, assignment: RunAssignment) -> bool:
        """Return False when there is no slot, or no place to ask the site."""
        run_id = assignment.run_id
        if self._is_cancelled(assignment):
            self._finish(run_result(run_id, RunOutcome.CANCELLED, _CANCELLED))
            return True
        if self._first_contact.is_needed(assignment):
            return self._first_contact.begin(assignment)
        try:
            return self._start(assignment)
        except (UnsealingError, NoUnstagePlaybookError) as error:
            kind = FailureClass.CONTROLLER if isinstance(error, UnsealingError) else FailureClass.PLAYBOOK
            self._finish(run_result(run_id, RunOutcome.FAILED, str(error), failure_class=kind))
        except Exception as error:  # noqa: BLE001 - logged, and the run's outcome
            _log.exception("playbook.not-started")
            reason = f"The playbook could not be started: {type(error).__name__}."
            self._finish(run_result(run_id, RunOutcome.FAILED, reason, failure_class=FailureClass.CONTROLLER))
        return True

    def _start_after_contact(self, assignment: RunAssignment) -> None:
        if not self._begin_playbook(assignment):
            self._held.hand_back([assignment.run_id])

    def room(self, phases: frozenset[StepState]) -> int:
        """Return how many more runs of these phases, all prechecks or all playbooks, can be taken now."""
        return (self._prechecks if phases.isdisjoint(PLAYBOOK_PHASES) else self._playbooks).room

    def _free_places(self) -> int:
        return 0 if self._draining else self._inspections.free

    def _free_slots(self) -> int:
        if self._draining or self.playbooks.obstacle(is_asked_only=True) is not None:
            return 0
        return self.runner.free_slots

    def look_again(self) -> None:
        """Have all runs taken at once that were turned away meanwhile."""
        for waiting in self._served:
            waiting.expect()
        self.slot_freed()

    def take_waiting(self) -> None:
        """Begin runs that wait for a slot, or for a place to be inspected, oldest first, as long as there is one."""
        for waiting in self._served:
            if waiting.is_look_due:
                waiting.look()

    def _room_freed(self) -> None:
        """Have waiting runs looked for, if some may wait; a slot or a place is free again."""
        if any(waiting.is_look_due for waiting in self._served):
            self.slot_freed()

    def _start(self, assignment: RunAssignment) -> bool:
        """Start the playbook of a claimed run, or end the run where none is to run; False when there is no slot."""
        if self.playbooks.obstacle() is not None:
            # Since the run was claimed, as while the site's host key was read.
            return False
        claimed_at = self._held.claimed_at(assignment.run_id)
        job = self._playbook_runs.job(
            assignment,
            self.context(assignment.run_id).work.traceparent,
            since_claim_s=0.0 if claimed_at is None else monotonic() - claimed_at,
        )
        if isinstance(job, RunResult):
            self._finish(job)
            return True
        try:
            self.runner.submit(job)
        except NoFreeSlotError:
            return False
        self._held.begun(assignment.run_id)
        grace_s = self._cancelled.grace_s(assignment.run_id)
        if grace_s is not None:
            # The runner did not know it yet when the cancel came.
            self.runner.cancel(assignment.run_id, grace_s)
        return True

    def finished(self, ended: RunEnded) -> None:
        """Report a playbook's end; called from the runner's thread."""
        context = self.context(ended.run_id)
        with context.bound():
            context.tell_tasks(ended)
            self._finish(self._playbook_runs.result(ended, context.ids, is_draining=self._draining))
        self._room_freed()
