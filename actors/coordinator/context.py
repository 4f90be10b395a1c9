"""Context of a command handler: one transaction, its events and messages, its moment, the rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from db.unit_of_work import UnitOfWork
from sites.inspector import Inspector
from statemachine.eligibility import EligibilityRules
from statemachine.site_operations import SiteOperation
from statemachine.snapshot import PlanLimits


@dataclass(frozen=True, kw_only=True)
class CoordinatorRules:
    """What the operator set that the coordinator obeys."""

    # The system controller's release (MM.mm); None: every request must name one.
    release: str | None
    site: EligibilityRules = field(default_factory=EligibilityRules)
    limits: PlanLimits = field(default_factory=PlanLimits)


@dataclass(frozen=True, kw_only=True)
class ControllerState:
    """What the system controller itself told before the transaction began."""

    is_upgrading: bool = False
    # The releases that it has (MM.mm), oldest first; None: it was not asked, or did not tell.
    releases: tuple[str, ...] | None = None
    # Why it could not be told, for the operator.
    fault: str | None = None
    # Operations of dcmanager that go on, by subcloud.
    operations: Mapping[str, SiteOperation] = field(default_factory=dict)
    # Why those could not be told, for the operator.
    operations_fault: str | None = None


@dataclass(frozen=True, kw_only=True)
class CommandContext:
    """One command's transaction."""

    work: UnitOfWork
    rules: CoordinatorRules
    inspector: Inspector
    controller: ControllerState = field(default_factory=ControllerState)
    # Sentences about a change for the audit.
    notes: list[str] = field(default_factory=list)

    @property
    def connection(self) -> Connection:
        """The connection, inside the command's transaction."""
        return self.work.connection

    @property
    def at(self) -> datetime:
        """The moment that rows are stamped with (UTC)."""
        return self.work.at
