"""Dependencies of one worker process."""

from __future__ import annotations

from dataclasses import dataclass, field

from actors.metrics import Metrics, NullMetrics
from actors.worker.controller_software import ControllerSoftware
from actors.worker.result_writer import ResultWriter
from db.database import Database
from db.encryption import Sealer
from runner.phase_playbooks import ControllerLayout
from runner.playbook_readiness import PlaybookReadiness
from sites.dcmanager import DcmanagerOperations
from sites.host_key_scan import ScanLimits
from sites.inspector import Inspector
from statemachine.eligibility import EligibilityRules
from statemachine.host_keys import HostKeyPolicy
from statemachine.states import PHASES, StepState
from tracing.tracer import NULL_TRACER, Tracer


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
