"""Playbooks that only pretend: a test decides how each ends, and sees which ran."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Final

from runner.fake import FakeRunEnd, FakeRunner
from runner.interface import OnFinished, PlaybookJob, RunEnded
from statemachine.states import RunOutcome

PREPARE, PACKAGES, IMAGES = "prepare_prestage_packages", "prestage_sw_packages", "prestage_images"
FAILS: Final = FakeRunEnd(outcome=RunOutcome.FAILED, details="task 'Take packages' on a: no space left", delay_s=0.002)
LOST: Final = FakeRunEnd(outcome=RunOutcome.LOST, details="stopped")


class FakePlaybooks:
    """Decides how pretended playbooks end, and remembers them.

    A playbook of which nothing else is said succeeds after 2 ms; `decide`, where given, decides about all of them.
    """

    def __init__(self, decide: Callable[[PlaybookJob], FakeRunEnd] | None = None) -> None:
        self.jobs: list[PlaybookJob] = []
        self.most_at_once = 0
        self._decide = decide
        self._ends: dict[tuple[str, str], FakeRunEnd] = {}
        self._lock = Lock()
        self._running: set[int] = set()

    def end(self, host: str, playbook: str, end: FakeRunEnd) -> None:
        """Have a playbook of a host end like this from now on."""
        self._ends[host, playbook] = end

    def decide(self, job: PlaybookJob) -> FakeRunEnd:
        """Return how a job ends."""
        with self._lock:
            self.jobs.append(job)
            self._running.add(job.run_id)
            self.most_at_once = max(self.most_at_once, len(self._running))
        if self._decide is not None:
            return self._decide(job)
        return self._ends.get((job.host, job.playbook.stem), FakeRunEnd(delay_s=0.002))

    def runner(self, slots: int, on_finished: OnFinished) -> FakeRunner:
        """Return a runner whose playbooks are these."""

        def finished(result: RunEnded) -> None:
            with self._lock:
                self._running.discard(result.run_id)
            on_finished(result)

        return FakeRunner(slots=slots, on_finished=finished, decide=self.decide)

    def played(self, host: str) -> list[str]:
        """Return the playbooks that ran for a host, in order."""
        return [job.playbook.stem for job in self.jobs if job.host == host]
