"""Two coordinators over one database, asked by several callers at once: every rule holds as if there were one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from random import Random
from threading import Barrier, Event

import pytest

from actors.coordinator.context import CoordinatorRules
from actors.coordinator.coordinator import Coordinator
from db.claims import claim_runs
from db.database import Database
from db.encryption import Sealer
from db.runs import RunResult, finish_runs
from db.schema import events, runs, steps, strategies
from db.unit_of_work import unit_of_work
from messages.commands import Answer
from sites.inspector import DeclaredInspector
from statemachine.states import RunOutcome
from tests.support.installation import Installation
from tests.support.waiting import PATIENCE_S

CALLERS = 4
COMMANDS = 25
WALK = ["prestage-precheck", "prestage-prepare", "prestaging-packages", "prestaging-images"]


@pytest.fixture
def houses(new_database_url: Callable[..., str]) -> Iterator[list[Installation]]:
    """Give two coordinators with connections of their own to the same database, which has six sites."""
    url = new_database_url()
    made = []
    for _ in range(2):
        database = Database(url)
        coordinator = Coordinator(database, DeclaredInspector(), CoordinatorRules(release="23.09"))
        made.append(Installation(database=database, coordinator=coordinator, sealer=Sealer(b"k" * 32)))
    for name in "abcdef":
        made[0].add_site(name)
    yield made
    for installation in made:
        installation.database.close()


def ask(installation: Installation, random: Random) -> tuple[str, Answer]:
    """Ask for something."""
    verb = random.choice(["create", "apply", "apply", "abort", "delete", "coordinate"])
    if verb == "create":
        return verb, installation.create(**{"max-parallel-subclouds": random.choice([1, 2, 6])})
    if verb == "coordinate":
        installation.coordinator.coordinate()
        return verb, Answer(status=200)
    return verb, installation.verb(verb)


def work(installation: Installation, owner: str) -> None:
    """Do what waits for a worker, as a worker does."""
    for run_id in installation.queued():
        with unit_of_work(installation.database) as transaction:
            taken = claim_runs(transaction, [run_id], owner)
        if not taken:
            continue
        passed = {"from_version": "22.12", "oam_address": "10.10.10.2"} if taken[0].phase == WALK[0] else {}
        report = RunResult(run_id=run_id, outcome=RunOutcome.SUCCEEDED, details="", facts={}, **passed)
        with installation.database.write() as connection:
            assert finish_runs(connection, [report], owner, datetime.now(UTC))


def walks(installation: Installation) -> dict[str, list[str]]:
    """Return the events of each subject, in order."""
    found: dict[str, list[str]] = {}
    for row in installation.rows(events):
        found.setdefault(row["subject"], []).append(row["type"].rpartition(".")[2])
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_many_callers_at_once(houses: list[Installation], seed: int) -> None:
    """One strategy is active, applied once, each phase of a step runs once, and no command breaks."""
    ended = Event()

    def labour(installation: Installation) -> None:
        while not ended.is_set():
            work(installation, f"worker/{id(installation)}")

    def call(number: int) -> list[tuple[str, Answer]]:
        random = Random(f"{seed}-{number}")
        return [ask(houses[number % 2], random) for _ in range(COMMANDS)]

    with ThreadPoolExecutor(CALLERS + 2) as pool:
        workers = [pool.submit(labour, installation) for installation in houses]
        answers = [answer for answers in pool.map(call, range(CALLERS)) for answer in answers]
        ended.set()
    for worker in workers:
        worker.result()

    assert {answer.status for _, answer in answers} <= {200, 422}
    installation = houses[0]
    given = Counter(verb for verb, answer in answers if answer.status == 200)
    assert given["create"] == len(installation.rows(strategies)) > 0
    assert len(installation.rows(strategies, deleted_at=None)) <= 1
    told = walks(installation)
    of_strategies = [states for subject, states in told.items() if subject.startswith("strategy/")]
    assert given["apply"] == sum(states.count("applying") for states in of_strategies)
    assert all(states.count("applying") <= 1 for states in of_strategies)
    assert given["delete"] == sum(states.count("deleted") for states in of_strategies)
    tried = Counter(
        (row["step_id"], row["preparation_id"], row["phase"], row["attempt"]) for row in installation.rows(runs)
    )
    assert {1} == set(tried.values())
    for subject, states in told.items():
        if subject.startswith("step/"):
            assert states == [*WALK, "complete"][: len(states)]


def test_the_same_moment(houses: list[Installation]) -> None:
    """Of an apply and a delete at the same moment each is answered, and what the rows say is what was answered."""
    for _ in range(8):
        assert houses[0].create().status == 200
        together = Barrier(2)

        def act(
            installation: Installation, verb: str, other: str | None = None, together: Barrier = together
        ) -> tuple[str, Answer]:
            together.wait(PATIENCE_S)
            return verb, installation.verb(verb)

        with ThreadPoolExecutor(2) as pool:
            answers = dict(pool.map(act, houses, ("apply", "delete")))

        # Whichever came first turned the other down.
        assert [200, 422] == sorted(answer.status for answer in answers.values())
        applied = answers["apply"].status == 200
        assert int(applied) == len(houses[0].rows(strategies, deleted_at=None))
        if applied:
            # Nobody works here, so all that waits is aborted, and with it the strategy.
            assert houses[1].verb("abort").status == 200
            strategy = houses[0].rows(strategies, deleted_at=None)[0]
            assert {"aborted"} == {row["state"] for row in houses[0].rows(steps, strategy_id=strategy["id"])}
            assert houses[0].verb("delete").status == 200
