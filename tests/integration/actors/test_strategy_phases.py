"""Strategies through the embedded engine: phases, precheck, prepare (contract 7, 8)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from db.schema import events, preparations, secrets
from messages.commands import CommandType
from runner.fake import FakeRunEnd
from runner.interface import PlaybookJob
from runner.progress import Progress
from tests.support.fake_playbooks import FAILS, IMAGES, PACKAGES, PREPARE, FakePlaybooks
from tests.support.installation import ALL_STATES, StartedInstallation
from tests.support.waiting import wait_for

ON_SQLITE = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


def upstream_vars(job: PlaybookJob) -> dict[str, Any]:
    """Return the extra variables of a job that upstream's playbooks know."""
    known = {"current_software_version", "previous_software_version", "software_version", "image_list_file"}
    return {name: value for name, value in job.extra_vars.items() if name in known}


class TestPhases:
    def test_an_upgrade_goes_through_all_phases(
        self, build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
    ) -> None:
        """An upgrade with an image list runs prepare, packages and images, and its site shows what it holds."""
        installation = build()
        installation.add_site("a")
        image_list = installation.upload_image_list()

        assert "complete" == installation.run_strategy()
        assert ALL_STATES == installation.walk("a")
        assert [PREPARE, PACKAGES, IMAGES] == fake_playbooks.played("a")
        prepare, packages, images = (upstream_vars(job) for job in fake_playbooks.jobs[:3])
        assert {"current_software_version": "23.09", "previous_software_version": "22.12"} == prepare
        assert {"software_version": "23.09"} == packages
        assert {"software_version": "23.09", "image_list_file": str(image_list)} == images
        site = installation.site("a")
        assert ("complete", "for-install: 23.09 - for-sw-deploy: None") == (
            site["prestage_status"],
            site["prestage_versions"],
        )
        step = installation.step("a")
        assert step["started_at"] <= step["finished_at"]

    @ON_SQLITE
    def test_a_playbook_tells_how_it_ended(
        self, build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
    ) -> None:
        """The end of a playbook that reported progress is told once, and its output is kept whole; others tell none."""
        installation = build()
        installation.add_site("a")
        installation.upload_image_list()
        progress = Progress(play="Stage", task="Take packages", tasks=2)
        fake_playbooks.end("a", PACKAGES, FakeRunEnd(says="it went well\n", progress=progress, delay_s=0.002))

        assert "complete" == installation.run_strategy()
        told = [row for row in installation.rows(events) if row["type"].startswith("run.")]
        assert {("run.prestage.prestaging-packages", "a", "Take packages")} == {
            (row["type"], row["data"]["subcloud"], row["data"]["task"]) for row in told
        }
        assert ["succeeded"] == [row["data"]["outcome"] for row in told if "outcome" in row["data"]]
        assert "it went well\n" == installation.log("a", "prestaging-packages")

    def test_a_site_tells_what_it_was_prestaged_for(self, build: Callable[..., StartedInstallation]) -> None:
        """After a prestage for a deploy the site shows the release as that, from a strategy and by itself alike."""
        installation = build()
        installation.add_site("a")
        installation.add_site("b")

        assert "complete" == installation.run_strategy(cloud_name="a", release="24.09", for_sw_deploy="true")
        installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="b", release="24.09", for_sw_deploy=True)
        wait_for(lambda: installation.step("b")["finished_at"])
        assert ["for-install: None - for-sw-deploy: 24.09"] * 2 == [
            installation.site(name)["prestage_versions"] for name in "ab"
        ]

    def test_without_an_image_list_an_upgrade_brings_no_images(
        self, build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
    ) -> None:
        """No list: the images phase has nothing to do, the step is complete, and the log says why."""
        installation = build()
        installation.add_site("a")

        assert "complete" == installation.run_strategy()
        assert ALL_STATES == installation.walk("a")
        assert [PREPARE, PACKAGES] == fake_playbooks.played("a")
        assert "there are no images to stage" in installation.log("a", "prestaging-images")

    def test_a_reinstall_prepares_nothing_and_brings_its_own_images(
        self, build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
    ) -> None:
        """A site that runs the release already skips prepare; its images playbook gets no list."""
        installation = build()
        installation.add_site("a", software_version="23.09")
        installation.upload_image_list()

        assert "complete" == installation.run_strategy()
        assert ALL_STATES == installation.walk("a")
        assert [PACKAGES, IMAGES] == fake_playbooks.played("a")
        assert {"software_version": "23.09"} == upstream_vars(fake_playbooks.jobs[1])

    @ON_SQLITE
    def test_the_password_reaches_the_job_and_nothing_else(
        self, build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
    ) -> None:
        """Each playbook gets the password as a secret; the database never holds it, and wipes it sealed at the end."""
        installation = build()
        installation.add_site("a")
        installation.create(password="Li69nux*")
        installation.verb("apply")
        installation.ending()

        assert {"ansible_ssh_pass": "Li69nux*", "ansible_become_pass": "Li69nux*"} == fake_playbooks.jobs[0].secrets
        assert [] == installation.rows(secrets)
        installation.database.close()
        files = b"".join(path.read_bytes() for path in installation.settings.data_dir.glob("prestager.db*"))
        assert b"Li69nux*" not in files

    @ON_SQLITE
    def test_tokens_of_a_site_only_grow(
        self, build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
    ) -> None:
        """Each later run of a site carries a greater fencing token."""
        installation = build()
        installation.add_site("a")
        installation.run_strategy()
        tokens = [job.extra_vars["prestager_run_token"] for job in fake_playbooks.jobs]

        assert sorted(set(tokens)) == tokens


