"""A controller's own playbooks, run by real Ansible from command to end (contract 8.6, 8.9, 10)."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from db.run_output import outputs
from runner.supervisor import Supervisor
from service.controller import ansible_installation
from service.settings import Settings
from simulator.simulation import Fleet
from tests.support.foreign_playbooks import VERSIONS, ForeignPlaybooks, newer_set, seed_set, set_between
from tests.support.imported_sites import READY, import_sites
from tests.support.installation import ALL_STATES, Installation, StartedInstallation
from tests.support.simulated_fleet import simulated_fleet

PASSWORD = "Li69nux*{{ no }}"
# A site that is a directory of this machine; what the operator says of a site is passed on.
HERE = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
SECRETS = {"ansible_ssh_pass": PASSWORD, "ansible_become_pass": PASSWORD}
# The last Ansible with bare `include`; bin/setup test.
OLDER_ANSIBLE = Path(__file__).parents[3] / ".venv-ansible-older" / "bin" / "ansible-playbook"
# Ours only for sites that are no sites: a local connection would leave its files in HOME.
LOCAL_ONLY = "ansible_remote_tmp"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[ForeignPlaybooks], StartedInstallation]]:
    """Give a function that starts an installation with a set of playbooks."""
    started: list[StartedInstallation] = []

    def start(playbooks: ForeignPlaybooks, *, sites: bool = True, **settings: Any) -> StartedInstallation:
        given = {"playbooks_dir": playbooks.directory, **settings}
        ansible = ansible_installation(Settings(data_dir=tmp_path, **given))
        worker = f"test-{uuid.uuid4().hex[:8]}"
        installation = Installation.embedded(
            tmp_path,
            runner_factory=lambda done: Supervisor(slots=2, worker=worker, on_finished=done, ansible=ansible, warm=0),
            **given,
        )
        started.append(installation)
        if sites:
            installation.add_site("edge", connection=HERE)
        return installation

    yield start
    for installation in started:
        installation.stop()


def given(playbooks: ForeignPlaybooks, kind: str) -> dict[str, object]:
    """Return the variables that a playbook had, without those of the local connection."""
    found = playbooks.given(kind, "edge")
    assert found.pop(LOCAL_ONLY)
    return found


def prestage(installation: StartedInstallation, fleet: Fleet) -> str:
    """Prestage the first site of a fleet, and return how the strategy ended."""
    ssh = fleet.sites[0].ssh
    import_sites(
        installation.database, {"edge": {**READY, "ansible_port": ssh.port, "prestager_oam_address": ssh.host}}
    )
    return installation.run_strategy(password=fleet.password)


def test_todays_set(tmp_path: Path, start: Callable[[ForeignPlaybooks], StartedInstallation]) -> None:
    """It gets upstream's variables and nothing more, prepare is passed with a reason, and its versions are shown."""
    playbooks = newer_set(tmp_path / "own")
    installation = start(playbooks)
    image_list = installation.upload_image_list("24.09")

    assert "complete" == installation.run_strategy(release="24.09", for_sw_deploy="true", password=PASSWORD), (
        installation.step("edge")["details"]
    )
    assert ALL_STATES == installation.walk("edge")
    assert {"packages-edge", "images-edge"} == playbooks.played()
    inventory = {"ansible_host": "10.10.10.2", **HERE, **SECRETS}
    wanted = {"software_version": "24.09", "prestage_reason": "for_sw_deploy"}
    assert {**inventory, **wanted} == given(playbooks, "packages")
    assert {**inventory, **wanted, "image_list_file": str(image_list)} == given(playbooks, "images")
    assert VERSIONS == installation.site("edge")["prestage_versions"]
    with installation.database.read() as connection:
        (prepared,) = outputs(connection, installation.step("edge"), "prestage-prepare")
    assert "there is nothing to prepare" in prepared.content.decode()


