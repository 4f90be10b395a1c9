"""What a deployment of software with StarlingX's playbooks of today needs of the system controller."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sites.sysinv.interpretation import read_software
from tests.support.fake_playbooks import PACKAGES, FakePlaybooks
from tests.support.foreign_playbooks import newer_set
from tests.support.installation import StartedInstallation

ON_SQLITE = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
SOFTWARE = [{"release_id": "s-24.09.1", "sw_version": "24.09.1", "state": "deployed", "reboot_required": False}]


class Lister:
    """A controller that lists its software."""

    asked = 0

    def software(self) -> object:
        self.asked += 1
        return read_software(SOFTWARE)


@pytest.fixture
def playbooks(tmp_path: Path) -> Path:
    """Give a set that stages a repository and takes the controller's list."""
    directory = newer_set(tmp_path / "own").directory
    with (directory / "prestage_sw_packages.yml").open("a") as file:
        file.write("# ostree_repo system_controller_sw_list\n")
    return directory


@ON_SQLITE
def test_a_release_that_is_not_there_fails_once(
    build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks, playbooks: Path
) -> None:
    """The repository is looked at as preparation of all sites: none of them is contacted for it."""
    installation = build(playbooks_dir=playbooks)
    for name in ("a", "b"):
        installation.add_site(name)

    assert "failed" == installation.run_strategy(release="24.09", for_sw_deploy="true")
    assert [] == fake_playbooks.jobs
    details = [installation.step(name)["details"] for name in ("a", "b")]
    assert 1 == sum("has no OSTree repository of release 24.09" in text for text in details)


@ON_SQLITE
def test_the_list_is_passed(
    build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks, playbooks: Path
) -> None:
    """The packages playbook of each site gets the list that the controller was asked for once, no other does."""
    installation = build(playbooks_dir=playbooks)
    lister = Lister()
    installation.process.worker._tools.software._lister = lister
    (installation.settings.feed_dir / "rel-24.09" / "ostree_repo").mkdir(parents=True)
    (installation.settings.feed_dir / "rel-24.09" / "ostree_repo" / "config").touch()
    for name in ("a", "b"):
        installation.add_site(name)
    state = installation.run_strategy(release="24.09", for_sw_deploy="true")

    given = {
        (job.host, job.playbook.stem): job.extra_vars["system_controller_sw_list"]
        for job in fake_playbooks.jobs
        if "system_controller_sw_list" in job.extra_vars
    }
    assert ("complete", 1) == (state, lister.asked)
    assert {(name, PACKAGES): ["|s-24.09.1|False|deployed|"] for name in ("a", "b")} == given


@ON_SQLITE
def test_an_install_gets_none(
    build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks, playbooks: Path
) -> None:
    """A prestage for an installation asks for no list and needs no repository."""
    installation = build(playbooks_dir=playbooks)
    lister = Lister()
    installation.process.worker._tools.software._lister = lister
    installation.add_site("a")

    assert "complete" == installation.run_strategy(release="24.09")
    assert 0 == lister.asked
    assert not any("system_controller_sw_list" in job.extra_vars for job in fake_playbooks.jobs)
