"""Five passwords go through an installation in which much fails; none of them is found anywhere."""

from __future__ import annotations

import json
import secrets
import sys
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Any
from zlib import decompress

import pytest
from sqlalchemy import select

from broker.amqp.topology import QUEUES
from db.schema import metadata, steps
from runner.private_dir import default_run_root
from tests.faults.fault_installation import LONG, STRATEGY, FaultInstallation, NewInstallation, seeded
from tests.faults.hostile_requests import files_with, processes_with
from tests.support.postgres_server import PostgresServer
from tests.support.rabbitmq_server import StrictRabbitmq
from tests.support.virtual_host import VirtualHost
from tests.support.waiting import wait_for

pytestmark = pytest.mark.faults

SITES = 5
# Says what it knows of the password, as a careless playbook does; fails on some sites, by a message that holds it.
CARELESS = """\
- hosts: all
  gather_facts: false
  connection: local
  tasks:
    - debug: {msg: "it is {{ ansible_ssh_pass }} and {{ ansible_become_pass | b64encode }}"}
    - command: "sleep 0.5"
    - fail: {msg: "{{ ansible_ssh_pass }} was refused"}
      when: inventory_hostname in ['site0', 'site3']
"""


def new_passwords(random: Random) -> list[str]:
    """Return five passwords, with what shells, JSON, YAML and templates trip over."""
    odd = ["", "'\\\"", "{{x}}", "$(id)`", " \u00e9\u2603"]
    return [f"Pw{random.getrandbits(64):016x}{extra}Z" for extra in odd]


def spellings(passwords: list[str]) -> list[bytes]:
    """Return what must be found nowhere: each password as it is, in base64, and its unmistakable middle."""
    words = [password.encode() for password in passwords]
    words += [b64encode(password.encode()).rstrip(b"=")[:20] for password in passwords]
    return [*words, *(password[:18].encode() for password in passwords)]


class Watch:
    """Looks at the arguments and environments of all processes all the while."""

    def __init__(self, words: list[bytes]) -> None:
        self.found: set[str] = set()
        self.looks = 0
        self._words = words
        self._over = Event()
        self._thread = Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(0.25):
            self.found.update(processes_with(self._words))
            self.looks += 1

    def stop(self) -> None:
        """Stop looking."""
        self._over.set()
        self._thread.join(30)


class Callers:
    """Asks and keeps every answer."""

    def __init__(self, installation: FaultInstallation) -> None:
        self._installation = installation
        self.answers: list[Any] = []

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        """Ask."""
        status, answer = self._installation.api.ask(method, path, body)
        self.answers.append(answer)
        return status, answer


def encoded(password: str) -> str:
    """Return a password as callers send it."""
    return b64encode(password.encode()).decode()


@pytest.fixture
def installation(new_installation: NewInstallation) -> Iterator[FaultInstallation]:
    """Give a started installation with careless playbooks."""
    made = new_installation(seconds=0.2, LOG_LEVEL="debug", SLOTS=SITES)
    for name in ("prepare_prestage_packages.yml", "prestage_sw_packages.yml"):
        (made.directory / "playbooks" / name).write_text(CARELESS.replace("['site0', 'site3']", "['site3']"))
    (made.directory / "playbooks" / "prestage_sw_packages.yml").write_text(CARELESS)
    made.launch()
    yield made
    made.end()


def misuse(callers: Callers, password: str) -> None:
    """Send a password where it does not belong, in every form that callers get wrong."""
    wrong = [
        ("POST", STRATEGY, {"type": "prestage", "sysadmin_password": password}),
        ("POST", STRATEGY, {"type": "prestage", "sysadmin_password": {"is": password}}),
        ("POST", STRATEGY, {"type": password, "sysadmin_password": encoded(password)}),
        ("POST", f"{STRATEGY}/actions", {"action": "apply", "sysadmin_password": encoded(password)}),
        ("PATCH", "/v1.0/subclouds/site0", {"sysadmin_password": encoded(password), "location": "x"}),
        ("PATCH", "/v1.0/subclouds/nowhere/prestage", {"sysadmin_password": encoded(password)}),
        ("POST", "/v1.0/subcloud-groups", {"name": "g", "sysadmin_password": encoded(password)}),
    ]
    # What is echoed as the value of another field is no password to anybody, so that one is left out of the search.
    for method, path, body in wrong[:2] + wrong[3:]:
        callers.ask(method, path, body)


