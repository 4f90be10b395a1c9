"""A runner that runs nothing, for tests of its surroundings and for benchmarks."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from runner.errors import NoFreeSlotError
from runner.interface import NullRunWatch, OnFinished, PlaybookJob, RunEnded, RunWatch
from runner.progress import Progress, TaskTime
from statemachine.problems import Failure, failure
from statemachine.states import FailureClass, RunOutcome

_log = logging.getLogger(__name__)

# Outcomes of jobs that were stopped already.
_STOPPED: Final = frozenset({RunOutcome.LOST, RunOutcome.CANCELLED})


@dataclass(frozen=True, kw_only=True)
class FakeRunEnd:
    """Pretended end of a job."""

    outcome: RunOutcome = RunOutcome.SUCCEEDED
    details: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    # Seconds until the end.
    delay_s: float = 0.0
    # What the job prints at once, and how far it comes then.
    says: str = ""
    progress: Progress | None = None
    tasks: Sequence[TaskTime] = ()
    failure: Failure | None = None


def _late(reason: str, delay_s: float) -> FakeRunEnd:
    why = failure(reason, failure_class=FailureClass.TIMEOUT)
    return FakeRunEnd(outcome=RunOutcome.FAILED, details=reason, delay_s=delay_s, failure=why)


class FakeRunner:
    """Ends every job as `decide` says, at once by default; behaves like Supervisor in everything else.

    Args:
        slots: most jobs at once.

        on_finished: gets each result, from the runner's own thread.

        decide: says how a job ends; called in `submit`, must not block.
    """

    def __init__(
        self,
        *,
        slots: int,
        on_finished: OnFinished,
        decide: Callable[[PlaybookJob], FakeRunEnd] = lambda _: FakeRunEnd(),
    ) -> None:
        self._slots = slots
        self._on_finished = on_finished
        self._decide = decide
        self._watch: RunWatch = NullRunWatch()
        self._changed = threading.Condition()
        self._open = False
        # Jobs by run id, and the monotonic times at which they end.
        self._jobs: dict[int, tuple[PlaybookJob, FakeRunEnd]] = {}
        self._due: list[tuple[float, int, PlaybookJob]] = []
        self._turns = itertools.count()
        self._thread = threading.Thread(target=self._work, name="noop-runner", daemon=True)

    @property
    def free_slots(self) -> int:
        """Number of jobs that `submit` still accepts."""
        with self._changed:
            return self._slots - len(self._jobs) if self._open else 0

    def watch(self, watch: RunWatch) -> None:
        """Pass the pretended output and progress of jobs to `watch`."""
        self._watch = watch

    def start(self) -> None:
        """Take jobs from now on."""
        with self._changed:
            self._open = True
        self._thread.start()

    def submit(self, job: PlaybookJob) -> None:
        """Begin to pretend.

        Raises:
            NoFreeSlotError: All slots are taken, a job with this run id is going on, or the runner is not open.
        """
        with self._changed:
            if not self._open or len(self._jobs) >= self._slots or job.run_id in self._jobs:
                raise NoFreeSlotError(f"no slot for run {job.run_id}")
            end = self._decide(job)
            if job.limit_s is not None and end.delay_s > job.limit_s:
                end = _late(job.limit_reason, job.limit_s)
            if job.deadline_s is not None and end.delay_s > job.deadline_s:
                end = _late(f"did not finish within {job.deadline_s:g} s", job.deadline_s)
            self._jobs[job.run_id] = (job, end)
            self._tell(job.run_id, end)
            self._end_after(job, end.delay_s)

    def stop_run(self, run_id: int, reason: str) -> None:
        """End the job as LOST; unknown ids are ignored."""
        self._end_as(run_id, RunOutcome.LOST, reason)

    def cancel(self, run_id: int, grace_s: float) -> None:
        """End the job as CANCELLED at once; unknown ids are ignored."""
        del grace_s
        self._end_as(run_id, RunOutcome.CANCELLED, "It was cancelled")

    def _end_as(self, run_id: int, outcome: RunOutcome, reason: str) -> None:
        with self._changed:
            job, end = self._jobs.get(run_id, (None, None))
            if job is not None and end is not None and end.outcome not in _STOPPED:
                self._jobs[run_id] = (job, replace(end, outcome=outcome, details=reason, facts={}))
                self._end_after(job, 0.0)

    def stop(self) -> None:
        """End all jobs as LOST and wait until their results are delivered. Repeating it does nothing."""
        with self._changed:
            self._open = False
            going_on = list(self._jobs)
            self._changed.notify_all()
        for run_id in going_on:
            self.stop_run(run_id, "the worker is stopping")
        if self._thread.ident is not None:
            self._thread.join()

    def _tell(self, run_id: int, end: FakeRunEnd) -> None:
        if end.says:
            self._watch.add_output(run_id, 0, end.says.encode())
        if end.progress is not None:
            self._watch.set_progress(run_id, end.progress)

    def _end_after(self, job: PlaybookJob, delay_s: float) -> None:
        heapq.heappush(self._due, (time.monotonic() + delay_s, next(self._turns), job))
        self._changed.notify_all()

    def _work(self) -> None:
        while (result := self._next_result()) is not None:
            try:
                self._on_finished(result)
            # As in Supervisor: the receiver's trouble does not end the runner.
            except Exception:  # noqa: BLE001
                _log.exception("the result of run %s was not taken", result.run_id)

    def _next_result(self) -> RunEnded | None:
        """Wait for the next job that ends; None when the runner is closed and empty."""
        with self._changed:
            while self._open or self._jobs:
                wait_s = self._due[0][0] - time.monotonic() if self._due else None
                if wait_s is not None and wait_s <= 0:
                    _, _, due = heapq.heappop(self._due)
                    job, _ = self._jobs.get(due.run_id, (None, None))
                    if job is due:
                        return self._result(*self._jobs.pop(due.run_id))
                else:
                    self._changed.wait(wait_s)
        return None

    @staticmethod
    def _result(job: PlaybookJob, end: FakeRunEnd) -> RunEnded:
        return RunEnded(
            run_id=job.run_id,
            outcome=end.outcome,
            details=end.details,
            output=zlib.compress(end.says.encode()),
            facts=end.facts,
            tasks=end.tasks if job.traceparent is not None else (),
            failure=end.failure,
        )
