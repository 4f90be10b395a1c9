"""CPU of the coordinator and of its PostgreSQL session for each transition of a step, by results per pass.

Results are written without a worker, in one statement, so that nothing but passes of the coordinator is measured. Run
it with `make bench`; it starts a PostgreSQL of its own. CPU time is of the coordinator's thread and, as the kernel
counts it, of all sessions of the database, of which only the coordinator's works during a pass.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import thread_time
from typing import Final

from rich.console import Console
from rich.table import Table
from sqlalchemy import select, text, update

from db.database import Database
from db.migrate import upgrade
from db.schema import runs, steps
from monitoring.logging import configure_logs
from statemachine.states import RunState, StepState
from tests.bench.commands import add_sites, without_statistics
from tests.support.installation import Installation
from tests.support.postgres_server import PostgresServer

# Sites, sites at once, and results in one pass.
CASES: Final = (
    (1000, 500, 500),
    (1000, 500, 50),
    (1000, 50, 50),
    (200, 50, 1),
    (100, 50, 5),
    (1000, 50, 5),
    (10_000, 50, 5),
)
# Transitions of a large strategy that are enough to measure.
LIMIT: Final = 4000


@dataclass(kw_only=True)
class PassCosts:
    """CPU time of the passes of one strategy."""

    sites: int
    width: int
    results: int
    passes: int = 0
    transitions: int = 0
    coordinator_s: float = 0.0
    database_s: float = 0.0

    def ms(self, seconds: float) -> float:
        """Return a time for each transition in milliseconds."""
        return seconds * 1000 / self.transitions


def main() -> int:
    """Measure all cases over both databases and show them."""
    configure_logs("json", "warning")
    costs: list[tuple[str, PassCosts]] = []
    with PostgresServer() as server, TemporaryDirectory() as directory:
        for place, case in enumerate(CASES):
            url = server.url(server.create_database())
            costs.append(("PostgreSQL", measure(url, *case, limit=LIMIT)))
            costs.append(("SQLite", measure(f"sqlite:///{Path(directory) / f'{place}.db'}", *case, limit=LIMIT)))
    table = Table(title="CPU of the coordinator's passes, ms for each transition")
    for name in ("database", "sites", "width", "results", "passes", "transitions", "coordinator", "PostgreSQL", "sum"):
        table.add_column(name, justify="right")
    for database, one in costs:
        table.add_row(
            database,
            *(str(value) for value in (one.sites, one.width, one.results, one.passes, one.transitions)),
            *(
                f"{one.ms(value):.3f}"
                for value in (one.coordinator_s, one.database_s, one.coordinator_s + one.database_s)
            ),
        )
    Console(width=120).print(table)
    return 0


def measure(url: str, sites: int, width: int, results: int, *, limit: int = sys.maxsize) -> PassCosts:
    """Carry one strategy through, or its first `limit` transitions, `results` finished runs to a pass."""
    database = Database(url)
    upgrade(database)
    if database.url.get_backend_name() == "postgresql":
        with database.write() as connection:
            without_statistics(connection)
    database.close()
    installation = Installation.of_coordinator(url)
    assert installation.coordinator is not None
    costs = PassCosts(sites=sites, width=width, results=results)
    try:
        add_sites(installation.database, sites)
        answer = installation.create(**{"subcloud-apply-type": "parallel", "max-parallel-subclouds": width})
        assert answer.status == 200, answer.detail
        assert installation.verb("apply").status == 200
        sessions = _session_ids(installation.database)
        while costs.transitions < limit and (finished := _finish(installation.database, results)):
            before, began = _cpu_s(sessions), thread_time()
            installation.coordinator.coordinate()
            costs.coordinator_s += thread_time() - began
            costs.database_s += _cpu_s(sessions) - before
            costs.passes += 1
            costs.transitions += finished
        return costs
    finally:
        installation.database.close()


def _finish(database: Database, count: int) -> int:
    """Claim and finish the oldest queued runs, at most `count`, as workers do; return how many there were."""
    with database.write() as connection:
        query = select(runs.c.id, runs.c.step_id, runs.c.phase).where(~runs.c.consumed, runs.c.state == RunState.QUEUED)
        queued = connection.execute(query.order_by(runs.c.id).limit(count)).all()
        ids = [row.id for row in queued]
        connection.execute(
            update(runs)
            .where(runs.c.id.in_(ids))
            .values(state=RunState.FINISHED, outcome="succeeded", owner="worker/1")
        )
        begun = [row.step_id for row in queued if row.phase == StepState.PRECHECK]
        connection.execute(
            update(steps)
            .where(steps.c.id.in_(begun))
            .values(state=StepState.PRECHECK, from_version="22.12", version=steps.c.version + 1)
        )
    return len(ids)


def _session_ids(database: Database) -> list[int]:
    """Return the processes of the database's sessions; none for SQLite."""
    if database.url.get_backend_name() != "postgresql":
        return []
    with database.read() as connection:
        query = text(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
        )
        return list(connection.execute(query).scalars())


def _cpu_s(processes: Iterable[int]) -> float:
    """Return the CPU time of processes, as the kernel counts it in nanoseconds."""
    return sum(int(Path(f"/proc/{process}/schedstat").read_text().split()[0]) for process in processes) / 1e9


if __name__ == "__main__":
    sys.exit(main())
