"""What the commands of a large strategy cost on PostgreSQL, with the planner's statistics and without any.

Those that hold and cancel one are measured on SQLite too.

Run it with `make bench`; it starts a PostgreSQL of its own. The exit status tells whether the goals are met.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, Final

from rich.console import Console
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
from statemachine.states import RunOutcome, StepState
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


def main() -> int:
    """Measure all sizes, show them and return the exit status."""
    configure_logs("json", "warning")
    with PostgresServer() as server, TemporaryDirectory() as directory:
        times = [
            measure(server, sites, has_statistics=has_statistics) for sites in SIZES for has_statistics in (True, False)
        ]
        held = {
            "SQLite": measure_holds(f"sqlite:///{directory}/prestager.db"),
            "PostgreSQL": measure_holds(server.url(server.create_database())),
        }
    _show(times)
    console = Console(width=120)
    for database, taken in held.items():
        console.print(f"{database}: " + ", ".join(f"{name} {seconds:.3f} s" for name, seconds in taken.items()))
    fast = all(seconds <= GOAL_HOLD_S for taken in held.values() for seconds in taken.values())
    has_met = _meets_goals(times)
    console.print(f"{'met   ' if fast else 'MISSED'} hold, resume and cancel {HELD_SITES:,} sites in {GOAL_HOLD_S:g} s")
    return 0 if has_met and fast else 1


def measure_holds(database_url: str) -> dict[str, float]:
    """Hold, resume and cancel a strategy of which a stage is being worked on; return the seconds of each command."""
    database = Database(database_url)
    upgrade(database)
    database.close()
    installation = Installation.of_coordinator(database_url)
    try:
        add_sites(installation.database, HELD_SITES)
        bring_halfway(installation, WIDTH)
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
    Console(width=120).print(table)


def _meets_goals(times: list[CommandTimes]) -> bool:
    largest = [one for one in times if one.sites == SIZES[-1]]
    goals = {
        f"create {SIZES[-1]:,} sites in {GOAL_CREATE_S:g} s": all(
            max(one.create_s, one.second_create_s) <= GOAL_CREATE_S for one in largest
        ),
        f"abort {SIZES[-1]:,} sites in {GOAL_ABORT_S:g} s": all(one.abort_s <= GOAL_ABORT_S for one in largest),
        f"apply, look and delete in {GOAL_LOCK_S:g} s": all(
            max(one.apply_s, one.look_s, one.delete_s, one.second_delete_s) <= GOAL_LOCK_S for one in largest
        ),
    }
    console = Console(width=120)
    for goal, met in goals.items():
        console.print(f"{'met   ' if met else 'MISSED'} {goal}")
    return all(goals.values())


if __name__ == "__main__":
    sys.exit(main())