def all_ended(installation: FaultInstallation) -> bool:
    """Tell whether every step has."""
    return not installation.rows(select(steps.c.id).where(steps.c.finished_at.is_(None)))


def test_no_password_is_found_anywhere(
    installation: FaultInstallation, rabbitmq: StrictRabbitmq, postgres: PostgresServer
) -> None:
    """Neither logs nor databases nor queues nor processes nor files nor answers hold a password in any spelling."""
    passwords = new_passwords(seeded())
    words = spellings(passwords)
    installation.add_sites(SITES)
    callers = Callers(installation)
    watch = Watch(words)

    with ThreadPoolExecutor(SITES) as pool:
        asked = [
            pool.submit(
                callers.ask, "PATCH", f"/v1.0/subclouds/site{place}/prestage", {"sysadmin_password": encoded(password)}
            )
            for place, password in enumerate(passwords)
        ]
    assert [200] * SITES == [future.result()[0] for future in asked], callers.answers
    misuse(callers, passwords[0])
    if LONG:
        # What a killed worker leaves behind.
        worker = installation.workers[0]
        wait_for(lambda: len(worker.playbook_processes()) > 1, story=installation.story)
        worker.kill()
        installation.launch("worker-a")
    wait_for(lambda: all_ended(installation), 150, installation.story)
    if LONG:
        status, _ = callers.ask("POST", STRATEGY, {"type": "prestage", "sysadmin_password": encoded(passwords[1])})
        assert status == 200, callers.answers[-1]
        callers.ask("POST", f"{STRATEGY}/actions", {"action": "apply"})
        installation.wait_for_end()
    for place in range(SITES):
        callers.ask("GET", f"{STRATEGY}/steps/site{place}")
        for phase in ("prestage-prepare", "prestaging-packages"):
            callers.ask("GET", f"{STRATEGY}/steps/site{place}/log?phase={phase}")
    callers.ask("GET", "/v1.0/subclouds")
    callers.ask("GET", STRATEGY)
    watch.stop()

    outcomes = {(row.subcloud_name, row.state) for row in installation.rows(select(steps))}
    sys.stdout.write(f"{watch.looks} looks at all processes; steps {sorted(outcomes)}\n")
    assert {"complete", "failed"} == {state for _, state in outcomes}
    # The playbooks did tell it, and somebody masked it.
    assert "it is " in str(callers.answers)
    assert set() == watch.found
    assert [] == shown(words, json.dumps(callers.answers, ensure_ascii=False).encode())
    assert [] == [name for name, content in dump(installation) if shown(words, content)]
    assert [] == [name for name, content in queued(rabbitmq) if shown(words, content)]
    roots = (installation.directory, default_run_root(), postgres.data_dir, rabbitmq.data_dir, rabbitmq.log_dir)
    assert [] == files_with(words, *roots)
    assert [] == files_with(words, postgres.log.parent / "server.log")


def shown(words: list[bytes], content: bytes) -> list[int]:
    """Return which words are in the content."""
    return [place for place, word in enumerate(words) if word in content]


def dump(installation: FaultInstallation) -> Iterator[tuple[str, bytes]]:
    """Return all rows of all tables as text, outputs unpacked."""
    for table in metadata.sorted_tables:
        for row in installation.rows(select(table)):
            whole = "\n".join(str(value) for value in row).encode()
            yield table.name, whole
            if table.name == "run_outputs":
                yield table.name, decompress(row.content)


def queued(rabbitmq: StrictRabbitmq) -> Iterator[tuple[str, bytes]]:
    """Return what is in the queues, dead letters among it, with the properties."""
    host = VirtualHost(rabbitmq, "%2F")
    for queue in QUEUES:
        with host.channel() as channel:
            # A queue with a single active consumer refuses a plain get.
            for method, properties, body in channel.consume(queue.name, inactivity_timeout=0.2):
                if method is None:
                    break
                yield queue.name, body + str(properties).encode()


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    """A password in a file is found, in each of its spellings, or the search above means nothing."""
    password = f"Pw{secrets.token_hex(8)}Z"
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.log").write_text(f"x {password} y")
    (tmp_path / "b.log").write_text(json.dumps({"p": encoded(password)}))

    assert 2 == len({found.partition(":")[0] for found in files_with(spellings([password]), tmp_path)})
