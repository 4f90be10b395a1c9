"""What a worker does with a run: claim it, carry the phase out, report how it ended.

An actor calls `inspect` or `start_playbook` and is done in well under a second: inspections of sites and playbooks go
on in this process, and their end is reported from there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from threading import Lock
from time import monotonic, sleep
from typing import Final
from zlib import compress

import structlog
from sqlalchemy.exc import OperationalError

from actors.inspections import Inspections
from actors.live import LiveRuns
from actors.meters import Meters, Unmeasured
from actors.precheck import Precheck, broke
from actors.reports import Reporter
from actors.run_context import UNKNOWN, RunContext, context_of
from db.engine import Database
from db.journal import Journal
from db.runs import PLAYBOOK_PHASES, Assignment, Report, claim, hand_back, queued_runs
from db.sealing import Sealer, UnsealingError
from runner.inspectors import Inspector, Reading
from runner.jobs import NoFreeSlotError, Outcome, Runner, RunResult
from runner.phases import ControllerLayout, PhaseOrder, nothing_to_do, playbook_job
from statemachine.eligibility import Rules
from statemachine.states import RunOutcome, StepState
from tracing.tracer import UNTRACED, Tracer

_log = structlog.get_logger(__name__)

# Tries to claim a run while the database restarts. One that is given up is found again by the loops, seconds later.
_CLAIM_TRIES: Final = 12
_PAUSE_S: Final = 0.5

_OUTCOMES: Final[Mapping[Outcome, RunOutcome]] = {
    Outcome.SUCCEEDED: RunOutcome.SUCCEEDED,
    Outcome.SKIPPED: RunOutcome.SKIPPED,
    Outcome.FAILED: RunOutcome.FAILED,
}
_GOOD: Final = frozenset({RunOutcome.SUCCEEDED, RunOutcome.SKIPPED})


@dataclass(frozen=True, kw_only=True)
class WorkerTools:
    """What one worker process works with."""

    database: Database
    inspector: Inspector
    sealer: Sealer
    reporter: Reporter
    layout: ControllerLayout
    rules: Rules
    # Stable name of the worker and this process of it, as `name/incarnation`.
    owner: str
    # Phases that this worker carries out: prepare needs a controller that has the feeds.
    phases: frozenset[StepState] = frozenset({StepState.PRECHECK, *PLAYBOOK_PHASES})
    # Sites that are asked for their facts at once.
    inspections: int = 250
    meters: Meters = field(default_factory=Unmeasured)
    tracer: Tracer = UNTRACED

    @property
    def name(self) -> str:
        """Return the stable name of the worker."""
        return self.owner.partition("@")[0]


@dataclass(frozen=True, kw_only=True)
class _Held:
    """A run that this process works on."""

    phase: StepState
    # Of a monotonic clock.
    taken_at: float
    context: RunContext


class StepWorker:
    """Carries runs out for one worker process; `runner` is attached before the first run."""

    def __init__(self, tools: WorkerTools) -> None:
        self._tools = tools
        self._precheck = Precheck(tools.database, tools.inspector, tools.rules)
        self._inspections = Inspections(tools.inspections)
        self._held: dict[int, _Held] = {}
        self._lock = Lock()
        self._draining = False
        # What playbooks say while they go on.
        self.live = LiveRuns(tools.database, tools.owner)
        self._runner: Runner | None = None
        # Wakes the loop that takes waiting runs when a slot, or a place for an inspection, is free again.
        self.slot_freed: Callable[[], None] = lambda: None

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
        with self._lock:
            return frozenset(self._held)

    def context(self, run_id: int) -> RunContext:
        """Return what is known of a run, if this process works on it."""
        with self._lock:
            held = self._held.get(run_id)
        return UNKNOWN if held is None else held.context

    def give_up(self, run_id: int) -> None:
        """Report a run as lost that the store says is ours and that nobody here works on."""
        self._tools.reporter.add(_report(run_id, RunOutcome.LOST, ""))

    @property
    def is_draining(self) -> bool:
        """Tell whether no more runs are taken."""
        return self._draining

    def drain(self) -> None:
        """Take no more runs; those that are being worked on go on."""
        self._draining = True

    def cancel(self, run_id: int, reason: str) -> None:
        """Stop a run; unknown and ended ones are ignored. Callable from any thread."""
        self._inspections.cancel(run_id)
        self.runner.cancel(run_id, reason)

    def stop(self) -> None:
        """Stop everything that goes on and record it as handed over. Repeating it does nothing."""
        self._inspections.stop()
        self.runner.stop()

    def inspect(self, run_id: int) -> bool:
        """Begin a precheck, or carry it out where nobody need be asked; False: all places are taken, and it waits.

        A run that is taken, or withdrawn, is left alone.
        """
        if self._draining or not self._inspections.reserve():
            return False
        is_asking = False
        try:
            is_asking = self._inspect(run_id)
        finally:
            if not is_asking:
                self._inspections.release()
        return True

    def _inspect(self, run_id: int) -> bool:
        """Return whether the site is being asked now."""
        assignment = self._claim(run_id)
        if assignment is None:
            return False
        with self.context(run_id).bound():
            return self._inspect_claimed(assignment)

    def _inspect_claimed(self, assignment: Assignment) -> bool:
        try:
            report = self._precheck.without_asking(assignment)
        except Exception as error:  # noqa: BLE001 - logged, and the run's outcome
            _log.exception("precheck.broke")
            report = broke(assignment.run_id, error)
        if report is not None:
            self._finish(report)
            return False
        asking = self._tools.inspector.read(assignment.subcloud, for_install=not assignment.for_sw_deploy)
        self._inspections.begin(assignment.run_id, asking, lambda answer: self._inspected(assignment, answer))
        return True

    def _inspected(self, assignment: Assignment, answer: Future[Reading]) -> None:
        with self.context(assignment.run_id).bound():
            report = self._reading_report(assignment, answer)
            self._inspections.release()
            self._finish(report)
        self.slot_freed()

    def _reading_report(self, assignment: Assignment, answer: Future[Reading]) -> Report:
        if answer.cancelled():
            # As a playbook that is stopped: see `_outcome`.
            outcome = RunOutcome.DRAINED if self._draining else RunOutcome.LOST
            return _report(assignment.run_id, outcome, "")
        try:
            return self._precheck.after_asking(assignment, answer)
        except Exception as error:  # noqa: BLE001 - logged, and the run's outcome
            _log.exception("precheck.broke")
            return broke(assignment.run_id, error)

    def start_playbook(self, run_id: int) -> bool:
        """Start the playbook of a run; False when no slot is free, and then the run waits for one.

        A run that is taken, or withdrawn, is left alone.
        """
        if self._draining or self.runner.free_slots <= 0:
            return False
        assignment = self._claim(run_id)
        if assignment is None:
            return True
        with self.context(run_id).bound():
            return self._start_claimed(assignment)

    def _start_claimed(self, assignment: Assignment) -> bool:
        run_id = assignment.run_id
        try:
            started = self._start(assignment)
        except UnsealingError as error:
            self._finish(_report(run_id, RunOutcome.FAILED, str(error)))
        except Exception as error:  # noqa: BLE001 - logged, and the run's outcome
            _log.exception("playbook.not-started")
            reason = f"The playbook could not be started: {type(error).__name__}."
            self._finish(_report(run_id, RunOutcome.FAILED, reason))
        else:
            if not started:
                self._hand_back(run_id)
            return started
        return True

    def room(self, phases: Collection[StepState]) -> int:
        """Return how many more runs of these phases, all prechecks or all playbooks, can be taken now."""
        if self._draining:
            return 0
        return self._inspections.free if StepState.PRECHECK in phases else self.runner.free_slots

    def take_waiting(self) -> None:
        """Start runs that wait for a slot, or for a place to be inspected, oldest first, as long as there is one."""
        self._take(self._tools.phases & {StepState.PRECHECK}, self.inspect)
        self._take(self._tools.phases - {StepState.PRECHECK}, self.start_playbook)

    def _take(self, phases: frozenset[StepState], start: Callable[[int], bool]) -> None:
        while phases and (free := self.room(phases)) > 0:
            with self._tools.database.read() as connection:
                waiting = queued_runs(connection, phases, free)
            if not waiting or not all(start(run_id) for run_id in waiting):
                return

    def finished(self, result: RunResult) -> None:
        """Report a playbook's end; called from the runner's thread."""
        context = self.context(result.run_id)
        with context.bound():
            context.tell_tasks(result)
            self._finish(
                Report(
                    run_id=result.run_id,
                    outcome=self._outcome(result),
                    details=result.details,
                    facts=result.facts,
                    output=result.output,
                    left_out_at_bytes=result.left_out_at_bytes,
                    left_out_bytes=result.left_out_bytes,
                    progress=self.live.ended(result.run_id),
                )
            )
        self.slot_freed()

    def _outcome(self, result: RunResult) -> RunOutcome:
        if result.outcome == Outcome.STOPPED:
            # A stop in good order is nobody's failure: it costs no attempt.
            return RunOutcome.DRAINED if self._draining else RunOutcome.LOST
        return _OUTCOMES[result.outcome]

    def _claim(self, run_id: int) -> Assignment | None:
        for attempt in range(1, _CLAIM_TRIES + 1):
            try:
                return self._claim_once(run_id)
            except OperationalError:
                if attempt == _CLAIM_TRIES or self._draining:
                    raise
                sleep(_PAUSE_S)
        raise AssertionError("unreachable")

    def _claim_once(self, run_id: int) -> Assignment | None:
        at = datetime.now(UTC)
        journal = Journal(at, self._tools.owner)
        with self._tools.database.write() as connection:
            assignment = claim(connection, journal, run_id, self._tools.owner, at)
            journal.write(connection)
        if assignment is not None:
            context = context_of(assignment, self._tools.tracer, self._tools.owner)
            with self._lock:
                self._held[run_id] = _Held(phase=assignment.phase, taken_at=monotonic(), context=context)
            self._tools.meters.run_claimed(assignment.phase, assignment.waited_s)
        return assignment

    def _finish(self, report: Report) -> None:
        with self._lock:
            held = self._held.pop(report.run_id, None)
        context = UNKNOWN if held is None else held.context
        if held is not None:
            self._tools.meters.run_ended(held.phase, report.outcome, monotonic() - held.taken_at)
            # What went well the coordinator tells, as the next state; here it would cost 1 % of a phase.
            if report.outcome not in _GOOD:
                _log.info("run.ended", outcome=str(report.outcome), details=report.details)
        context.ended(report.outcome, report.details)
        self._tools.reporter.add(report, context)

    def _start(self, assignment: Assignment) -> bool:
        order = PhaseOrder(
            run_id=assignment.run_id,
            phase=assignment.phase,
            subcloud_name=assignment.subcloud["name"],
            release=assignment.release,
            from_version=assignment.from_version,
            oam_address=assignment.oam_address,
            connection=assignment.subcloud["connection"],
            for_sw_deploy=assignment.for_sw_deploy,
        )
        idle = nothing_to_do(self._tools.layout, order)
        if idle is not None:
            output = compress(idle.encode())
            self._finish(_report(assignment.run_id, RunOutcome.SUCCEEDED, "", output=output))
            return True
        job = playbook_job(self._tools.layout, order, self._password(assignment))
        traceparent = self.context(assignment.run_id).work.traceparent
        if traceparent is not None:
            job = replace(job, traceparent=traceparent)
        try:
            self.runner.submit(job)
        except NoFreeSlotError:
            return False
        return True

    def _password(self, assignment: Assignment) -> str:
        if assignment.sealed is None:
            raise UnsealingError
        return self._tools.sealer.open(assignment.sealed, bound_to=assignment.bound_to)

    def _hand_back(self, run_id: int) -> None:
        # Let go first: as soon as the run is queued another thread of this process may take it again.
        with self._lock:
            held = self._held.pop(run_id, None)
        if held is not None:
            held.context.work.end()
        with self._tools.database.write() as connection:
            hand_back(connection, run_id, self._tools.owner)


def _report(run_id: int, outcome: RunOutcome, details: str, output: bytes = b"") -> Report:
    return Report(run_id=run_id, outcome=outcome, details=details, facts={}, output=output)
