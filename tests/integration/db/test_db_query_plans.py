"""Plans of PostgreSQL for the statements of a strategy over 10,000 sites: they must not depend on its statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus

import pytest
from sqlalchemy import insert, select, text

from db.audit import callers_of_standalone
from db.claims import claim_oldest
from db.database import Database
from db.filters import RowFilter, listed_steps, listed_subclouds, standalone_steps
from db.inventory import candidates
from db.live_output import running_runs
from db.load_snapshot import load_snapshot
from db.read_queries import (
    active_step,
    active_strategy,
    latest_step,
    step_by_id,
    step_to_follow,
    strategies_page,
    works_of_steps,
)
from db.run_output import runs_of_step
from db.runs import RunResult, finish_runs, renew
from db.schema import steps, subclouds
from db.strategy_progress import blocking_sites, step_counts, step_progress
from db.unit_of_work import unit_of_work
from messages.commands import Command, CommandType
from statemachine.rollout import RolloutMode
from statemachine.states import PHASES, RunOutcome
from tests.bench.commands import add_sites, without_statistics
from tests.integration.db.db_rows import AT, LIMITS
from tests.support.installation import OWNER, Installation
from tests.support.query_plans import CollectedPlans, collected_plans

pytestmark = pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)

SITES = 10_000
WIDTH = 100
# Tables that have rows for each site.
LARGE = frozenset({"events", "runs", "steps", "subclouds"})
# Rows that all nodes of a plan may read for each site, where a statement is about all of them.
ROWS_PER_SITE = 12
# And where it is about a stage, or about a few runs; indexes of earlier versions of rows are read too.
ROWS_OF_A_STAGE = 25 * WIDTH
# And where it is about one page.
PAGE = 100
ROWS_OF_A_PAGE = 5 * PAGE


@dataclass
class Watched:
    """An installation over 10,000 sites whose plans are collected."""

    installation: Installation
    collected: CollectedPlans
    are_analysed: bool
    # Bad plans by their statements.
    faults: dict[str, str] = field(default_factory=dict)

    @property
    def database(self) -> Database:
        """Its database."""
        return self.installation.database

    def watch(self, most_rows: int, work: Callable[..., object], *arguments: object, **options: object) -> None:
        """Do something; keep those of its plans that read more than `most_rows` or a table repeatedly."""
        if self.are_analysed:
            with self.database.write() as connection:
                connection.execute(text("ANALYZE"))
        self.collected.take()
        work(*arguments, **options)
        plans = self.collected.take()
        assert plans
        for plan in plans:
            repeated = plan.repeated_scans(LARGE)
            if plan.rows > most_rows or repeated:
                self.faults[plan.statement] = f"{plan.rows} rows, {repeated}: {plan.explained()}"


@pytest.fixture(params=["no statistics", "no statistics, generic", "statistics", "statistics of an idle fleet"])
def watched(request: pytest.FixtureRequest, new_database_url: Callable[..., str]) -> Iterator[Watched]:
    """Tables that the planner knows nothing of, as after an import or a restore, has just read, or read long ago."""
    installation = Installation.of_coordinator(new_database_url(unused=True))
    try:
        with installation.database.write() as connection:
            without_statistics(connection)
        add_sites(installation.database, SITES)
        with installation.database.write() as connection:
            connection.execute(insert(steps), [_standalone(place) for place in range(3 * PAGE)])
        if "idle" in request.param:
            installation.create()
            installation.verb("delete")
            with installation.database.write() as connection:
                connection.execute(text("ANALYZE"))
        with collected_plans(installation.database.engines, are_generic="generic" in request.param) as collected:
            yield Watched(installation, collected, request.param == "statistics")
    finally:
        installation.database.close()


def test_commands_passes_and_workers(watched: Watched) -> None:
    """No statement of a strategy reads more rows than it is about, whatever the planner knows of the tables."""
    installation, database = watched.installation, watched.database
    assert installation.coordinator is not None
    wanted = {"subcloud-apply-type": "parallel", "max-parallel-subclouds": WIDTH}
    all_sites = ROWS_PER_SITE * SITES

    for mode in RolloutMode:
        # The second time there is a history.
        watched.watch(all_sites, installation.create, **wanted, rollout={"mode": mode})
        watched.watch(ROWS_OF_A_STAGE, installation.verb, "apply")
        for outcome in (RunOutcome.SUCCEEDED, RunOutcome.SUCCEEDED, RunOutcome.FAILED):
            watched.watch(ROWS_OF_A_STAGE, _work, database, outcome)
            watched.watch(ROWS_OF_A_STAGE, installation.coordinator.coordinate)
        watched.watch(all_sites, _read, database)
        watched.watch(ROWS_OF_A_PAGE, _read_pages, database)
        watched.watch(ROWS_OF_A_PAGE, _read_standalone, database)
        watched.watch(all_sites, _ask_about_a_site, installation)
        watched.watch(all_sites, installation.verb, "abort")
        while installation.queued():
            _work(database, RunOutcome.FAILED)
            installation.coordinator.coordinate()
        watched.watch(all_sites, installation.verb, "delete")

    assert watched.faults == {}, "\n\n".join(watched.faults.values())


def _standalone(place: int) -> dict[str, object]:
    """Return an ended step without a strategy."""
    return {
        "subcloud_name": f"alone{place}",
        "stage": 1,
        "state": "complete",
        "details": "",
        "release": "23.09",
        "force": False,
        "for_sw_deploy": False,
        "version": 1,
        "created_at": AT,
        "finished_at": AT,
        "outcome": "complete",
    }


def _work(database: Database, outcome: RunOutcome) -> None:
    """Claim twenty queued runs and report them, as a worker does."""
    with unit_of_work(database, AT) as work:
        claimed = [one.run_id for one in claim_oldest(work, list(PHASES), 20, OWNER)]
    with database.write() as connection:
        renew(connection, OWNER)
        running_runs(connection)
        reports = [RunResult(run_id=run_id, outcome=outcome, details="", facts={}) for run_id in claimed]
        assert len(finish_runs(connection, reports, OWNER, AT)) == len(claimed)


def _ask_about_a_site(installation: Installation) -> None:
    """Hold, release and cancel a site of the strategy, and read its step and its output, as callers do by its name."""
    name = "site09999"
    for held in (True, False):
        answer = installation.execute(Command(type=CommandType.STEP_HOLD, subject=name, data={"held": held}))
        assert answer.status == HTTPStatus.OK, answer.detail
    assert installation.execute(Command(type=CommandType.STEP_CANCEL, subject=name)).status == HTTPStatus.OK
    with installation.database.read() as connection:
        assert active_step(connection, "nobody") is None
        assert latest_step(connection, name) is not None
        assert step_to_follow(connection, name) is not None


def _read(database: Database) -> None:
    """Ask what callers, listeners and the metrics ask."""
    with database.read() as connection:
        strategy = active_strategy(connection)
        assert strategy is not None
        newest = strategy["id"]
        assert len(listed_steps(connection, newest, RowFilter())) == SITES
        assert active_step(connection, "site00007") is not None
        assert len(listed_subclouds(connection, RowFilter())) == SITES
        assert len(listed_steps(connection, newest, RowFilter(limit=PAGE, states=("initial",)))) == PAGE
        strategies_page(connection, before=None, limit=20)
        step_counts(connection, [newest])
        step_progress(connection, [newest])
        blocking_sites(connection, strategy)
        works_of_steps(connection, listed_steps(connection, newest, RowFilter()))
        assert len(candidates(connection)) == SITES
        load_snapshot(connection, 0.0, LIMITS)


def _read_pages(database: Database) -> None:
    """Read pages from the beginning and the middle."""
    with database.read() as connection:
        strategy = active_strategy(connection)
        assert strategy is not None
        newest = strategy["id"]
        first = listed_steps(connection, newest, RowFilter(limit=PAGE))
        middle = first[0]["id"] + SITES // 2
        assert len(listed_steps(connection, newest, RowFilter(limit=PAGE, after=middle))) == PAGE
        assert len(listed_subclouds(connection, RowFilter(limit=PAGE, after=middle % SITES))) == PAGE
        some = step_by_id(connection, first[0]["id"])
        assert some is not None
        runs_of_step(connection, some, after=0, limit=PAGE)


def _read_standalone(database: Database) -> None:
    """Read pages of steps without a strategy, who asked for them, and the runs of one."""
    with database.read() as connection:
        for cloud in (None, "alone*"):
            newest = standalone_steps(connection, cloud=cloud, before=None, limit=PAGE)
            assert [newest[0]["id"] - place for place in range(PAGE)] == [one["id"] for one in newest]
        assert len(standalone_steps(connection, cloud=None, before=newest[-1]["id"], limit=PAGE)) == PAGE
        (one,) = standalone_steps(connection, cloud="alone7", before=None, limit=PAGE)
        assert callers_of_standalone(connection, newest) == {}
        runs_of_step(connection, one, after=0, limit=PAGE)


def test_a_scan_for_each_row_is_found(new_database_url: Callable[..., str]) -> None:
    """A sub-select that reads a table for each row of another shows in the rows of its plan and as repeated scans."""
    installation = Installation.of_coordinator(new_database_url())
    count = 100
    try:
        add_sites(installation.database, count)
        installation.create()
        of_site = select(steps.c.state).where(steps.c.subcloud_name == subclouds.c.name).limit(1).scalar_subquery()
        with collected_plans(installation.database.engines) as collected:
            with installation.database.read() as connection:
                connection.execute(text("SET enable_indexscan = off"))
                connection.execute(text("SET enable_bitmapscan = off"))
                collected.take()
                assert len(connection.execute(select(subclouds.c.name, of_site)).all()) == count
            # A plan is reported when the next statement begins or the transaction ends.
            (plan,) = collected.take()
    finally:
        installation.database.close()

    assert plan.rows > count * count / 2
    assert [f"steps, {count} times"] == plan.repeated_scans(LARGE)
