"""What coordinator, worker and loops do while the database is away; no process is needed for that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from dramatiq import Worker
from sqlalchemy import Connection, select

from actors.actors import Actors
from actors.coordinator.context import CoordinatorRules
from actors.coordinator.coordinator import Coordinator
from actors.worker.dependencies import WorkerDependencies
from actors.worker.result_writer import ResultWriter
from actors.worker.worker import StepWorker
from broker.in_process import InProcessBroker
from db.database import Database
from db.encryption import Sealer
from db.errors import DatabaseUnavailableError
from db.runs import RunResult
from db.schema import commands, runs
from messages.commands import Answer, Command, CommandType
from messages.queues import Call
from playbook_sets.phase_playbooks import ControllerLayout
from playbook_sets.playbook_readiness import PlaybookReadiness
from playbook_sets.playbook_set import PlaybookCheck
from service.periodic_thread import PeriodicThread
from sites.inspector import DeclaredInspector
from statemachine.eligibility import EligibilityRules
from statemachine.host_keys import HostKeyPolicy
from statemachine.states import RunOutcome
from tests.support.migrated_database import place_migrated
from tests.support.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.faults

SITE = {
    "name": "site0",
    "software_version": "22.12",
    "management-state": "managed",
    "availability-status": "online",
    "external_oam_floating_address": "10.10.10.2",
}
GROUP = {"name": "edge", "description": "d", "update_apply_type": "serial", "max_parallel_subclouds": 2}


class IntermittentDatabase(Database):
    """A database that may go away and come back."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.is_away = False
        self.refused = 0
        # Commits that arrive and whose answers do not.
        self.answers_to_lose = 0

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection, if the database is there."""
        if self.is_away:
            self.refused += 1
            raise DatabaseUnavailableError
        with super().write() as connection:
            yield connection
        if self.answers_to_lose:
            self.answers_to_lose -= 1
            raise DatabaseUnavailableError


@pytest.fixture(autouse=True)
def _quick_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses between tries."""
    for module in ("actors.coordinator.coordinator", "actors.worker.claimed_runs"):
        monkeypatch.setattr(f"{module}._PAUSE_S", 0.02)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[IntermittentDatabase]:
    """Give an empty database."""
    database = IntermittentDatabase(place_migrated(tmp_path / "prestager.db"))
    yield database
    database.close()


@pytest.fixture
def new_coordinator(database: IntermittentDatabase) -> Callable[..., Coordinator]:
    """Give a function that makes a coordinator."""

    def make(**options: Any) -> Coordinator:
        rules = CoordinatorRules(release="23.09")
        return Coordinator(database, DeclaredInspector(), rules, **options)

    return make


def stored(database: IntermittentDatabase) -> list[int]:
    """Return the outcomes of all commands."""
    with database.read() as connection:
        return list(connection.execute(select(commands.c.status)).scalars())


def executing(coordinator: Coordinator, *, is_awaited: bool) -> tuple[Thread, list[Answer]]:
    """Have a command carried out in a thread; return it and where the answer comes."""
    answers: list[Answer] = []
    command = Command(type=CommandType.GROUP_CREATE, data=GROUP)
    thread = Thread(target=lambda: answers.append(coordinator.execute(command, is_awaited=is_awaited)), daemon=True)
    thread.start()
    return thread, answers


@pytest.mark.parametrize("is_awaited", [True, False])
def test_a_command_waits_for_the_database(
    database: IntermittentDatabase, new_coordinator: Callable[..., Coordinator], *, is_awaited: bool
) -> None:
    """A command that comes while the database is away is carried out when it is back, not refused."""
    database.is_away = True
    thread, answers = executing(new_coordinator(), is_awaited=is_awaited)
    wait_for(lambda: database.refused > 6)
    database.is_away = False
    thread.join(PATIENCE_S)

    assert ([200], [200]) == ([answer.status for answer in answers], stored(database))


def test_a_caller_who_waited_long_enough_is_told(
    database: IntermittentDatabase, new_coordinator: Callable[..., Coordinator]
) -> None:
    """A caller gets 503 before he would give up himself."""
    database.is_away = True
    thread, answers = executing(new_coordinator(patience_s=0.5), is_awaited=True)
    thread.join(PATIENCE_S)

    assert [503] == [answer.status for answer in answers]


def test_a_command_that_nobody_waits_for_is_never_given_up(
    database: IntermittentDatabase, new_coordinator: Callable[..., Coordinator]
) -> None:
    """A command of a publisher who asked for no answer is kept until the database is back: nobody would repeat it."""
    database.is_away = True
    thread, answers = executing(new_coordinator(patience_s=0.0), is_awaited=False)
    wait_for(lambda: database.refused > 6)
    database.is_away = False
    thread.join(PATIENCE_S)

    assert ([200], [200]) == ([answer.status for answer in answers], stored(database))


