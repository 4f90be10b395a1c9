"""Roles of a process in an installation."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Final

from db.dispatch_runs import ACTOR_OF_PHASE
from messages.queues import QUEUE_OF
from statemachine.states import StepState


class Role(StrEnum):
    """What one process does of an installation."""

    API = "api"
    COORDINATOR = "coordinator"
    WORKER = "worker"


ALL_ROLES: Final = frozenset(Role)


def phases_of(queues: Collection[str]) -> frozenset[StepState]:
    """Return the phases that a worker of these queues carries out."""
    return frozenset(phase for phase, actor in ACTOR_OF_PHASE.items() if QUEUE_OF[actor] in queues)
