"""Calls of the coordinator that come while a pass waits for its turn, or goes on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

import actors.coordinator.coordinator
from db.unit_of_work import unit_of_work
from statemachine.actions import Action
from statemachine.plan import plan
from tests.support.installation import Installation
from tests.support.waiting import PATIENCE_S, wait_for

CALLS = 5


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Give threads that call the coordinator."""
    with ThreadPoolExecutor(CALLS) as threads:
        yield threads


class PassGate:
    """Counts passes that have read their rows; `open` lets them go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.open = Event()

        def gated(*arguments: Any) -> list[Action]:
            self.count += 1
            assert self.open.wait(PATIENCE_S)
            return plan(*arguments)

        monkeypatch.setattr(actors.coordinator.coordinator, "plan", gated)


def test_calls_that_wait_share_one_pass(
    installation: Installation, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls that come while the coordinator's lock is held are carried out by one pass."""
    gate = PassGate(monkeypatch)
    gate.open.set()
    coordinator = installation.coordinator
    assert coordinator is not None
    with unit_of_work(installation.database, as_coordinator=True):
        calls = [threads.submit(coordinator.coordinate) for _ in range(CALLS)]
        wait_for(lambda: CALLS - 1 == sum(call.done() for call in calls))
    for call in calls:
        call.result()

    assert 1 == gate.count


def test_a_call_during_a_pass_is_carried_out(
    installation: Installation, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is called for after a pass has read its rows is done by another pass, which begins later."""
    gate = PassGate(monkeypatch)
    coordinator = installation.coordinator
    assert coordinator is not None
    first = threads.submit(coordinator.coordinate)
    wait_for(lambda: gate.count == 1)
    later = [threads.submit(coordinator.coordinate) for _ in range(CALLS - 1)]
    wait_for(lambda: CALLS - 2 == sum(call.done() for call in later))
    during = gate.count
    gate.open.set()
    for call in (first, *later):
        call.result()

    assert 1 == during
    assert 2 == gate.count
