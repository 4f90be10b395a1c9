"""Have the host key of a site recorded before its playbook starts, where precheck did not.

So it is with a step that was prechecked before its key was forgotten, or by a release that recorded none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

import structlog

from actors.worker.claimed_runs import ClaimedRuns
from actors.worker.host_key_check import FoundSite, HostKeyCheck
from actors.worker.inspections import Inspections
from db.runs import RunAssignment, RunResult
from db.unavailable import DatabaseUnavailableError
from messages.host_keys import host_key_lines
from statemachine.states import RunOutcome

_log = structlog.get_logger(__name__)


class FirstContact:
    """Meets sites for one worker process.

    `start` starts the playbook of a run whose site is known; `stopped` returns the report of a run that was stopped;
    `freed` is called when a place is free again.
    """

    def __init__(  # noqa: PLR0913 - made in one place
        self,
        host_keys: HostKeyCheck,
        inspections: Inspections,
        held: ClaimedRuns,
        *,
        start: Callable[[RunAssignment], bool],
        stopped: Callable[[int], RunResult],
        freed: Callable[[], None],
    ) -> None:
        self._host_keys = host_keys
        self._inspections = inspections
        self._held = held
        self._start = start
        self._stopped = stopped
        self._freed = freed

    def is_needed(self, assignment: RunAssignment) -> bool:
        """Tell whether no usable key of the run's site is recorded."""
        return self._host_keys.must_come_first(assignment.subcloud)

    def begin(self, assignment: RunAssignment) -> bool:
        """Have the key recorded, then the playbook started, and return at once; the run is a claimed one.

        False: as many sites as possible are being asked, and the run was handed back.
        """
        run_id = assignment.run_id
        if not self._inspections.reserve():
            self._held.hand_back(run_id)
            return False
        self._inspections.begin(run_id, self._meet(assignment), lambda answer: self._met(run_id, answer))
        return True

    async def _meet(self, assignment: RunAssignment) -> RunResult | None:
        """Return how the run ends where the site is refused; None: its playbook was started."""
        found = FoundSite(oam_address=assignment.oam_address, version=assignment.from_version, is_verified=False)
        checked = await self._host_keys.check(assignment.subcloud, found)
        if checked.refusal is not None:
            return _failed(assignment.run_id, checked.refusal.text)
        known = replace(assignment, subcloud={**assignment.subcloud, "host_keys": host_key_lines(checked.keys)})
        with self._held.context(assignment.run_id).bound():
            await asyncio.to_thread(self._start, known)
        return None

    def _met(self, run_id: int, answer: Future[RunResult | None]) -> None:
        """Give the place back and report the end of a run whose playbook was not started."""
        self._inspections.release()
        report = self._stopped(run_id) if answer.cancelled() else self._report(run_id, answer)
        if report is not None:
            self._held.finish(report)
        self._freed()

    @staticmethod
    def _report(run_id: int, answer: Future[RunResult | None]) -> RunResult | None:
        error = answer.exception()
        if error is None:
            return answer.result()
        _log.error("host-key.not-checked", exc_info=error)
        if isinstance(error, DatabaseUnavailableError):
            # No failure of the site: the run is begun again.
            return RunResult(run_id=run_id, outcome=RunOutcome.DRAINED, details="", facts={})
        return _failed(run_id, f"Its SSH host key could not be checked: {type(error).__name__}.")


def _failed(run_id: int, details: str) -> RunResult:
    return RunResult(run_id=run_id, outcome=RunOutcome.FAILED, details=details, facts={})
