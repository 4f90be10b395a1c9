"""Plans of SQLite for the passes of the coordinator: they must not depend on the size of the strategy."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import pytest
from sqlalchemy import event

from statemachine.rollout import RolloutMode
from tests.bench.commands import add_sites
from tests.bench.passes import finish_oldest
from tests.support.installation import Installation

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)

SMALL = 100
LARGE = 3000
WIDTH = 20
PASSES = 20
RESULTS = 3
# Instructions between two calls of the handler.
GRAIN = 50
GROWTH = 1.15


@pytest.mark.parametrize("mode", list(RolloutMode))
def test_a_pass_costs_the_same_in_a_large_strategy(new_database_url: Callable[..., str], mode: RolloutMode) -> None:
    """The instructions of SQLite for a pass do not grow with the number of sites of the strategy."""
    small = _instructions(new_database_url(), SMALL, mode)
    large = _instructions(new_database_url(), LARGE, mode)

    assert large < GROWTH * small, f"{small} at {SMALL} sites, {large} at {LARGE}"


def _instructions(url: str, sites: int, mode: RolloutMode) -> int:
    """Return the instructions of the passes of a running strategy, in units of `GRAIN`."""
    installation = Installation.of_coordinator(url)
    assert installation.coordinator is not None
    counter = _Counter()
    event.listen(installation.database.writer_engine, "checkout", counter.watch)
    try:
        add_sites(installation.database, sites)
        wanted = {"subcloud-apply-type": "parallel", "max-parallel-subclouds": WIDTH, "rollout": {"mode": mode}}
        assert installation.create(**wanted).status == HTTPStatus.OK
        assert installation.verb("apply").status == HTTPStatus.OK
        for _ in range(PASSES):
            assert finish_oldest(installation.database, RESULTS) == RESULTS
            counter.is_running = True
            installation.coordinator.coordinate()
            counter.is_running = False
    finally:
        installation.database.close()
    return counter.calls


class _Counter:
    """Counts the instructions of SQLite's virtual machine while it runs, in units of `GRAIN`."""

    def __init__(self) -> None:
        self.calls = 0
        self.is_running = False

    def watch(self, connection: Any, *_: object) -> None:
        """Count those of a connection."""
        connection.set_progress_handler(self._count, GRAIN)

    def _count(self) -> int:
        self.calls += self.is_running
        # Anything else would interrupt the statement.
        return 0
