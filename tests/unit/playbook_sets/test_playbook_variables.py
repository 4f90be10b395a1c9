"""Which variables each set of playbooks gets, and which phases it has (contract 8.9 and 10)."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from time import time
from typing import Any

import pytest

from playbook_sets.phase_playbooks import ControllerLayout, PhaseOrder, nothing_to_do, playbook_job
from playbook_sets.playbook_set import read_playbook_set
from statemachine.states import StepState
from tests.support.foreign_playbooks import newer_set, seed_set, set_between

OURS = Path(__file__).parents[3] / "playbooks"
PREPARE, PACKAGES, IMAGES = StepState.PREPARE, StepState.PACKAGES, StepState.IMAGES
OUR_VARS = {
    "controller_feed_root",
    "prestage_archive_dir",
    "prestage_deadline_s",
    "prestage_floor_rate_mbit_s",
    "prestage_shared_root",
    "prestager_origin",
    "prestager_run_token",
    "subcloud_software_version",
}


def layout(root: Path, playbooks: Path) -> ControllerLayout:
    """Return a controller whose directories are below `root`."""
    return ControllerLayout(
        playbooks_dir=playbooks,
        deploy_dir=root / "deploy",
        feed_dir=root / "feed",
        ssh_user="sysadmin",
        origin="here",
        deadlines_s=dict.fromkeys((PREPARE, PACKAGES, IMAGES), 60.0),
    )


def test_a_set_behind_a_link(tmp_path: Path) -> None:
    """A run takes the set that a link names when it is begun, and keeps it; the next takes what it names then."""
    link, found = tmp_path / "set", []
    place = layout(tmp_path, link)
    for version in ("a", "b"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "prestage_sw_packages.yml").write_text("- hosts: all\n")
        link.unlink(missing_ok=True)
        link.symlink_to(version)
        found.append(playbook_job(place, order(PACKAGES), "").playbook)

    assert [tmp_path / version / "prestage_sw_packages.yml" for version in ("a", "b")] == found


def order(phase: StepState, **fields: Any) -> PhaseOrder:
    """Return an upgrade from 22.12 to 23.09 for an install."""
    given = {"from_version": "22.12", "oam_address": "10.10.10.2", "connection": {}, "for_sw_deploy": False, **fields}
    return PhaseOrder(run_id=7, phase=phase, subcloud_name="edge", release="23.09", **given)


def upload_list(root: Path) -> str:
    """Put an image list where the controller keeps it, and return its path."""
    path = root / "deploy" / "23.09" / "prestage_images_list.txt"
    path.parent.mkdir(parents=True)
    path.touch()
    return str(path)


class TestHostVariables:
    @pytest.mark.parametrize("write", [seed_set, set_between, newer_set])
    def test_a_foreign_set_gets_the_inventory_that_upstream_writes(self, tmp_path: Path, write: Any) -> None:
        """Login user and OAM address, the password as login's and become's secret, and nothing of ours."""
        place = layout(tmp_path, write(tmp_path / "playbooks").directory)
        job = playbook_job(place, order(PACKAGES), "Li69nux*")

        assert {"ansible_ssh_user": "sysadmin", "ansible_host": "10.10.10.2"} == job.host_vars
        assert {"ansible_ssh_pass": "Li69nux*", "ansible_become_pass": "Li69nux*"} == job.secrets

    def test_what_the_operator_says_of_a_site_reaches_a_foreign_set(self, tmp_path: Path) -> None:
        """Connection variables of the inventory win over ours and are passed to any set."""
        place = layout(tmp_path, newer_set(tmp_path / "playbooks").directory)
        said = {"ansible_host": "192.0.2.9", "ansible_port": 2222, "ansible_user": "admin"}

        assert said == playbook_job(place, order(PACKAGES, connection=said), "").host_vars

    def test_our_set_gets_the_same_inventory(self, tmp_path: Path) -> None:
        """What our playbooks want beside it is no host variable: a site's own variables cannot override that."""
        given = playbook_job(layout(tmp_path, OURS), order(PACKAGES), "").host_vars

        assert {"ansible_ssh_user", "ansible_host"} == set(given)