@pytest.fixture
def worker(database: IntermittentDatabase) -> StepWorker:
    """Give a worker without a runner."""
    nowhere = Path("/nonexistent")
    layout = ControllerLayout(
        playbooks_dir=nowhere, deploy_dir=nowhere, feed_dir=nowhere, ssh_user="sysadmin", origin="here", deadlines_s={}
    )
    tools = WorkerDependencies(
        database=database,
        inspector=DeclaredInspector(),
        sealer=Sealer(b"k" * 32),
        results=ResultWriter(database, "w/1"),
        layout=layout,
        playbooks=PlaybookReadiness(PlaybookCheck(nowhere), None),
        rules=EligibilityRules(),
        host_keys=HostKeyPolicy.IGNORE,
        owner="w/1",
    )
    return StepWorker(tools)


def queued_run(coordinator: Coordinator, database: IntermittentDatabase) -> int:
    """Return a precheck that waits for a worker."""
    sealed = Sealer(b"k" * 32).seal("pw", bound_to="p")
    added = coordinator.execute(Command(type=CommandType.SUBCLOUD_ADD, data=SITE))
    prestage = Command(id="p", type=CommandType.SUBCLOUD_PRESTAGE, subject="site0", data={}, sealed_password=sealed)
    assert [200, 200] == [added.status, coordinator.execute(prestage).status]
    with database.read() as connection:
        return int(connection.execute(select(runs.c.id)).scalar_one())


def test_a_precheck_outlives_a_short_outage(
    database: IntermittentDatabase, new_coordinator: Callable[..., Coordinator], worker: StepWorker
) -> None:
    """A run that was handed out while the database restarted is claimed when it is back, not a minute later."""
    run_id = queued_run(new_coordinator(), database)
    database.is_away = True
    thread = Thread(target=lambda: worker.inspect(run_id), daemon=True)
    thread.start()
    wait_for(lambda: database.refused > 2)
    database.is_away = False
    thread.join(PATIENCE_S)

    with database.read() as connection:
        assert ["w/1"] == list(connection.execute(select(runs.c.owner)).scalars())


def test_a_claim_whose_answer_was_lost_is_found(
    database: IntermittentDatabase, new_coordinator: Callable[..., Coordinator], worker: StepWorker
) -> None:
    """A claim that was committed and not answered is no lost run: the next try finds it, and the run goes on."""
    run_id = queued_run(new_coordinator(), database)
    database.answers_to_lose = 1
    worker.inspect(run_id)

    with database.read() as connection:
        assert ["w/1"] == list(connection.execute(select(runs.c.owner)).scalars())
    assert {run_id} == worker.held() | worker._tools.results.pending()


@pytest.mark.parametrize("end", ["reported", "handed back"])
def test_a_run_that_was_let_go_is_not_found_again(
    database: IntermittentDatabase, new_coordinator: Callable[..., Coordinator], worker: StepWorker, end: str
) -> None:
    """A second message for a run that this worker has ended, or hands back, does not begin it anew after an outage."""
    run_id = queued_run(new_coordinator(), database)
    held, taken = worker._held, Event()
    assert held.claim([run_id], lambda: False)
    with ExitStack() as letting_go:
        if end == "reported":
            held.finish(RunResult(run_id=run_id, outcome=RunOutcome.SUCCEEDED, details="", facts={}))
        else:
            letting_go.enter_context(held._let_go([run_id]))
        database.is_away = True
        again = Thread(target=lambda: held.claim([run_id], lambda: False) and taken.set(), daemon=True)
        again.start()
        wait_for(lambda: database.refused > 0)
        database.is_away = False
        again.join(PATIENCE_S)

        assert run_id in worker._tools.results.pending() | worker.unsettled()
    assert not taken.is_set()
    assert frozenset() == worker.held() | worker.unsettled()


def test_a_long_outage_leaves_no_dead_letters(
    database: IntermittentDatabase, new_coordinator: Callable[..., Coordinator], worker: StepWorker
) -> None:
    """A message whose run cannot be claimed, or that cannot be planned for, is done with: the loops find its work."""
    run_id = queued_run(coordinator := new_coordinator(), database)
    broker = InProcessBroker()
    actors = Actors(broker)
    actors.declare_worker(worker)
    actors.declare_coordinator(coordinator, lambda *_: None)
    dramatiq = Worker(broker, worker_threads=2, worker_timeout=50)
    database.is_away = True
    dramatiq.start()
    actors.publish(Call("inspect_site", run_id))
    actors.publish(Call("coordinate"))
    try:
        broker.join("prestager.prechecks", timeout=20_000)
        broker.join("prestager.coordinator", timeout=20_000)
    finally:
        dramatiq.stop()
    database.is_away = False
    worker.inspect(run_id)

    assert database.refused > 12
    assert [] == [letter for letters in broker.dead_letters_by_queue.values() for letter in letters]
    with database.read() as connection:
        assert ["w/1"] == list(connection.execute(select(runs.c.owner)).scalars())


def test_a_loop_that_failed_does_not_wait_for_its_next_turn() -> None:
    """Work that failed is tried again at once: a lease whose renewal failed has little time left."""
    succeeded, tries = Event(), list[int]()

    def work() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise DatabaseUnavailableError
        succeeded.set()

    loop = PeriodicThread("test", work, interval_s=60)
    loop.start()

    assert succeeded.wait(PATIENCE_S)
    loop.stop()
