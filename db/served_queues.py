"""Living workers of each queue, from the heartbeats; one rule for doctor, readiness, queues and create."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from db.heartbeats import living_processes
from messages.queues import WORKER_QUEUES, phases_of_queues
from statemachine.phases import PLAYBOOK_PHASES


@dataclass(frozen=True, kw_only=True)
class ServedQueue:
    """The living workers of one queue.

    Attributes:
        queue: Its name.

        workers: Names of workers that take from it, sorted.

        draining: Names of workers that serve it and take no more, sorted.

        slots: Playbooks at once of those that take; 0 for prechecks, which need no slot.

        running: Playbooks of those that run now, of any queue, as they reported it within the last 30 s.
    """

    queue: str
    workers: tuple[str, ...] = ()
    draining: tuple[str, ...] = ()
    slots: int = 0
    running: int = 0

    @property
    def free(self) -> int:
        """Return the free slots; 0 where no slot is needed."""
        return max(0, self.slots - self.running)

    @property
    def missing(self) -> str | None:
        """Return why nothing is taken from the queue, and what to do; None where a worker takes."""
        found = _sentences([self])
        return found[0] if found else None


def served_queues(connection: Connection) -> list[ServedQueue]:
    """Return every queue of workers with those that serve it."""
    alive = [row for row in living_processes(connection) if row["slots"] is not None]
    found = []
    for queue in WORKER_QUEUES:
        serving = [row for row in alive if queue in row["queues"]]
        taking = [row for row in serving if not row["draining"]]
        needs_slots = not phases_of_queues([queue]).isdisjoint(PLAYBOOK_PHASES)
        found.append(
            ServedQueue(
                queue=queue,
                workers=tuple(sorted({row["name"] for row in taking})),
                draining=tuple(sorted({row["name"] for row in serving if row["draining"]})),
                slots=sum(row["slots"] for row in taking) if needs_slots else 0,
                running=sum(row["running"] or 0 for row in taking) if needs_slots else 0,
            )
        )
    return found


def missing_workers(queues: Sequence[ServedQueue]) -> list[str]:
    """Return why nothing is taken from some queues, and what to do: two sentences at most, none if all are served."""
    if not any(queue.workers or queue.draining for queue in queues):
        return ["No worker is alive: nothing is checked or staged until one is. Start one: prestager worker"]
    return _sentences(queues)


def _sentences(queues: Sequence[ServedQueue]) -> list[str]:
    idle = [queue for queue in queues if not queue.workers]
    unserved = ", ".join(queue.queue for queue in idle if not queue.draining)
    drained = ", ".join(queue.queue for queue in idle if queue.draining)
    draining = ", ".join(sorted({name for queue in idle for name in queue.draining}))
    found = []
    if unserved:
        found.append(f"No living worker serves {unserved}. Start one: prestager worker")
    if drained:
        found.append(
            f"Every worker that serves {drained} drains: {draining}. Have one take runs again: prestager undrain NAME"
        )
    return found
