"""Time limits of a rollout, with playbooks of real Ansible that take longer (decision 51)."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.supervisor import Supervisor
from service.controller import ansible_installation
from service.settings import Settings
from tests.support.foreign_playbooks import ForeignPlaybooks, newer_set, seed_set
from tests.support.installation import Installation, StartedInstallation
from tests.support.waiting import wait_for

HERE = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
# Ends long after every limit and the test's own.
ENDLESS = """\
- hosts: {hosts}
  gather_facts: no
  tasks:
    - name: Take too long
      raw: sleep 3600
"""
# Each of many times what the playbook of the next site takes.
SECONDS = 15
SITE_SECONDS = 30


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[ForeignPlaybooks], StartedInstallation]]:
    """Give a function that starts an installation with a set of playbooks and the sites `slow` and `next`."""
    started: list[StartedInstallation] = []

    def start(playbooks: ForeignPlaybooks) -> StartedInstallation:
        given = {"playbooks_dir": playbooks.directory}
        ansible = ansible_installation(Settings(data_dir=tmp_path, **given))  # type: ignore[arg-type]
        worker = f"test-{uuid.uuid4().hex[:8]}"
        installation = Installation.embedded(
            tmp_path,
            runner_factory=lambda done: Supervisor(slots=2, worker=worker, on_finished=done, ansible=ansible, warm=0),
            **given,
        )
        started.append(installation)
        for name in ("slow", "next"):
            installation.add_site(name, connection=HERE)
        return installation

    yield start
    for installation in started:
        installation.stop()


def endless(playbooks: ForeignPlaybooks, name: str, hosts: str) -> None:
    """Have a playbook of the set take too long for some sites, before its other tasks."""
    playbook = playbooks.directory / name
    playbook.write_text(ENDLESS.format(hosts=hosts) + playbook.read_text())


def stopped_and_next(installation: StartedInstallation, timeouts: dict[str, int]) -> str:
    """Prestage one site after the other with limits; return the details of the first once both have ended."""
    created = installation.create(rollout={"timeouts": timeouts}, **{"subcloud-apply-type": "serial"})
    assert 200 == created.status, created.detail
    installation.verb("apply")
    wait_for(lambda: installation.state() == "failed", deadline_s=150)
    assert "failed" == installation.step("slow")["state"]
    return str(installation.step("slow")["details"])


@pytest.mark.parametrize(
    ("playbook", "option", "seconds", "phase"),
    [
        ("prestage_sw_packages.yml", "packages-s", SECONDS, "prestaging-packages"),
        ("prestage_images.yml", "images-s", SECONDS, "prestaging-images"),
        ("prestage_images.yml", "site-s", SITE_SECONDS, "prestaging-images"),
    ],
)
def test_a_playbook_that_takes_too_long(
    tmp_path: Path,
    start: Callable[[ForeignPlaybooks], StartedInstallation],
    playbook: str,
    option: str,
    seconds: int,
    phase: str,
) -> None:
    """The details say which limit it was and what was running, and the next site is prestaged."""
    playbooks = newer_set(tmp_path / "own")
    endless(playbooks, playbook, "slow")
    installation = start(playbooks)
    installation.upload_image_list()

    details = stopped_and_next(installation, {option: seconds})

    whose = "site's limit" if option == "site-s" else "limit"
    assert f"The {whose} of {seconds} s ({option}) was reached in {phase}" in details
    assert "complete" == installation.step("next")["state"], installation.step("next")["details"]


def test_a_preparation_that_takes_too_long(
    tmp_path: Path, start: Callable[[ForeignPlaybooks], StartedInstallation]
) -> None:
    """The limit of a preparation ends it, and the sites that need it fail with that sentence."""
    playbooks = seed_set(tmp_path / "own")
    endless(playbooks, "prepare_prestage_packages.yml", "all")
    installation = start(playbooks)

    details = stopped_and_next(installation, {"prepare-s": SECONDS})

    assert f"The limit of {SECONDS} s (prepare-s) was reached in prestage-prepare" in details