class TestExtraVariables:
    @pytest.mark.parametrize("write", [seed_set, newer_set])
    def test_old_releases_go_where_a_number_is_set(self, tmp_path: Path, write: Any) -> None:
        """Our playbooks get the number and what stays in any case; neither without the number, nor other sets."""
        keeping = replace(layout(tmp_path, OURS), keep_releases=2)
        foreign = replace(keeping, playbooks_dir=write(tmp_path / "playbooks").directory)
        given = order(PACKAGES, protected_releases=["21.12"])
        removal = {"prestage_keep_releases", "prestage_protected_releases"}

        extra_vars = playbook_job(keeping, given, "").extra_vars
        assert (2, ["21.12"]) == tuple(extra_vars[name] for name in sorted(removal))
        for place in (layout(tmp_path, OURS), foreign):
            assert not removal & set(playbook_job(place, given, "").extra_vars)

    @pytest.mark.parametrize("write", [seed_set, None])
    @pytest.mark.parametrize("for_sw_deploy", [False, True])
    def test_as_the_seed_passed_them(self, tmp_path: Path, write: Any, for_sw_deploy: bool) -> None:
        """A set of the first time, and ours, get the versions and nothing about the reason; ours gets ours too."""
        place = layout(tmp_path, write(tmp_path / "playbooks").directory if write else OURS)
        image_list = upload_list(tmp_path)
        given = [
            {name: value for name, value in job.extra_vars.items() if write or name not in OUR_VARS}
            for phase in (PREPARE, PACKAGES, IMAGES)
            for job in [playbook_job(place, order(phase, for_sw_deploy=for_sw_deploy), "")]
        ]

        assert [
            {"current_software_version": "23.09", "previous_software_version": "22.12"},
            {"software_version": "23.09"},
            {"software_version": "23.09", "image_list_file": image_list},
        ] == given

    @pytest.mark.parametrize("phase", [PREPARE, PACKAGES, IMAGES])
    def test_our_variables_win_over_what_is_said_of_a_site(self, tmp_path: Path, phase: StepState) -> None:
        """Paths on the controller and the fence of a site are extra variables, whatever its variables say."""
        said = dict.fromkeys(OUR_VARS, "/elsewhere")
        job = playbook_job(layout(tmp_path, OURS), order(phase, connection=said), "secret")
        shared = tmp_path / "deploy" / "23.09" / "prestage" / "shared"
        expected = {
            "controller_feed_root": str(tmp_path / "feed"),
            "prestage_archive_dir": str(shared / "archives"),
            "prestage_deadline_s": 60.0,
            "prestage_floor_rate_mbit_s": 2.0,
            "prestage_shared_root": str(shared),
            "prestager_origin": "here",
            "prestager_run_token": 7,
            "subcloud_software_version": "22.12",
        }

        assert expected == {name: value for name, value in job.extra_vars.items() if name in OUR_VARS}
        assert "secret" not in job.extra_vars.values()

    @pytest.mark.parametrize(("write", "is_ours"), [(None, True), (seed_set, False), (newer_set, False)])
    def test_a_run_knows_whether_its_set_is_ours(self, tmp_path: Path, write: Any, is_ours: bool) -> None:
        """A run of our set is marked as such; it is stricter than those of other sets."""
        place = layout(tmp_path, write(tmp_path / "playbooks").directory if write else OURS)

        assert is_ours is playbook_job(place, order(PACKAGES), "").is_ours

    @pytest.mark.parametrize(("for_sw_deploy", "reason"), [(False, "for_install"), (True, "for_sw_deploy")])
    def test_as_today_passes_them(self, tmp_path: Path, for_sw_deploy: bool, reason: str) -> None:
        """A set of today gets the reason with packages and with images."""
        place = layout(tmp_path, newer_set(tmp_path / "playbooks").directory)
        image_list = upload_list(tmp_path)
        given = [
            playbook_job(place, order(phase, for_sw_deploy=for_sw_deploy), "").extra_vars
            for phase in (PACKAGES, IMAGES)
        ]

        assert [
            {"software_version": "23.09", "prestage_reason": reason},
            {"software_version": "23.09", "prestage_reason": reason, "image_list_file": image_list},
        ] == given

    def test_a_set_between_gets_no_reason(self, tmp_path: Path) -> None:
        """A set that never heard of a reason is not told one."""
        place = layout(tmp_path, set_between(tmp_path / "playbooks").directory)

        assert {"software_version": "23.09"} == playbook_job(place, order(PACKAGES), "").extra_vars

    @pytest.mark.parametrize(
        ("write", "is_passed"), [(None, False), (seed_set, False), (set_between, True), (newer_set, True)]
    )
    def test_the_list_of_a_reinstall(self, tmp_path: Path, write: Any, is_passed: bool) -> None:
        """By the seed's rule a reinstall gets no list; by today's every uploaded list is passed."""
        place = layout(tmp_path, write(tmp_path / "playbooks").directory if write else OURS)
        upload_list(tmp_path)
        job = playbook_job(place, order(IMAGES, from_version="23.09"), "")

        assert is_passed is ("image_list_file" in job.extra_vars)


