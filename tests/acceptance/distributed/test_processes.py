"""API, coordinator and workers as processes of their own, over real RabbitMQ and real PostgreSQL."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any
from urllib.request import urlopen

import psutil
import pytest

from service.roles import ALL_ROLES
from tests.support.imported_sites import READY, import_sites_at
from tests.support.installation_processes import InstallationProcesses, new_installation
from tests.support.journal_playbooks import journal_lines, write_playbooks
from tests.support.postgres_server import PostgresServer
from tests.support.rabbitmq_server import RabbitmqServer
from tests.support.tcp_proxy import HOST, free_port
from tests.support.waiting import PATIENCE_S, wait_for

STRATEGY = "/v1.0/sw-update-strategy"
PASSWORD = b64encode(b"Li69nux*").decode()
END_S = 90.0


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """Give a private PostgreSQL."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def installation(tmp_path: Path, postgres: PostgresServer, rabbitmq: RabbitmqServer) -> Iterator[InstallationProcesses]:
    """Give an installation with journal-writing playbooks; nothing of it is started yet."""
    write_playbooks(tmp_path / "playbooks", seconds=0.5)
    (tmp_path / "journal").mkdir()
    made = new_installation(
        tmp_path,
        DATABASE_URL=postgres.url(postgres.create_database()),
        BROKER_URL=rabbitmq.url,
        PLAYBOOKS_DIR=tmp_path / "playbooks",
        DEPLOY_DIR=tmp_path / "deploy",
        FEED_DIR=tmp_path / "feed",
        SLOTS=3,
        MAX_ATTEMPTS=10,
    )
    yield made
    made.end()


@pytest.fixture
def begin(installation: InstallationProcesses, tmp_path: Path) -> Callable[[int], None]:
    """Give a function that adds sites and applies a strategy over them."""

    def start(count: int) -> None:
        variables = {**READY, "ansible_connection": "local", "journal_dir": str(tmp_path / "journal")}
        sites = {f"site{place}": variables for place in range(count)}
        import_sites_at(installation.api.database_url, sites)
        create = {"type": "prestage", "max-parallel-subclouds": 3, "sysadmin_password": PASSWORD}
        status, answer = installation.api.ask("POST", STRATEGY, create)
        assert status == 200, answer
        assert installation.api.ask("POST", f"{STRATEGY}/actions", {"action": "apply"})[0] == 200

    return start


def state(installation: InstallationProcesses) -> Any:
    """Return the strategy's state."""
    return installation.api.get(STRATEGY)[1]["state"]


def test_a_strategy_runs_over_forked_processes(
    installation: InstallationProcesses, begin: Callable[[int], None], tmp_path: Path
) -> None:
    """A strategy goes through the processes of `prestager up --split` while its coordinator and worker are killed."""
    installation.api.start("up --split")
    begin(3)
    children = psutil.Process(installation.api.pid).children
    # In the order of their start: API, coordinator, worker.
    _, *victims = sorted(children(), key=lambda child: (child.create_time(), child.pid))
    for victim in victims:
        wait_for(lambda: journal_lines(tmp_path / "journal"), END_S, installation.story)
        victim.kill()
        wait_for(lambda: len(children()) == len(ALL_ROLES), END_S, installation.story)
    wait_for(lambda: state(installation) != "applying", END_S, installation.story)

    assert "complete" == state(installation)
    assert [] == [line for line in journal_lines(tmp_path / "journal") if line.startswith("overlap")]
    assert 0 == installation.api.stop()


@pytest.mark.quick
def test_a_strategy_runs_over_three_processes(
    installation: InstallationProcesses, begin: Callable[[int], None], rabbitmq: RabbitmqServer, tmp_path: Path
) -> None:
    """A strategy goes through API, coordinator and two workers; the queues are empty again and parts end cleanly."""
    installation.api.start("api")
    installation.part("coordinator", "one")
    workers = [installation.part("worker", name) for name in ("a", "b")]

    begin(3)
    wait_for(lambda: state(installation) != "applying", END_S, installation.story)

    assert "complete" == state(installation)
    assert [] == [line for line in journal_lines(tmp_path / "journal") if line.startswith("overlap")]
    wait_for(lambda: all(queue.ready_count + queue.unacked_count == 0 for queue in rabbitmq.queues().values()))
    assert [0, 0] == [worker.stop() for worker in workers]


