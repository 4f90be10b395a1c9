"""What the commands of a large strategy cost on PostgreSQL, with the planner's statistics and without any.

Those that hold and cancel one are measured on SQLite too.

Run it with `make bench`, or alone: `python -m tests.bench.commands`; it starts a PostgreSQL of its own. The exit status
says whether the goals are met.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import chain
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, Final

from rich.table import Table
from sqlalchemy import insert, text

from db.claims import claim_oldest
from db.database import Database
from db.migrate import upgrade
from db.runs import RunResult, finish_runs
from db.schema import subclouds
from db.unit_of_work import unit_of_work
from messages.commands import Command, CommandType
from monitoring.logging import configure_logs
from service.lifecycle import freeze_heap
from statemachine.states import RunOutcome, StepState
from tests.bench.goals import CONSOLE, Goal, judge, show_machine
from tests.support.installation import OWNER, Installation
from tests.support.postgres_server import PostgresServer

# What is held or cancelled, and how long each of these commands may take, in seconds.
HELD_SITES: Final = 5000
GOAL_HOLD_S: Final = 0.3
SIZES: Final = (1000, 10_000)
WIDTH: Final = 500
# At the largest size, in seconds.
GOAL_CREATE_S: Final = 1.2
GOAL_ABORT_S: Final = 0.2
# Longest other transaction that holds the coordinator's lock, in seconds.
GOAL_LOCK_S: Final = 0.25


@dataclass(frozen=True, kw_only=True)
class CommandTimes:
    """Seconds of each command over one strategy."""

    sites: int
    has_statistics: bool
    create_s: float
    apply_s: float
    look_s: float
    abort_s: float
    delete_s: float
    # With a history of one strategy of the same size.
    second_create_s: float
    second_delete_s: float


def main(arguments: list[str]) -> int:
    """Measure all sizes, show them and return the exit status."""
    parser = ArgumentParser(prog="python -m tests.bench.commands", description="Measure commands of a strategy.")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="sites; goals are about the largest")
    parser.add_argument("--held", type=int, default=HELD_SITES, help="sites that are held (%(default)s)")
    chosen = parser.parse_args(arguments)
    configure_logs("json", "warning")
    show_machine()
    with PostgresServer() as server, TemporaryDirectory() as directory:
        times = [
            measure(server, sites, has_statistics=has_statistics)
            for sites in chosen.sizes
            for has_statistics in (True, False)
        ]
        held = {
            "SQLite": measure_holds(f"sqlite:///{directory}/prestager.db", chosen.held),
            "PostgreSQL": measure_holds(server.url(server.create_database()), chosen.held),
        }
    _show(times)
    largest = [one for one in times if one.sites == max(chosen.sizes)]
    return judge(chain(_goals(largest), _hold_goals(held, chosen.held)))


def measure_holds(database_url: str, sites: int) -> dict[str, float]:
    """Hold, resume and cancel a strategy of which a stage is being worked on; return the seconds of each command."""
    database = Database(database_url)
    upgrade(database)
    database.close()
    installation = Installation.of_coordinator(database_url)
    try:
        add_sites(installation.database, sites)
        bring_halfway(installation, min(WIDTH, sites))
        # As the service does: else a collection of all that this process has loaded counts as a command's time.
        freeze_heap()
        taken = {}
        for name, command, options in (
            # The first one of a process makes its statements.
            ("first pause", "pause", {}),
            ("first resume", "resume", {}),
            ("pause", "pause", {"scope": "starts"}),
            ("wider pause", "pause", {"scope": "phases"}),
            ("resume", "resume", {}),
            ("cancel", "cancel", {}),
        ):
            began = monotonic()
            answer = installation.execute(Command(type=CommandType(f"strategy.{command}"), data=options))
            taken[name] = monotonic() - began
            assert answer.status == HTTPStatus.OK, answer.detail
        return taken
    finally:
        installation.database.close()


def bring_halfway(installation: Installation, width: int) -> None:
    """Apply a strategy over all sites: half of its first stage is in packages, a few of them running."""
    created = installation.create(**{"subcloud-apply-type": "parallel", "max-parallel-subclouds": width})
    assert created.status == HTTPStatus.OK, created.detail
    assert installation.verb("apply").status == HTTPStatus.OK
    work_on(installation, StepState.PRECHECK, width // 2)
    # The one that they all need.
    work_on(installation, StepState.PREPARE, 1)
    with unit_of_work(installation.database) as work:
        assert claim_oldest(work, [StepState.PACKAGES], width // 10, OWNER)


def work_on(installation: Installation, phase: StepState, count: int) -> None:
    """Have the oldest runs of a phase that no worker has taken succeed, and plan."""
    with unit_of_work(installation.database) as work:
        claimed = [one.run_id for one in claim_oldest(work, [phase], count, OWNER)]
        reports = [
            RunResult(run_id=one, outcome=RunOutcome.SUCCEEDED, details="", facts={}, from_version="22.12")
            for one in claimed
        ]
        assert len(finish_runs(work.connection, reports, OWNER, work.at)) == count
    assert installation.coordinator is not None
    installation.coordinator.coordinate()


def measure(server: PostgresServer, sites: int, *, has_statistics: bool) -> CommandTimes:
    """Create, apply, abort and delete a strategy over `sites` sites, then create and delete another."""
    url = server.url(server.create_database())
    database = Database(url)
    upgrade(database)
    with database.write() as connection:
        without_statistics(connection)
    database.close()
    installation = Installation.of_coordinator(url)
    try:
        add_sites(installation.database, sites)

        def timed(work: Any, *arguments: Any, **options: Any) -> float:
            if has_statistics:
                _analyse(installation.database)
            began = monotonic()
            answer = work(*arguments, **options)
            taken = monotonic() - began
            if answer is not None and answer.status != 200:
                raise SystemExit(f"answered {answer.status}: {answer.detail}")
            return taken

        wanted = {"subcloud-apply-type": "parallel", "max-parallel-subclouds": WIDTH}
        assert installation.coordinator is not None
        freeze_heap()
        return CommandTimes(
            sites=sites,
            has_statistics=has_statistics,
            create_s=timed(installation.create, **wanted),
            apply_s=timed(installation.verb, "apply"),
            look_s=timed(installation.coordinator.coordinate),
            abort_s=timed(installation.verb, "abort"),
            delete_s=timed(installation.verb, "delete"),
            second_create_s=timed(installation.create, **wanted),
            second_delete_s=timed(installation.verb, "delete"),
        )
    finally:
        installation.database.close()


def without_statistics(connection: Any) -> None:
    tables = connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars().all()
    for table in tables:
        connection.execute(text(f"ALTER TABLE {table} SET (autovacuum_enabled = false)"))


def _analyse(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("ANALYZE"))


def add_sites(database: Database, count: int) -> None:
    row = {
        "group_id": 1,
        "software_version": "22.12",
        "management_state": "managed",
        "availability_status": "online",
        "deploy_status": "complete",
        "error_description": "No errors present",
        "region_name": "region",
        "openstack_installed": False,
        "system_mode": "simplex",
        "management_alarms": 0,
        "connection": {},
        "probe_failures": 0,
        "created_at": datetime.now(UTC),
    }
    with database.write() as connection:
        connection.execute(insert(subclouds), [row | {"name": f"site{place:05}"} for place in range(count)])


def _show(times: list[CommandTimes]) -> None:
    table = Table(title="Commands of a strategy, PostgreSQL, seconds")
    names = ("sites", "statistics", "create", "apply", "look", "abort", "delete", "2nd create", "2nd delete")
    for name in names:
        table.add_column(name, justify="right")
    for one in times:
        seconds = (
            one.create_s, one.apply_s, one.look_s, one.abort_s, one.delete_s, one.second_create_s, one.second_delete_s,
        )  # fmt: skip
        table.add_row(str(one.sites), "fresh" if one.has_statistics else "none", *(f"{value:.3f}" for value in seconds))
    CONSOLE.print(table)


def _goals(times: Sequence[CommandTimes]) -> Iterator[Goal]:
    """P8: the longest of a command and of its repeat; those but create hold the coordinator's lock."""
    for one in times:
        about = f"{one.sites:,} sites on PostgreSQL, {'fresh' if one.has_statistics else 'no'} statistics"
        for name, measured, limit in (
            ("create", max(one.create_s, one.second_create_s), GOAL_CREATE_S),
            ("abort", one.abort_s, GOAL_ABORT_S),
            ("apply", one.apply_s, GOAL_LOCK_S),
            ("look", one.look_s, GOAL_LOCK_S),
            ("delete", max(one.delete_s, one.second_delete_s), GOAL_LOCK_S),
        ):
            yield Goal(name=f"{name}, {about}", measured=measured, limit=limit, unit="s")


def _hold_goals(held: Mapping[str, Mapping[str, float]], sites: int) -> Iterator[Goal]:
    for database, taken in held.items():
        for name, seconds in taken.items():
            yield Goal(name=f"{name}, {sites:,} sites on {database}", measured=seconds, limit=GOAL_HOLD_S, unit="s")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
