"""Dependencies of one worker process, with the system controller's list of software."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from actors.metrics import Metrics, NullMetrics
from actors.worker.result_writer import ResultWriter
from db.database import Database
from db.encryption import Sealer
from db.runs import RunAssignment
from playbook_sets.phase_playbooks import ControllerLayout
from playbook_sets.playbook_readiness import PlaybookReadiness
from sites.errors import InspectionError
from sites.host_key_scan import ScanLimits
from sites.inspector import Inspector
from sites.sysinv.interpretation import ListedSoftware, software_lines
from statemachine.eligibility import EligibilityRules
from statemachine.host_keys import HostKeyPolicy
from statemachine.states import PHASES, StepState
from tracing.tracer import NULL_TRACER, Tracer

if TYPE_CHECKING:
    from sites.dcmanager import DcmanagerOperations

_log = structlog.get_logger(__name__)

# Seconds after which a controller that gave no list is asked again.
_RETRY_S: Final = 60.0
# Lists that are kept: a strategy has one, a prestage without a strategy too.
_MOST: Final = 100

_Answer = tuple[float, tuple[ListedSoftware, ...] | None]


class SoftwareLister(Protocol):
    """Asks the system controller; `SystemControllerCheck` does it."""

    def software(self) -> tuple[ListedSoftware, ...] | None:
        """Return its software; None: it lists none.

        Raises:
            InspectionError: It gave no usable answer in time.
        """


class ControllerSoftware:
    """Answers of the controller, one for each strategy. Callable from any thread.

    Args:
        lister: Asks the controller; None: it is not asked.

        own: The controller's own release (MM.mm).

        clock: Monotonic time, in seconds.
    """

    def __init__(
        self, lister: SoftwareLister | None, own: str | None, *, clock: Callable[[], float] = monotonic
    ) -> None:
        self._lister = lister
        self._own = own
        self._clock = clock
        self._asking = Lock()
        self._answers: dict[Hashable, _Answer] = {}

    def lines(self, assignment: RunAssignment) -> Sequence[str]:
        """Return the lines about the release to stage; empty: there are none, and the playbook asks for itself.

        The first run of a strategy may wait some seconds for the controller, and the others for that one.
        """
        if self._lister is None:
            return ()
        key = ("strategy", assignment.strategy_id) if assignment.strategy_id else ("step", assignment.for_step_id)
        with self._asking:
            software = self._software(self._lister, key)
        return software_lines(software or (), assignment.release, self._own)

    def _software(self, lister: SoftwareLister, key: Hashable) -> tuple[ListedSoftware, ...] | None:
        known = self._answers.get(key)
        if known is not None and (known[1] is not None or self._clock() - known[0] < _RETRY_S):
            return known[1]
        self._answers[key] = (self._clock(), _ask(lister))
        while len(self._answers) > _MOST:
            del self._answers[next(iter(self._answers))]
        return self._answers[key][1]


def _ask(lister: SoftwareLister) -> tuple[ListedSoftware, ...] | None:
    try:
        return lister.software()
    except InspectionError as error:
        _log.warning("controller-software.not-listed", reason=str(error), advice="Playbooks ask for it themselves.")
        return None


@dataclass(frozen=True, kw_only=True)
class WorkerDependencies:
    """Dependencies of one worker process."""

    database: Database
    inspector: Inspector
    sealer: Sealer
    results: ResultWriter
    layout: ControllerLayout
    # Whether the playbooks can be run.
    playbooks: PlaybookReadiness
    rules: EligibilityRules
    # Stable name of the worker and this process of it, as `name/incarnation`.
    owner: str
    # Phases that this worker carries out: prepare needs a controller that has the feeds.
    phases: frozenset[StepState] = frozenset(phase.state for phase in PHASES.values())
    host_keys: HostKeyPolicy = HostKeyPolicy.ACCEPT_NEW
    host_key_limits: ScanLimits = field(default_factory=ScanLimits)
    # What knows the operations of a dcmanager beside us; None: it is not asked.
    dcmanager: DcmanagerOperations | None = None
    # The controller's list of software, for playbooks that take it.
    software: ControllerSoftware = field(default_factory=lambda: ControllerSoftware(None, None))
    # Sites that are asked for their facts at once.
    inspections: int = 250
    metrics: Metrics = field(default_factory=NullMetrics)
    tracer: Tracer = NULL_TRACER

    @property
    def name(self) -> str:
        """Return the stable name of the worker."""
        return self.owner.partition("@")[0]