class TestPrecheck:
    @pytest.mark.parametrize(
        ("site", "details"),
        [
            (
                {"system_mode": "duplex"},
                "Prestage skipped 'a': Prestage operation is only accepted for a simplex subcloud.",
            ),
        ],
    )
    def test_a_skipped_site_is_complete_with_the_reason(
        self,
        build: Callable[..., StartedInstallation],
        fake_playbooks: FakePlaybooks,
        site: dict[str, str],
        details: str,
    ) -> None:
        """Skip: the step is complete with the reason, and the subcloud shows what it showed before."""
        installation = build()
        installation.add_site("a", **site)

        assert "complete" == installation.run_strategy()
        assert ("complete", details) == (installation.step("a")["state"], installation.step("a")["details"])
        assert None is installation.site("a")["prestage_status"]
        assert [] == fake_playbooks.jobs

    @ON_SQLITE
    def test_a_site_that_went_offline_is_skipped(self, build: Callable[..., StartedInstallation]) -> None:
        """A subcloud that goes offline between create and its start is skipped."""
        installation = build()
        installation.add_site("a")
        installation.create()
        installation.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **{"availability-status": "offline"})
        installation.verb("apply")

        assert "complete" == installation.ending()
        assert "Prestage skipped 'a': Subcloud is offline." == installation.step("a")["details"]

    def test_an_unmanaged_site_fails(self, build: Callable[..., StartedInstallation]) -> None:
        """A subcloud unmanaged between create and its start fails with that reason."""
        installation = build()
        installation.add_site("a")
        installation.create()
        installation.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **{"management-state": "unmanaged"})
        installation.verb("apply")

        assert "failed" == installation.ending()
        assert ("failed", "Subcloud a is unmanaged.") == (
            installation.step("a")["state"],
            installation.step("a")["details"],
        )

    @ON_SQLITE
    def test_alarms_fail_unless_forced(self, build: Callable[..., StartedInstallation]) -> None:
        """A management-affecting alarm fails the step; with force it passes."""
        installation = build()
        installation.add_site("a", **{"management-alarms": 1})

        assert "failed" == installation.run_strategy()
        assert installation.step("a")["details"].startswith(
            "prestage-precheck: Prestage failed 'a': Subcloud has management"
        )
        installation.verb("delete")
        assert "complete" == installation.run_strategy(force="true")

    @ON_SQLITE
    def test_a_site_that_turns_out_newer_fails_and_harms_nobody(
        self, build: Callable[..., StartedInstallation]
    ) -> None:
        """A site that is newer than what is to be deployed by the time of its precheck fails; the others go on."""
        installation = build()
        installation.add_site("a")
        installation.add_site("b")
        assert 200 == installation.create(release="24.09", for_sw_deploy="true").status
        installation.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **{"software-version": "25.03"})

        assert 200 == installation.verb("apply").status
        assert "failed" == installation.ending()
        assert "lower than the current subcloud software version (25.03)" in installation.step("a")["details"]
        assert "complete" == installation.step("b")["state"]


class TestPrepare:
    def test_it_runs_once_for_all_sites_of_a_version(
        self, build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
    ) -> None:
        """Prepare runs once per from-version; all sites of that version wait for it and go on."""
        installation = build()
        for name in "abcde":
            installation.add_site(name)
        for name in "xyz":
            installation.add_site(name, software_version="21.12")

        assert "complete" == installation.run_strategy(**{"max-parallel-subclouds": 8})
        prepared = [
            job.extra_vars["previous_software_version"] for job in fake_playbooks.jobs if job.playbook.stem == PREPARE
        ]
        assert ["21.12", "22.12"] == sorted(prepared)

    def test_its_failure_fails_all_who_need_it_at_once(
        self, build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
    ) -> None:
        """The first site names the failure, later ones the earlier failure; reinstalls are untouched; no second try."""
        installation = build()
        for name in "abc":
            installation.add_site(name)
        installation.add_site("z", software_version="23.09")
        for name in "abc":
            fake_playbooks.end(name, PREPARE, FAILS)

        assert "failed" == installation.run_strategy(**{"max-parallel-subclouds": 2})
        assert 1 == len([job for job in fake_playbooks.jobs if job.playbook.stem == PREPARE])
        # Two are checked at once, and either may be through first.
        first = "a" if "failed for subcloud a" in installation.step("a")["details"] else "b"
        assert (
            f"prestage-prepare: Prestaging prepare failed for subcloud {first}, check individual log at "
            f"/v1.0/sw-update-strategy/steps/{first}/log?phase=prestage-prepare for detailed output. "
            "task 'Take packages' on a: no space left"
        ) == installation.step(first)["details"]
        assert {"prestage-prepare: Aborted due to previous prestage-prepare failure"} == {
            installation.step(name)["details"] for name in "abc" if name != first
        }
        assert "complete" == installation.step("z")["state"]

    def test_a_failed_prepare_does_not_poison_the_next_strategy(
        self, build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
    ) -> None:
        """A new application tries prepare anew."""
        installation = build()
        installation.add_site("a")
        fake_playbooks.end("a", PREPARE, FAILS)
        first = installation.run_strategy()
        installation.verb("delete")
        fake_playbooks.end("a", PREPARE, FakeRunEnd())

        assert ("failed", "complete") == (first, installation.run_strategy())
        assert ["failed", "complete"] == [row["state"] for row in installation.rows(preparations)]