class TestIdlePhases:
    @pytest.mark.parametrize(
        ("write", "from_version", "for_sw_deploy", "is_idle"),
        [
            (None, "22.12", False, True),
            (None, "23.09", False, False),
            (None, "23.09", True, False),
            (seed_set, "22.12", False, True),
            (seed_set, "23.09", True, False),
            (set_between, "22.12", False, True),
            (newer_set, "22.12", False, True),
            (newer_set, "22.12", True, True),
            (newer_set, "23.09", False, False),
            (newer_set, "23.09", True, True),
        ],
    )
    def test_images_without_a_list(
        self, tmp_path: Path, write: Any, from_version: str, for_sw_deploy: bool, is_idle: bool
    ) -> None:
        """No list: an upgrade brings no images; by today's rule neither does what is for a software deploy."""
        place = layout(tmp_path, write(tmp_path / "playbooks").directory if write else OURS)
        reason = nothing_to_do(place, order(IMAGES, from_version=from_version, for_sw_deploy=for_sw_deploy))

        assert is_idle is (reason is not None)
        assert reason is None or "prestage_images*" in reason

    @pytest.mark.parametrize(
        ("write", "is_idle"), [(None, False), (seed_set, False), (set_between, True), (newer_set, True)]
    )
    def test_prepare(self, tmp_path: Path, write: Any, is_idle: bool) -> None:
        """A set without a prepare playbook has nothing to prepare, and the reason names where it is missing."""
        directory = write(tmp_path / "playbooks").directory if write else OURS
        reason = nothing_to_do(layout(tmp_path, directory), order(PREPARE))

        assert is_idle is (reason is not None)
        assert reason is None or str(directory) in reason

    def test_packages_are_never_idle(self, tmp_path: Path) -> None:
        """Packages are staged whatever the set and the reason."""
        place = layout(tmp_path, newer_set(tmp_path / "playbooks").directory)

        assert nothing_to_do(place, order(PACKAGES, for_sw_deploy=True)) is None


class TestRecognition:
    def test_our_set_without_its_prepare_playbook_is_broken(self, tmp_path: Path) -> None:
        """A copy of ours that lost a file is not taken for a newer set."""
        (tmp_path / "prestage_sw_packages.yml").write_text((OURS / "prestage_sw_packages.yml").read_text())
        found = read_playbook_set(tmp_path)

        assert (PREPARE, PACKAGES, IMAGES) == found.phases
        assert found.is_ours

    def test_ours_is_ours(self) -> None:
        """Our set is known by the variables of ours that it asks for."""
        found = read_playbook_set(OURS)

        assert (True, True, False) == (found.is_ours, found.prepares, found.takes_reason)

    def test_what_other_roles_say_does_not_count(self, tmp_path: Path) -> None:
        """A directory of all playbooks has hundreds of roles; only those of prestage are asked."""
        found = set_between(tmp_path / "playbooks")
        other = found.directory / "roles" / "backup" / "tasks"
        other.mkdir(parents=True)
        (other / "main.yml").write_text("- debug: {msg: '{{ prestage_reason }}'}\n")

        assert not read_playbook_set(found.directory).takes_reason

    def test_a_set_that_is_exchanged(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Playbooks that were exchanged show at the next look; those that stayed are not read again."""
        monkeypatch.setattr("playbook_sets.playbook_set.time", lambda: time() + 60.0)
        found = newer_set(tmp_path / "playbooks").directory
        opened: list[Path] = []
        really_open = Path.open

        def note(path: Path, *arguments: Any, **options: Any) -> Any:
            opened.append(path)
            return really_open(path, *arguments, **options)

        monkeypatch.setattr(Path, "open", note)
        first, number = read_playbook_set(found), len(opened)
        assert read_playbook_set(found) == first
        assert len(opened) == number

        changed = found / "prestage_sw_packages.yml"
        Path(shutil.copy(OURS / changed.name, tmp_path)).replace(changed)
        assert read_playbook_set(found).is_ours
        assert opened.count(changed) == 2
