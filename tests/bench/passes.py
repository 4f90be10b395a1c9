"""CPU of the coordinator and of its PostgreSQL session for each transition of a step, by results per pass.

Results are written without a worker, in one statement, so that nothing but passes of the coordinator is measured. Run
it with `make bench`, or alone: `python -m tests.bench.passes`; it starts a PostgreSQL of its own. CPU time is of the
coordinator's thread and, as the kernel counts it, of all sessions of the database, of which only the coordinator's
works during a pass. Growth is that of the sum from the smallest fleet on, in stages and in a sliding window.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import thread_time
from typing import Final

from rich.table import Table
from sqlalchemy import select, text, update

from db.database import Database
from db.migrate import upgrade
from db.schema import runs, steps
from monitoring.logging import configure_logs
from statemachine.rollout import RolloutMode
from statemachine.states import RunState, StepState
from tests.bench.commands import add_sites, without_statistics
from tests.bench.goals import CONSOLE, Goal, judge, show_machine
from tests.support.installation import Installation
from tests.support.postgres_server import PostgresServer

# Sites, sites at once, and results in one pass.
WIDTHS: Final = (
    (1000, 500, 500),
    (1000, 500, 50),
    (1000, 50, 50),
    (200, 50, 1),
)
# Fleets of the same width and results, the smallest first.
FLEETS: Final = (100, 1000, 5000, 10_000)
FLEET_WIDTH: Final = 50
FLEET_RESULTS: Final = 5
GROWTH: Final = 1.15
# Transitions of a large strategy that are enough to measure.
LIMIT: Final = 4000
# Passes at the start of a strategy that are not counted: both databases prepare their statements in them.
WARM_UP: Final = 20


@dataclass(frozen=True, kw_only=True)
class PassCase:
    """What is measured."""

    database: str
    mode: str
    sites: int
    width: int
    results: int


@dataclass(kw_only=True)
class PassCosts:
    """CPU time of the passes of one strategy."""

    case: PassCase
    passes: int = 0
    transitions: int = 0
    coordinator_s: float = 0.0
    database_s: float = 0.0

    def ms(self, seconds: float) -> float:
        """Return a time for each transition in milliseconds."""
        return seconds * 1000 / self.transitions

    @property
    def sum_ms(self) -> float:
        """CPU of coordinator and PostgreSQL for each transition, in milliseconds."""
        return self.ms(self.coordinator_s + self.database_s)


def main(arguments: list[str]) -> int:
    """Measure all cases over both databases, show them, and return the exit status."""
    parser = ArgumentParser(prog="python -m tests.bench.passes", description="Measure passes of the coordinator.")
    parser.add_argument("--fleets", type=int, nargs="+", default=FLEETS, help="sites, the smallest first")
    parser.add_argument("--only-growth", action="store_true", help="leave out the cases of other widths")
    chosen = parser.parse_args(arguments)
    configure_logs("json", "warning")
    show_machine()
    costs = []
    for one in _costs([] if chosen.only_growth else WIDTHS, sorted(chosen.fleets)):
        costs.append(one)
        # All take minutes: each is shown as soon as it is known.
        case = one.case
        CONSOLE.print(f"       {case.database}, {case.mode}, {case.sites:,} sites: {one.sum_ms:.3f} ms a transition")
    _show(costs)
    return judge(_growth(costs))


def _costs(widths: Sequence[tuple[int, int, int]], fleets: Sequence[int]) -> Iterator[PassCosts]:
    cases = [(RolloutMode.STAGES, *one) for one in widths]
    cases += [(mode, sites, min(FLEET_WIDTH, sites), FLEET_RESULTS) for mode in RolloutMode for sites in fleets]
    with PostgresServer() as server, TemporaryDirectory() as directory:
        urls: Mapping[str, Callable[[int], str]] = {
            "PostgreSQL": lambda _: server.url(server.create_database()),
            "SQLite": lambda place: f"sqlite:///{Path(directory) / f'{place}.db'}",
        }
        for place, (mode, sites, width, results) in enumerate(cases):
            for database, url in urls.items():
                case = PassCase(database=database, mode=mode, sites=sites, width=width, results=results)
                yield measure(url(place), case, limit=LIMIT)


def _growth(costs: Sequence[PassCosts]) -> Iterator[Goal]:
    """P5: CPU of a transition in each fleet against the smallest one of its database and mode."""
    smallest: dict[tuple[str, str], PassCosts] = {}
    for one in costs:
        case = one.case
        if case.results != FLEET_RESULTS:
            continue
        base = smallest.setdefault((case.database, case.mode), one)
        if base is not one:
            name = f"CPU of a pass at {case.sites:,} sites against {base.case.sites:,}, {case.mode}, {case.database}"
            yield Goal(name=name, measured=one.sum_ms / base.sum_ms, limit=GROWTH, unit="x")


def _show(costs: Sequence[PassCosts]) -> None:
    table = Table(title="CPU of the coordinator's passes, ms for each transition")
    names = ("database", "mode", "sites", "width", "results", "passes", "transitions", "coordinator", "PostgreSQL")
    for name in (*names, "sum"):
        table.add_column(name, justify="right")
    for one in costs:
        case = one.case
        counts = (case.sites, case.width, case.results, one.passes, one.transitions)
        times = (one.ms(one.coordinator_s), one.ms(one.database_s), one.sum_ms)
        table.add_row(case.database, case.mode, *map(str, counts), *(f"{value:.3f}" for value in times))
    CONSOLE.print(table)


def measure(url: str, case: PassCase, *, limit: int) -> PassCosts:
    """Carry one strategy through, or its first `limit` transitions; each pass has the results of the case.

    Raises:
        SystemExit: It ends within the passes that are not counted.
    """
    database = Database(url)
    upgrade(database)
    if database.url.get_backend_name() == "postgresql":
        with database.write() as connection:
            without_statistics(connection)
    database.close()
    installation = Installation.of_coordinator(url)
    assert installation.coordinator is not None
    costs = PassCosts(case=case)
    try:
        add_sites(installation.database, case.sites)
        wanted = {"subcloud-apply-type": "parallel", "max-parallel-subclouds": case.width}
        answer = installation.create(**wanted, rollout={"mode": case.mode})
        assert answer.status == 200, answer.detail
        assert installation.verb("apply").status == 200
        sessions = _session_ids(installation.database)
        warmed = _warm_up(installation, case.results)
        while costs.transitions < limit and (finished := finish_oldest(installation.database, case.results)):
            before, began = _cpu_s(sessions), thread_time()
            installation.coordinator.coordinate()
            costs.coordinator_s += thread_time() - began
            costs.database_s += _cpu_s(sessions) - before
            costs.passes += 1
            costs.transitions += finished
        if not costs.transitions:
            raise SystemExit(f"{case.sites} sites end within the {warmed} passes that are not counted")
        return costs
    finally:
        installation.database.close()


def _warm_up(installation: Installation, results: int) -> int:
    """Make the passes that are not counted; return how many there were."""
    assert installation.coordinator is not None
    passes = 0
    while passes < WARM_UP and finish_oldest(installation.database, min(results, FLEET_RESULTS)):
        installation.coordinator.coordinate()
        passes += 1
    return passes


def finish_oldest(database: Database, count: int) -> int:
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
    sys.exit(main(sys.argv[1:]))
