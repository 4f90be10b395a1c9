"""Record the spans of phases that a coordinator's transaction began or ended, once it is committed.

The span of a phase begins when its run is dispatched and ends when the run is concluded, perhaps in another process:
its ids are kept in the run's row, and it is recorded at its end. A process that dies in between leaves a trace without
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from db.database import Database
from db.phase_spans import ConcludedPhase, concluded_phases
from db.unit_of_work import UnitOfWork
from statemachine.states import RunOutcome
from tracing.tracer import Attributes, Tracer

_log = structlog.get_logger(__name__)

# What a phase came to where there is no sentence for it.
_FAILURES: Final = {
    RunOutcome.FAILED: "The phase failed.",
    RunOutcome.LOST: "The worker was lost.",
}


class PhaseSpans:
    """Records the spans of phases for one coordinator."""

    def __init__(self, database: Database, tracer: Tracer) -> None:
        self._database = database
        self._tracer = tracer

    def record(self, work: UnitOfWork) -> None:
        """Write the spans of the runs that a unit of work dispatched and of the phases that it completed.

        Never raises: the transaction is committed.
        """
        if not self._tracer.is_on:
            return
        for run in work.dispatched:
            if run.trace is not None:
                self._tracer.record("dispatch", parent=run.trace, began_epoch=run.dispatched_epoch)
        if work.completed:
            try:
                self._tell_concluded(work.completed, work.at.timestamp())
            except SQLAlchemyError as error:
                _log.warning("traces.incomplete", fault=type(error).__name__, runs=len(work.completed))

    def _tell_concluded(self, run_ids: Sequence[int], began_at: float) -> None:
        with self._database.read() as connection:
            phases, now = concluded_phases(connection, run_ids)
        for phase in phases:
            self._tracer.record("conclude", parent=phase.trace, began_epoch=began_at)
            self._tracer.record(
                f"phase {phase.phase}",
                parent=phase.parent,
                own=phase.trace,
                link=phase.link,
                began_epoch=phase.dispatched_epoch,
                ended_epoch=now,
                attributes=_attributes(phase),
                failure=phase.details or _FAILURES[phase.outcome] if phase.outcome in _FAILURES else None,
            )


def _attributes(phase: ConcludedPhase) -> Attributes:
    of_strategy = {"prestager.strategy.id": phase.strategy_id} if phase.strategy_id is not None else {}
    return {
        **of_strategy,
        "prestager.step.id": phase.step_id,
        "prestager.subcloud.name": phase.subcloud,
        "prestager.phase": phase.phase,
        "prestager.attempt": phase.attempt,
        "prestager.run.id": phase.run_id,
        "prestager.outcome": phase.outcome,
    }
