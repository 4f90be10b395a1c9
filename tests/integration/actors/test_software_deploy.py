"""What a deployment of software with StarlingX's playbooks of today needs of the system controller."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sites.sysinv.interpretation import read_software
from tests.integration.actors.embedded_rig import PACKAGES, Rig, Stage
from tests.support.foreign_playbooks import newer_set

ON_ONE_STORE = pytest.mark.parametrize("store_kind", ["sqlite"], indirect=True)
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


@ON_ONE_STORE
def test_a_release_that_is_not_there_fails_once(build: Callable[..., Rig], stage: Stage, playbooks: Path) -> None:
    """The repository is looked at as preparation of all sites: none of them is contacted for it."""
    rig = build(playbooks_dir=playbooks)
    for name in ("a", "b"):
        rig.add_site(name)

    assert "failed" == rig.run_strategy(release="24.09", for_sw_deploy="true")
    assert [] == stage.jobs
    details = [rig.step(name)["details"] for name in ("a", "b")]
    assert 1 == sum("has no OSTree repository of release 24.09" in text for text in details)


@ON_ONE_STORE
def test_the_list_is_passed(build: Callable[..., Rig], stage: Stage, playbooks: Path) -> None:
    """The packages playbook of each site gets the list that the controller was asked for once, no other does."""
    rig = build(playbooks_dir=playbooks)
    lister = Lister()
    rig.embedded.actors.worker._tools.software._lister = lister
    (rig.settings.feed_dir / "rel-24.09" / "ostree_repo").mkdir(parents=True)
    (rig.settings.feed_dir / "rel-24.09" / "ostree_repo" / "config").touch()
    for name in ("a", "b"):
        rig.add_site(name)
    state = rig.run_strategy(release="24.09", for_sw_deploy="true")

    given = {
        (job.host, job.playbook.stem): job.extra_vars["system_controller_sw_list"]
        for job in stage.jobs
        if "system_controller_sw_list" in job.extra_vars
    }
    assert ("complete", 1) == (state, lister.asked)
    assert {(name, PACKAGES): ["|s-24.09.1|False|deployed|"] for name in ("a", "b")} == given


@ON_ONE_STORE
def test_an_install_gets_none(build: Callable[..., Rig], stage: Stage, playbooks: Path) -> None:
    """A prestage for an installation asks for no list and needs no repository."""
    rig = build(playbooks_dir=playbooks)
    lister = Lister()
    rig.embedded.actors.worker._tools.software._lister = lister
    rig.add_site("a")

    assert "complete" == rig.run_strategy(release="24.09")
    assert 0 == lister.asked
    assert not any("system_controller_sw_list" in job.extra_vars for job in stage.jobs)
