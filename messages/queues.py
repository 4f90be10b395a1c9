"""The names of the queues on RabbitMQ, and the call of an actor that goes through one; in one process only names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from statemachine.states import PHASES, StepState

# Commands, from the API and from foreign publishers.
COMMANDS: Final = "prestager.commands"
# Results of runs, for the coordinator.
COORDINATOR: Final = "prestager.coordinator"
# Prechecks: they take no playbook slot.
PRECHECKS: Final = "prestager.prechecks"
# Playbooks at the sites.
SUBCLOUDS: Final = "prestager.subclouds"
# Playbooks at the controller that has the feeds.
PREPARE: Final = "prestager.prepare"

# What a worker may serve.
WORKER_QUEUES: Final = (PRECHECKS, SUBCLOUDS, PREPARE)

# The queue of each actor.
QUEUE_OF: Final[Mapping[str, str]] = {
    "execute_command": COMMANDS,
    "coordinate": COORDINATOR,
    "inspect_site": PRECHECKS,
    "stage_content": SUBCLOUDS,
    "prepare_release": PREPARE,
}


# Call of the outbox that every worker gets: runs of it may be marked as to be cancelled.
CANCEL_RUNS: Final = "cancel_runs"


class Call(NamedTuple):
    """One message to an actor."""

    actor: str
    argument: int | None = None
    # Traceparent; None: it is not traced.
    trace: str | None = None


def queue_of_phase(phase: str) -> str:
    """Return the queue by which runs of a phase reach their workers."""
    return QUEUE_OF[PHASES[phase].actor]


def phases_of_queues(queues: Collection[str]) -> frozenset[StepState]:
    """Return the phases that a worker of these queues carries out."""
    return frozenset(phase.state for phase in PHASES.values() if QUEUE_OF[phase.actor] in queues)