def test_the_first_set(tmp_path: Path, start: Callable[[ForeignPlaybooks], StartedInstallation]) -> None:
    """It gets the seed's variables in all three phases."""
    playbooks = seed_set(tmp_path / "own")
    installation = start(playbooks)
    image_list = installation.upload_image_list()

    assert "complete" == installation.run_strategy(password=PASSWORD), installation.step("edge")["details"]
    inventory = {"ansible_host": "10.10.10.2", **HERE, **SECRETS}
    versions = {"current_software_version": "23.09", "previous_software_version": "22.12"}
    assert {**inventory, **versions} == given(playbooks, "prepare")
    assert {**inventory, "software_version": "23.09"} == given(playbooks, "packages")
    assert {**inventory, "software_version": "23.09", "image_list_file": str(image_list)} == given(playbooks, "images")
    assert "for-install: 23.09 - for-sw-deploy: None" == installation.site("edge")["prestage_versions"]


def test_a_set_between(tmp_path: Path, start: Callable[[ForeignPlaybooks], StartedInstallation]) -> None:
    """It prepares nothing, is told no reason, and without a list brings no images."""
    playbooks = set_between(tmp_path / "own")
    installation = start(playbooks)

    assert "complete" == installation.run_strategy(), installation.step("edge")["details"]
    assert {"packages-edge"} == playbooks.played()
    assert "software_version" in playbooks.given("packages", "edge")
    assert "prestage_reason" not in playbooks.given("packages", "edge")
    assert "there are no images to stage" in installation.log("edge", "prestaging-images")


def test_over_ssh(tmp_path: Path, start: Callable[..., StartedInstallation]) -> None:
    """A site behind SSH is entered as `sysadmin` at its OAM address, with the password, and nothing else is needed."""
    playbooks = newer_set(tmp_path / "own")
    with simulated_fleet(tmp_path / "sites", count=1) as fleet:
        ssh = fleet.sites[0].ssh
        installation = start(playbooks, sites=False)
        own = {"ansible_port": ssh.port}
        assert "complete" == prestage(installation, fleet), installation.step("edge")["details"]

    wanted = {
        "ansible_ssh_user": "sysadmin",
        "ansible_host": ssh.host,
        "ansible_ssh_pass": fleet.password,
        "ansible_become_pass": fleet.password,
        "software_version": "23.09",
        "prestage_reason": "for_install",
    }
    assert {**own, **wanted} == playbooks.given("packages", "edge")
    assert VERSIONS == installation.site("edge")["prestage_versions"]


@pytest.mark.skipif(
    sys.version_info[:2] != (3, 11) and not OLDER_ANSIBLE.exists(), reason="the older Ansible needs Python 3.11"
)
def test_with_an_older_ansible(tmp_path: Path, start: Callable[..., StartedInstallation]) -> None:
    """PRESTAGER_ANSIBLE runs a set with bare `include` to its end on a site behind SSH, password and all."""
    playbooks = seed_set(tmp_path / "own")
    playbooks.include("prepare-env")
    with simulated_fleet(tmp_path / "sites", count=1) as fleet:
        installation = start(playbooks, sites=False, ansible=OLDER_ANSIBLE)
        installation.upload_image_list()

        assert "complete" == prestage(installation, fleet), installation.step("edge")["details"]
    assert {"prepare-edge", "packages-edge", "images-edge"} == playbooks.played()
    assert "2.10.17" == playbooks.ansible_version("packages", "edge")


def test_with_collections(tmp_path: Path, start: Callable[..., StartedInstallation]) -> None:
    """PRESTAGER_ANSIBLE_COLLECTIONS runs a set that asks for a collection's module; a list may be a condition."""
    playbooks = newer_set(tmp_path / "own")
    collections = playbooks.ask_collection("get-prestage-versions")
    with simulated_fleet(tmp_path / "sites", count=1) as fleet:
        installation = start(playbooks, sites=False, ansible_collections=str(collections))

        assert "complete" == prestage(installation, fleet), installation.step("edge")["details"]
    assert VERSIONS == installation.site("edge")["prestage_versions"]
