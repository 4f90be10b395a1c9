"""Heartbeats: one row for each process of an installation, written anew every few seconds.

A process is alive when its row was written within `ALIVE_S` seconds, by the database's clock alone. A process that
stops in order removes its row, so a row that is not alive belongs to a process that died, or that cannot reach the
database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select, update

from db.read_queries import Row
from db.schema import database_now, heartbeats
from messages.queues import WORKER_QUEUES, phases_of_queues
from statemachine.states import PLAYBOOK_PHASES

# Seconds between two heartbeats of a process.
BEAT_S: Final = 10.0
# Seconds without a heartbeat after which a process counts as dead: two may be late.
ALIVE_S: Final = 30.0
# Seconds after which the row of a dead process is removed.
FORGET_S: Final = 86_400.0
# The role whose name one process of a machine has to itself.
_WORKER: Final = "worker"

_ROWS: Final = heartbeats.c
_ERROR_LENGTH: Final = 1000


@dataclass(frozen=True, kw_only=True)
class ProcessIdentity:
    """Facts that do not change while a process runs."""

    # `name@machine/id`, as the owner of runs; unique for each start of a process.
    process: str
    # PRESTAGER_WORKER_NAME.
    name: str
    host: str
    version: str
    # Sorted.
    roles: tuple[str, ...]
    # Queues that a worker serves, sorted; empty without a worker.
    queues: tuple[str, ...] = ()
    # Playbooks at once; None without a worker.
    slots: int | None = None


@dataclass(frozen=True, kw_only=True)
class ProcessReport:
    """State in one heartbeat; None: not known yet, or not for a process without a worker."""

    # Ids of the keys that the process opens secrets with, the sealing one first.
    key_ids: tuple[str, ...]
    # Playbooks that run now, and sites whose facts are being read.
    running: int | None = None
    prechecks: int | None = None
    # The process takes no more runs.
    draining: bool = False
    releases: tuple[str, ...] | None = None
    feeds: tuple[str, ...] | None = None
    # First error of the playbook set; empty: it has none.
    playbooks_error: str | None = None


def write_heartbeat(connection: Connection, identity: ProcessIdentity, report: ProcessReport) -> bool:
    """Renew the row of a process; False when it has none: then it is to be registered."""
    statement = update(heartbeats).where(_ROWS.process == identity.process).values(**_reported(report))
    return connection.execute(statement).rowcount > 0


def register_process(connection: Connection, identity: ProcessIdentity, report: ProcessReport) -> list[str]:
    """Add the row of a process, and remove those of its dead predecessors; return the ids of keys they sealed with."""
    replaced = delete(heartbeats).where(_predecessors(identity)).returning(_ROWS.key_ids)
    sealing = [ids[0] for ids in connection.execute(replaced).scalars() if ids]
    connection.execute(
        insert(heartbeats).values(
            process=identity.process,
            name=identity.name,
            host=identity.host,
            role="+".join(identity.roles),
            version=identity.version,
            queues=list(identity.queues),
            slots=identity.slots,
            started_epoch=database_now(),
            **_reported(report),
        )
    )
    return sealing


def remove_process(connection: Connection, process: str) -> None:
    """Remove the row of a process that stops; without one nothing happens."""
    _forget(connection, _ROWS.process == process)


def forget_dead_processes(connection: Connection) -> int:
    """Remove rows that were not renewed for `FORGET_S` seconds; return how many."""
    return _forget(connection, _ROWS.seen_epoch < database_now() - FORGET_S)


def all_processes(connection: Connection) -> list[Row]:
    """Return the rows of all processes by role and name, each with `age_s` since its heartbeat and `alive`."""
    query = select(heartbeats, heartbeat_age().label("age_s"), is_alive().label("alive"))
    ordered = query.order_by(_ROWS.role, _ROWS.name, _ROWS.started_epoch, _ROWS.process)
    return cast("list[Row]", connection.execute(ordered).mappings().all())


def living_processes(connection: Connection) -> list[Row]:
    """Return the rows of the processes that are alive, as `all_processes` does."""
    return [row for row in all_processes(connection) if row["alive"]]


def heartbeat_age() -> ColumnElement[float]:
    """Return the seconds since a process was seen last."""
    return database_now() - _ROWS.seen_epoch


def is_alive() -> ColumnElement[bool]:
    """Return the condition of rows of living processes."""
    # A row from the future was written before the database's clock was set back.
    return heartbeat_age().between(-ALIVE_S, ALIVE_S)


def _reported(report: ProcessReport) -> dict[str, Any]:
    error = report.playbooks_error
    return {
        "running": report.running,
        "prechecks": report.prechecks,
        "draining": report.draining,
        "releases": _listed(report.releases),
        "feeds": _listed(report.feeds),
        "playbooks_error": None if error is None else error[:_ERROR_LENGTH],
        "key_ids": list(report.key_ids),
        "seen_epoch": database_now(),
    }


def _listed(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else list(values)


def _predecessors(identity: ProcessIdentity) -> ColumnElement[bool]:
    """Return the condition of rows of earlier processes in the place of this one."""
    place = identity.process.partition("/")[0]
    # Not LIKE: SQLite's does not tell cases apart.
    same_place = func.substr(_ROWS.process, 1, len(place) + 1) == f"{place}/"
    same_role = _ROWS.role == "+".join(identity.roles)
    if _WORKER in identity.roles:
        # A worker holds a lock on its name: the one before is dead, however lately it was seen.
        return and_(same_place, same_role)
    return and_(same_place, same_role, ~is_alive())


def _forget(connection: Connection, condition: ColumnElement[bool]) -> int:
    return connection.execute(delete(heartbeats).where(condition)).rowcount


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
    return queues_served_by(living_processes(connection))


def queues_served_by(living: Sequence[Row]) -> list[ServedQueue]:
    """Return every queue of workers with those of the living processes that serve it."""
    alive = [row for row in living if row["slots"] is not None]
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
