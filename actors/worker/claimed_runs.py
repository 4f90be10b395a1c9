"""The runs that this process has claimed, from the claim to the report."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Lock
from time import monotonic, sleep
from typing import Final, TypeVar

import structlog

from actors.worker.dependencies import WorkerDependencies
from actors.worker.run_context import UNKNOWN, RunContext, context_of
from db.claims import claim_again, claim_oldest, claim_runs, claim_unread, queued_runs
from db.errors import DatabaseUnavailableError
from db.runs import RunAssignment, RunResult, hand_back
from db.unit_of_work import UnitOfWork, unit_of_work
from statemachine.states import FailureClass, RunOutcome, StepState

_log = structlog.get_logger(__name__)

_T = TypeVar("_T")
# Claims runs within a unit of work.
_Claim = Callable[[UnitOfWork], list[RunAssignment]]

# Tries while the database restarts. A run that is not claimed then is found again by the loops, seconds later.
_TRIES: Final = 12
_PAUSE_S: Final = 0.5
# Ended runs that are remembered; their messages come within seconds, if they come.
_ENDED_KEPT: Final = 10_000

_GOOD: Final = frozenset({RunOutcome.SUCCEEDED, RunOutcome.SKIPPED})


@dataclass(frozen=True, kw_only=True)
class _Held:
    """A run that this process works on."""

    phase: StepState
    # By a monotonic clock: when the claim was asked for, from which its lease counts, and when it was answered.
    asked_at: float
    taken_at: float
    context: RunContext
    # Name and address of its site, which make no other problem.
    names: tuple[str, ...]


class ClaimedRuns:
    """Runs that this process works on. Every method can be called from any thread."""

    def __init__(self, tools: WorkerDependencies) -> None:
        self._tools = tools
        self._held: dict[int, _Held] = {}
        # Held runs that have no slot, or no place to be inspected, yet.
        self._unbegun: set[int] = set()
        # Claims under way; which runs they take shows at their end.
        self._claims = 0
        # Runs that were let go, of which the database does not know yet.
        self._letting_go: set[int] = set()
        # The last runs that were held and have ended, in their order.
        self._ended: dict[int, None] = {}
        self._lock = Lock()

    def ids(self) -> frozenset[int]:
        """Return the runs that are worked on now."""
        with self._lock:
            return frozenset(self._held)

    def unsettled(self) -> frozenset[int]:
        """Return the runs whose end is under way to the database."""
        with self._lock:
            return frozenset(self._letting_go)

    @property
    def is_claiming(self) -> bool:
        """Whether a claim is under way: then the database may know more runs of this process than it does itself."""
        return self._claims > 0

    def is_known(self, run_id: int) -> bool:
        """Return whether this process holds the run, or has held it not long ago: no message of it says anything."""
        with self._lock:
            return run_id in self._held or run_id in self._ended

    def unbegun(self, phases: Collection[str]) -> int:
        """Return how many held runs of `phases` have no slot, or place, yet."""
        with self._lock:
            return sum(self._held[run_id].phase in phases for run_id in self._unbegun)

    def claimed_at(self, run_id: int) -> float | None:
        """Return when the claim of a run was asked for, by a monotonic clock; None if this process does not hold it."""
        with self._lock:
            held = self._held.get(run_id)
        return None if held is None else held.asked_at

    def context(self, run_id: int) -> RunContext:
        """Return the context of a run; an empty one, if this process does not work on it."""
        with self._lock:
            held = self._held.get(run_id)
        return UNKNOWN if held is None else held.context

    def claim(self, run_ids: Sequence[int], is_hopeless: Callable[[], bool]) -> list[RunAssignment]:
        """Claim those of the runs that are queued. While the database is away it is tried for some seconds.

        A claim whose commit arrived though its answer did not is found by the next try. A run that cannot be read is
        reported as failed, and the others are claimed all the same.

        Raises:
            DatabaseUnavailableError: It did not come back, or `is_hopeless` said that it is not to be waited for.
        """
        try:
            return self._claim_set(lambda work: claim_runs(work, run_ids, self._tools.owner), is_hopeless)
        except DatabaseUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - one run must not hold up the others
            if len(run_ids) > 1:
                return self._claim_each(run_ids, is_hopeless)
            self._fail_unread(run_ids[0], error)
            return []

    def claim_oldest(self, phases: Collection[str], most: int, is_hopeless: Callable[[], bool]) -> list[RunAssignment]:
        """Claim the oldest queued runs of `phases`, at most `most`; see `claim`.

        Raises:
            DatabaseUnavailableError: It did not come back, or `is_hopeless` said that it is not to be waited for.
        """
        try:
            return self._claim_set(lambda work: claim_oldest(work, phases, most, self._tools.owner), is_hopeless)
        except DatabaseUnavailableError:
            raise
        except Exception:  # noqa: BLE001 - one run must not hold up the others
            with self._tools.database.read() as connection:
                waiting = queued_runs(connection, phases, most)
            return self._claim_each(waiting, is_hopeless)

    def begun(self, run_id: int) -> None:
        """Note that a run has its slot, or its place to be inspected."""
        with self._lock:
            self._unbegun.discard(run_id)

    def _claim_set(self, claim: _Claim, is_hopeless: Callable[[], bool]) -> list[RunAssignment]:
        # All tries are of one moment, by which a later one finds what an earlier one has claimed.
        at = datetime.now(UTC)
        with self._lock:
            self._claims += 1
        try:
            return retry_while_unavailable(
                lambda attempt: self._claim_once(claim, at, is_repeat=attempt > 1), is_hopeless
            )
        finally:
            with self._lock:
                self._claims -= 1

    def _claim_once(self, claim: _Claim, at: datetime, *, is_repeat: bool) -> list[RunAssignment]:
        asked_at = monotonic()
        with unit_of_work(self._tools.database, at) as work:
            claimed = (claim_again(work, self._tools.owner) if is_repeat else []) or claim(work)
        contexts = [context_of(one, self._tools.tracer, self._tools.owner) for one in claimed]
        with self._lock:
            for one, context in zip(claimed, contexts, strict=True):
                self._held[one.run_id] = _Held(
                    phase=one.phase,
                    asked_at=asked_at,
                    taken_at=monotonic(),
                    context=context,
                    names=(one.subcloud["name"], *([one.oam_address] if one.oam_address else [])),
                )
                self._unbegun.add(one.run_id)
        for one in claimed:
            self._tools.metrics.run_claimed(one.phase, one.waited_s)
        return claimed

    def _claim_each(self, run_ids: Sequence[int], is_hopeless: Callable[[], bool]) -> list[RunAssignment]:
        return [one for run_id in run_ids for one in self.claim([run_id], is_hopeless)]

    def _fail_unread(self, run_id: int, error: Exception) -> None:
        _log.error("run.unreadable", run=run_id, exc_info=error)
        with unit_of_work(self._tools.database) as work:
            is_ours = claim_unread(work, run_id, self._tools.owner)
        if is_ours:
            reason = f"Its rows in the database could not be read: {type(error).__name__}."
            self._tools.results.add(
                run_result(run_id, RunOutcome.FAILED, reason, failure_class=FailureClass.CONTROLLER)
            )

    def finish(self, report: RunResult) -> None:
        """Let a run go and report how it ended."""
        with self._let_go([report.run_id]) as held:
            self._finish(report, held.get(report.run_id))

    def fail(self, run_id: int, reason: str) -> None:
        """Let a run go that could not be begun."""
        self.finish(run_result(run_id, RunOutcome.FAILED, reason, failure_class=FailureClass.CONTROLLER))

    def _finish(self, report: RunResult, held: _Held | None) -> None:
        context = UNKNOWN if held is None else held.context
        if held is not None:
            worked_s = monotonic() - held.taken_at
            report = replace(report, worked_s=worked_s, failure=report.why(held.names))
            self._tools.metrics.run_ended(held.phase, report.outcome, worked_s)
            # A good end is in the coordinator's log already, as the next state; a line here would cost 1 % of a phase.
            if report.outcome not in _GOOD:
                _log.info("run.ended", outcome=str(report.outcome), details=report.details)
        context.ended(report.outcome, report.details)
        self._tools.results.add(report, context)

    def hand_back(self, run_ids: Sequence[int]) -> None:
        """Let runs go, to wait for a worker again. While the database is away it is tried for some seconds.

        Raises:
            DatabaseUnavailableError: It did not come back; the runs are given up as lost after two renewals.
        """
        # Let go first: as soon as a run is queued another thread of this process may take it again.
        with self._let_go(run_ids, will_return=True) as held:
            for one in held.values():
                one.context.work.end()
            retry_while_unavailable(lambda _: self._hand_back_once(run_ids), lambda: False)

    @contextmanager
    def _let_go(self, run_ids: Sequence[int], *, will_return: bool = False) -> Iterator[Mapping[int, _Held]]:
        """Give the records of runs, while their end is brought to the database or the result writer."""
        with self._lock:
            held = {run_id: self._held.pop(run_id) for run_id in run_ids if run_id in self._held}
            self._unbegun.difference_update(run_ids)
            self._letting_go.update(run_ids)
            if not will_return:
                self._ended.update(dict.fromkeys(held))
                while len(self._ended) > _ENDED_KEPT:
                    del self._ended[next(iter(self._ended))]
        try:
            yield held
        finally:
            with self._lock:
                self._letting_go.difference_update(run_ids)

    def _hand_back_once(self, run_ids: Sequence[int]) -> None:
        with self._tools.database.write() as connection:
            hand_back(connection, run_ids, self._tools.owner)


def retry_while_unavailable(work: Callable[[int], _T], is_hopeless: Callable[[], bool]) -> _T:
    """Return what `work`, given the number of the try, does; while the database is away it is tried for some seconds.

    Raises:
        DatabaseUnavailableError: It did not come back, or `is_hopeless` said that it is not to be waited for.
    """
    for attempt in range(1, _TRIES):
        try:
            return work(attempt)
        except DatabaseUnavailableError:
            if is_hopeless():
                raise
            sleep(_PAUSE_S)
    return work(_TRIES)


def run_result(
    run_id: int,
    outcome: RunOutcome,
    details: str = "",
    *,
    output: bytes = b"",
    failure_class: FailureClass | None = None,
) -> RunResult:
    """Return the result of a run that brought no facts.

    Args:
        run_id: Id of the run.

        outcome: How it ended.

        details: Why.

        output: zlib-compressed UTF-8.

        failure_class: Of a run that failed, the kind of trouble; None: `details` tell.
    """
    return RunResult(
        run_id=run_id, outcome=outcome, details=details, facts={}, output=output, failure_class=failure_class
    )
