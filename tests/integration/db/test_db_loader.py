from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, update

from db.load_snapshot import database_time, load_all_open, load_snapshot
from db.schema import steps, subclouds
from statemachine.plan import plan
from tests.integration.db.db_rows import AT, LIMITS, InstallationRows
from tests.integration.db.random_history import Dice, HeldDice

OPERATIONS = 45


def _plans(connection: Connection, *times: float) -> list[tuple[Any, Any]]:
    """Return what is planned at each time over all open rows, and over those that the loader picks then."""
    everything = load_all_open(connection)
    return [(plan(everything, now, LIMITS), plan(load_snapshot(connection, now, LIMITS), now, LIMITS)) for now in times]


@pytest.mark.parametrize("seed", range(6))
def test_the_loader_hides_nothing(connection: Connection, seed: int) -> None:
    """The plan over the few rows that the loader picks equals the plan over all open rows, at any time of a history."""
    dice = Dice(connection, seed)
    for _ in range(OPERATIONS):
        dice.happen()
        now = database_time(connection)
        for everything, picked in _plans(connection, now, now + 50.0, now + 100.0):
            assert everything == picked


# The last two come to soak times and a gate.
@pytest.mark.parametrize("seed", [*range(5), 9, 14])
def test_the_loader_hides_nothing_under_holds(connection: Connection, seed: int) -> None:
    """The same holds with holds, budgets, a window, its stages, cancels, a time limit and sites put first."""
    dice = HeldDice(connection, seed)
    for _ in range(OPERATIONS):
        dice.happen()
        now = database_time(connection)
        for everything, picked in _plans(connection, now, now + 50.0, now + 100.0):
            assert everything == picked


@pytest.mark.parametrize("seed", range(3))
def test_random_histories_come_to_rest(connection: Connection, seed: int) -> None:
    """Under fair scheduling every history of the database comes to an end, as those in memory do."""
    dice = Dice(connection, 100 + seed)
    installation = dice.installation
    for _ in range(OPERATIONS):
        dice.happen()
    for _ in range(60):
        installation.coordinate(later_s=50.0)
        for run_id in installation.queued():
            installation.claim(run_id)
        for run_id in installation.running():
            run = installation.run(run_id)
            version = "21.12" if run.phase == "prestage-precheck" else None
            installation.finish(run_id, owner=run.owner, from_version=version)
        installation.coordinate()
        if not installation.queued() and not installation.running():
            break

    assert installation.strategy_state() in {None, "initial", "complete", "failed", "aborted"}
    assert _plans(connection, database_time(connection)) == [([], [])]


def test_stages_of_the_strategy(connection: Connection) -> None:
    """The loader tells the smallest open stage, the largest failed one, and whether any step was aborted."""
    installation = InstallationRows(connection)
    installation.add_subclouds(5)
    installation.add_strategy({1: 1, 2: 2, 3: 2, 4: 3, 5: 4})
    ended = {"finished_at": AT}
    connection.execute(update(steps).where(steps.c.stage <= 2).values(state="failed", **ended))
    connection.execute(update(steps).where(steps.c.stage == 4).values(state="aborted", **ended))
    strategy = load_all_open(connection).strategy

    assert strategy is not None
    assert (3, 2, True) == (strategy.open_stage, strategy.failed_stage, strategy.any_aborted)


def test_rows_become_views(connection: Connection) -> None:
    """What the plan is shown is what the rows say, run and management state with it."""
    installation = InstallationRows(connection)
    installation.add_subclouds(2)
    installation.add_strategy({1: 1, 2: 2}, stop=True)
    connection.execute(update(subclouds).where(subclouds.c.id == 1).values(management_state="unmanaged"))
    installation.add_subclouds(1, first=3)
    standalone = installation.add_standalone(3)
    installation.coordinate()
    snapshot = load_all_open(connection)

    assert snapshot.strategy is not None
    assert (snapshot.strategy.state, snapshot.strategy.stop_on_failure) == ("failed", True)
    waiting, alone = snapshot.steps
    assert (2, True, None, "site2") == (waiting.stage, waiting.managed, waiting.run, waiting.subcloud_name)
    assert (standalone, None, "initial") == (alone.id, alone.strategy_id, alone.state)
    assert alone.run is not None
    assert ("queued", "prestage-precheck", 1) == (alone.run.state, alone.run.phase, alone.run.attempt)
