"""Random histories of held strategies on a real PostgreSQL, with two coordinators and two workers at the same time.

`PRESTAGER_HISTORIES=200` plays so many; `PRESTAGER_HISTORY=17` one of them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from actors.coordinator.context import CoordinatorRules
from actors.coordinator.coordinator import Coordinator
from db.database import Database
from db.encryption import Sealer
from db.schema import holds, preparations, runs, steps, strategies
from sites.inspector import DeclaredInspector
from tests.integration.actors.held_history import SITES, HeldHistory
from tests.support.installation import Installation

COMMANDS = 15
COUNT = int(os.environ.get("PRESTAGER_HISTORIES", "3"))
ONE = os.environ.get("PRESTAGER_HISTORY")
SEEDS = range(COUNT) if ONE is None else [int(ONE)]
OUTCOMES = {"complete": {"complete", "skipped"}, "failed": {"failed"}, "aborted": {"aborted", "cancelled"}}

pytestmark = pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)


@pytest.fixture
def houses(new_database_url: Callable[..., str]) -> Iterator[list[Installation]]:
    """Give two coordinators with connections of their own to the same database, which has the sites."""
    url = new_database_url()
    made = []
    for _ in range(2):
        database = Database(url)
        coordinator = Coordinator(database, DeclaredInspector(), CoordinatorRules(release="23.09"))
        made.append(Installation(database=database, coordinator=coordinator, sealer=Sealer(b"k" * 32)))
    for name in SITES:
        assert 200 == made[0].add_site(name).status
    yield made
    for installation in made:
        installation.database.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_history_of_holds(houses: list[Installation], seed: int) -> None:
    """Whatever is held, changed and cancelled: what a hold covers does not begin, and the strategy comes to its end.

    No run is made twice. At the end nothing is held, no run is left over, a step's outcome fits its state, and only a
    strategy that its failures stopped has sites that have not started.
    """
    history = HeldHistory(houses, seed)

    history.play(COMMANDS)

    installation = houses[0]
    (strategy,) = installation.rows(strategies)
    assert [] == installation.rows(holds, ended_at=None), history.story
    done = installation.rows(steps)
    left = [row for row in done if row["finished_at"] is None]
    failed = sum(row["outcome"] == "failed" for row in done)
    is_stopped = strategy["max_failures"] is not None and failed > strategy["max_failures"]
    assert not left or (is_stopped and {"initial"} == {row["state"] for row in left}), history.story
    assert all(row["outcome"] in OUTCOMES[row["state"]] for row in done if row not in left), history.story
    tried = Counter(
        (row["step_id"], row["preparation_id"], row["phase"], row["attempt"])
        for row in installation.rows(runs)
        if row["started_at"] is not None and row["outcome"] == "succeeded"
    )
    assert {1} >= set(tried.values()), history.story
    assert not [row for row in installation.rows(preparations) if row["state"] == "running"], history.story