def test_every_process_reports_itself(installation: InstallationProcesses) -> None:
    """API, coordinator and worker show in /v1.0/workers while they run, and one that stopped in order does not.

    Without a worker the coordinator is ready all the same, and says in its readiness that there is none.
    """
    monitor = f"{HOST}:{free_port()}"
    installation.api.start("api")
    installation.part("coordinator", "one", MONITOR_LISTEN=monitor)
    worker = installation.part("worker", "a")

    def shown() -> list[dict[str, Any]]:
        return list(installation.api.get("/v1.0/workers")[1]["workers"])

    def workers_check() -> str:
        with urlopen(f"http://{monitor}/readyz", timeout=PATIENCE_S) as answer:
            assert answer.status == HTTPStatus.OK
            return str(json.load(answer)["checks"]["workers"])

    processes = wait_for(lambda: found if len(found := shown()) == 3 else None, story=installation.story)
    wait_for(lambda: workers_check() == "ok", story=installation.story)
    stopped = worker.stop()
    wait_for(lambda: workers_check().startswith("No worker is alive"), story=installation.story)

    assert [["api"], ["coordinator"], ["worker"]] == [one["roles"] for one in processes]
    assert [None, None, 3] == [one["slots"] for one in processes]
    assert all(one["alive"] for one in processes)
    assert 1 == len({tuple(one["key-ids"]) for one in processes})
    assert (0, [["api"], ["coordinator"]]) == (stopped, [one["roles"] for one in shown()])


def test_a_killed_worker_and_coordinator_change_nothing(
    installation: InstallationProcesses, begin: Callable[[int], None], tmp_path: Path
) -> None:
    """The active coordinator and a worker are killed mid-strategy; a standby and the next worker finish it."""
    installation.api.start("api")
    first = installation.part("coordinator", "one")
    installation.part("coordinator", "two")
    worker = installation.part("worker", "a")
    begin(3)
    journal = tmp_path / "journal"
    wait_for(lambda: any(line.startswith("begin prestage_sw") for line in journal_lines(journal)))

    first.kill()
    worker.kill()
    installation.part("worker", "a")
    wait_for(lambda: state(installation) != "applying", END_S, installation.story)

    assert "complete" == state(installation)
    assert [] == [line for line in journal_lines(journal) if line.startswith("overlap")]


def test_without_a_broker_the_api_says_so(installation: InstallationProcesses, rabbitmq: RabbitmqServer) -> None:
    """While the broker is away a command is answered 503 within 5.5 s and nothing is changed; afterwards it works."""
    installation.api.start("api")
    installation.part("coordinator", "one")
    group = {"name": "edge", "description": "d", "update_apply_type": "serial", "max_parallel_subclouds": 2}
    rabbitmq.stop()
    try:
        status, _ = installation.api.ask("POST", "/v1.0/subcloud-groups", group)
    finally:
        rabbitmq.start()

    assert 503 == status
    wait_for(lambda: installation.api.ask("POST", "/v1.0/subcloud-groups", group)[0] == 200, story=installation.story)


TELLING = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Tell
      ansible.builtin.debug: {msg: the first task is done}
    - name: Wait until somebody has read it
      ansible.builtin.shell: "while [ ! -e {{ journal_dir }}/go-on ]; do sleep 0.1; done"
"""


def test_a_log_is_followed_while_its_worker_works(
    installation: InstallationProcesses, begin: Callable[[int], None], tmp_path: Path
) -> None:
    """What a playbook prints at a worker is read at the API before the next task ends, and its progress is told."""
    (tmp_path / "playbooks" / "prestage_sw_packages.yml").write_text(TELLING)
    installation.api.start("api")
    installation.part("coordinator", "one")
    installation.part("worker", "a")
    begin(1)

    with installation.api.open(f"{STRATEGY}/steps/site0/log?follow=1") as log:
        head = read_until(log, b"the first task is done")
        run = wait_for(lambda: waiting_run(installation), story=installation.story)
        with installation.api.open("/v1.0/events?type=run.prestage") as stream:
            read_until(stream, b"\n\n")
            (tmp_path / "journal" / "go-on").touch()
            rest = log.read()
            told = read_until(stream, b'"outcome":"succeeded"')
    kept = installation.api.get(f"{STRATEGY}/steps/site0/log?phase=prestaging-packages")[1]

    assert ("site0", "prestaging-packages", 1, 1) == (
        run["subcloud"],
        run["phase"],
        run["attempt"],
        run["results"]["ok"],
    )
    assert b"event: run.prestage.prestaging-packages" in told
    begun, ended = (f"=== prestaging-packages, attempt 1, {how} ===\n" for how in ("running", "succeeded"))
    whole = (head + rest).decode()
    assert kept == whole.partition(begun)[2].partition(ended)[0]
    assert whole.endswith("=== site0: complete ===\n")


def waiting_run(installation: InstallationProcesses) -> dict[str, Any] | None:
    """Return what is told of the run that waits to be read, once it does."""
    with installation.api.open("/v1.0/events") as stream:
        snapshot = json.loads(read_until(stream, b"\n\n").split(b"data: ")[1])
    return next((run for run in snapshot["runs"] if run.get("task") == "Wait until somebody has read it"), None)


def read_until(source: IO[bytes], end: bytes) -> bytes:
    """Return what can be read up to a line that holds `end`, or to its end."""
    found = b""
    while end not in found:
        line = source.readline()
        assert line, found
        found += line
    return found
