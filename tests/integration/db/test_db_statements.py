from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from sqlalchemy import Connection, insert, select, update

from db.apply_plan import PlanWriter
from db.claims import queued_runs
from db.database import Database
from db.filters import standalone_steps
from db.live_output import end_live, hold, running_runs
from db.load_snapshot import database_time, load_snapshot
from db.read_queries import active_strategy, followed_step, step_by_id
from db.run_output import ends_of, outputs, runs_of_step
from db.runs import lose_runs_of, renew
from db.schema import runs, steps
from db.strategy_progress import blocking_sites, step_progress
from db.unit_of_work import UnitOfWork
from statemachine.actions import AbortWaiting
from statemachine.plan import plan
from statemachine.states import PLAYBOOK_PHASES, RunOutcome
from tests.integration.db.db_rows import ABORT, AT, LIMITS, InstallationRows, sent_statements

ON_SQLITE = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
LARGE = 5000
STAGE = 100


@pytest.fixture
def second_database(new_database_url: Callable[..., str]) -> Iterator[Database]:
    """Another empty database, to compare with the first."""
    database = Database(new_database_url())
    yield database
    database.close()


def fill(installation: InstallationRows, count: int) -> int:
    """Add a strategy of `count` steps, a hundred to a stage, none begun; return its id."""
    installation.add_subclouds(count)
    return installation.add_strategy({one: 1 + (one - 1) // STAGE for one in range(1, count + 1)})


def abort(installation: InstallationRows, strategy_id: int) -> None:
    """Abort all that wait."""
    installation.carry_out(AbortWaiting(strategy_id=strategy_id, change=ABORT))


def look(installation: InstallationRows, _strategy_id: int) -> None:
    """Look at what needs a decision."""
    load_snapshot(installation.connection, database_time(installation.connection), LIMITS)


def start(installation: InstallationRows, _strategy_id: int) -> None:
    """Start the first stage, a hundred steps in either case."""
    installation.coordinate()


def read_progress(installation: InstallationRows, strategy_id: int) -> None:
    """Read what an answer says of the progress of the strategy, which is active."""
    strategy = active_strategy(installation.connection)
    assert strategy is not None
    step_progress(installation.connection, [strategy_id])
    blocking_sites(installation.connection, strategy)


def count_statements(database: Database, count: int, work: Callable[[InstallationRows, int], None]) -> int:
    """Return how many statements `work` sends for a strategy of `count` steps."""
    with database.write() as connection:
        installation = InstallationRows(connection)
        strategy_id = fill(installation, count)
        with sent_statements(database.writer_engine) as sent:
            work(installation, strategy_id)
    return len(sent)


@pytest.mark.parametrize(("work", "limit"), [(abort, 6), (look, 3), (start, 10), (read_progress, 5)])
def test_statements_do_not_grow_with_the_strategy(
    database: Database, second_database: Database, work: Callable[[InstallationRows, int], None], limit: int
) -> None:
    """An abort, a look, the start of a stage and the progress cost as few statements for 5,000 steps as for 100."""
    small = count_statements(database, STAGE, work)

    assert small == count_statements(second_database, LARGE, work)
    assert small <= limit


def count_looks(database: Database, installation: InstallationRows, *, later_s: float = 0.0) -> int:
    """Return how many statements one snapshot takes, without that of the clock."""
    now = database_time(installation.connection) + later_s
    with sent_statements(database.writer_engine) as sent:
        load_snapshot(installation.connection, now, LIMITS)
    return len(sent)


@pytest.mark.parametrize("is_standalone", [False, True])
def test_preparations_are_read_when_they_decide(database: Database, is_standalone: bool) -> None:
    """A snapshot reads preparations when the run of one has ended or has lost its lease, and not while it goes on."""
    with database.write() as connection:
        installation = InstallationRows(connection)
        installation.add_subclouds(1)
        installation.add_standalone(1) if is_standalone else installation.add_strategy({1: 1})
        installation.coordinate()
        installation.work(installation.queued()[0])
        (preparation,) = installation.queued()
        installation.claim(preparation)

        assert count_looks(database, installation) == 2
        assert count_looks(database, installation, later_s=50.0) == 3

        installation.finish(preparation)
        assert count_looks(database, installation) == 3

        installation.coordinate()
        assert ["prestaging-packages"] == installation.states()
        assert count_looks(database, installation) == 2


def sent_by_moves(database: Database, count: int) -> list[str]:
    """Return the texts that a pass sends which brings `count` steps from packages to images."""
    with database.write() as connection:
        installation = InstallationRows(connection)
        installation.add_subclouds(count)
        installation.add_strategy(dict.fromkeys(range(1, count + 1), 1))
        installation.coordinate()
        connection.execute(update(steps).values(state="prestaging-packages"))
        connection.execute(update(runs).values(phase="prestaging-packages", state="finished", outcome="succeeded"))
        with sent_statements(database.writer_engine) as sent:
            installation.coordinate()
        assert {"prestaging-images"} == set(installation.states())
    return [text for text, _ in sent]


def test_statements_do_not_grow_with_the_stage(database: Database, second_database: Database) -> None:
    """Moving four steps or four hundred takes statements of the same texts, which are prepared once."""
    assert sent_by_moves(database, 4) == sent_by_moves(second_database, 400)


def wiped_by_ends(database: Database, *, is_standalone: bool) -> int:
    """Return how many statements about secrets a pass sends that ends two prestages."""
    with database.write() as connection:
        installation = InstallationRows(connection)
        installation.add_subclouds(3)
        if is_standalone:
            installation.add_standalone(1)
            installation.add_standalone(2)
        else:
            installation.add_strategy({1: 1, 2: 1, 3: 1})
        installation.coordinate()
        for run_id in installation.queued()[:2]:
            installation.claim(run_id)
            installation.finish(run_id, RunOutcome.FAILED)
        with sent_statements(database.writer_engine) as sent:
            installation.coordinate()
        assert ["failed", "failed"] == installation.states()[:2]
    return sum(text.startswith("DELETE FROM secrets") for text, _ in sent)


@pytest.mark.parametrize(("is_standalone", "expected"), [(False, 0), (True, 1)])
def test_secrets_are_wiped_where_there_are_any(database: Database, is_standalone: bool, expected: int) -> None:
    """The ends of standalone prestages wipe their secrets in one statement; a step of a strategy has none to wipe."""
    assert expected == wiped_by_ends(database, is_standalone=is_standalone)


def test_abort_reaches_every_waiting_step(connection: Connection) -> None:
    """The few statements of an abort reach all of 5,000 steps."""
    installation = InstallationRows(connection)
    abort(installation, fill(installation, LARGE))

    assert ["aborted"] * LARGE == installation.states()


@ON_SQLITE
class TestQueryPlans:
    """What SQLite says that it will do: a strategy of 5,000 steps of which a hundred move, and as many old runs."""

    @pytest.fixture
    def installation(self, connection: Connection) -> InstallationRows:
        """Return the large strategy, its first stage handed out."""
        installation = InstallationRows(connection)
        fill(installation, LARGE)
        installation.coordinate()
        old = {
            "phase": "prestaging-images",
            "attempt": 1,
            "state": "finished",
            "outcome": "succeeded",
            "details": "",
            "facts": {},
            "cancel_requested": False,
            "consumed": True,
            "dispatched_at": 0.0,
        }
        ids = connection.execute(select(steps.c.id)).scalars()
        connection.execute(insert(runs), [old | {"step_id": one} for one in ids])
        return installation

    @staticmethod
    def scans(database: Database, connection: Connection, work: Callable[[], object]) -> list[tuple[str, str]]:
        """Return the whole-table reads of a large table among the plans of what `work` sends.

        Reading all of the index of unconsumed runs is no such thing: only what is in flight is in it.
        """
        with sent_statements(database.writer_engine) as sent:
            work()
        found = []
        for statement, parameters in sent:
            values = parameters[0] if isinstance(parameters, list) else parameters
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values):
                large = row.detail.startswith(("SCAN steps", "SCAN runs", "SCAN subclouds"))
                if large and not row.detail.endswith("USING INDEX ix_runs_unconsumed"):
                    found.append((row.detail, statement))
        return found

    def test_look(self, database: Database, installation: InstallationRows) -> None:
        """A look at a large strategy reads neither all its steps nor all runs."""
        connection = installation.connection

        assert [] == self.scans(
            database, connection, lambda: load_snapshot(connection, database_time(connection), LIMITS)
        )

    def test_standalone_pages(self, database: Database, installation: InstallationRows) -> None:
        """Pages of steps without a strategy, and the runs of a step, are read from indexes."""
        connection = installation.connection
        step = step_by_id(connection, 1)
        assert step is not None

        for cloud in (None, "edge-*", "edge-1"):
            for before in (None, 7):
                page = partial(standalone_steps, connection, cloud=cloud, before=before, limit=STAGE)
                assert [] == self.scans(database, connection, page)
        assert [] == self.scans(database, connection, lambda: runs_of_step(connection, step, after=0, limit=STAGE))

    @pytest.mark.parametrize("outcome", ["succeeded", "failed", "lost"])
    def test_pass(self, database: Database, installation: InstallationRows, outcome: str) -> None:
        """Carrying a plan out finds its rows by their ids."""
        connection = installation.connection
        for run_id in installation.queued():
            installation.claim(run_id)
        connection.execute(update(runs).where(~runs.c.consumed).values(state="finished", outcome=outcome))
        done = []

        def one_pass() -> None:
            now = database_time(connection)
            actions = plan(load_snapshot(connection, now, LIMITS), now, LIMITS)
            PlanWriter(UnitOfWork(connection, AT)).carry_out(actions)
            done.extend(actions)

        assert [] == self.scans(database, connection, one_pass)
        assert len(done) == STAGE

    def test_workers(self, database: Database, installation: InstallationRows) -> None:
        """What workers ask every few seconds reads what is in flight, whatever history there is."""
        connection = installation.connection

        def ask() -> None:
            renew(connection, "worker1/1")
            queued_runs(connection, PLAYBOOK_PHASES, 4)
            lose_runs_of(connection, "worker1", AT)
            installation.claim(installation.queued()[0])

        assert [] == self.scans(database, connection, ask)

    def test_what_is_live(self, database: Database, installation: InstallationRows) -> None:
        """What a worker writes of its runs, and what listeners and readers ask, finds its rows by their ids."""
        connection = installation.connection
        mine = installation.queued()[:4]
        for run_id in mine:
            installation.claim(run_id)
        step = connection.execute(select(steps).where(steps.c.id == installation.step(1).id)).mappings().one()
        work = UnitOfWork(connection, AT)

        def ask() -> None:
            hold(connection, mine, "worker1/1")
            end_live(work, {run_id: {"tasks": 1} for run_id in mine})
            assert len(mine) == len(running_runs(connection))
            followed_step(connection, step["id"])
            outputs(connection, step, None)
            assert dict.fromkeys(mine, 0) == ends_of(connection, mine)

        assert [] == self.scans(database, connection, ask)
        assert len(mine) == len(work.emitted)
