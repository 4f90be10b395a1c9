"""The removal of a staged release from a site: a step of its own, without a strategy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update

from db.schema import events, runs, secrets, steps, subclouds
from messages.commands import Answer, CommandType
from tests.support.fake_playbooks import FAILS, LOST, FakePlaybooks
from tests.support.foreign_playbooks import newer_set
from tests.support.installation import Installation, StartedInstallation
from tests.support.waiting import wait_for

UNSTAGE = "unstage_release"
SHOWN = ("complete", "for-install: 23.09 - for-sw-deploy: None")


def unstage(installation: Installation, name: str = "a", **data: Any) -> Answer:
    """Ask for the removal of 23.09 from a site."""
    return installation.ask(CommandType.SUBCLOUD_UNSTAGE, subject=name, **{"release": "23.09", **data})


def staged(installation: Installation, name: str = "a") -> tuple[str | None, str | None]:
    """Return what a site shows of its last prestage."""
    row = installation.site(name)
    return row["prestage_status"], row["prestage_versions"]


def end(installation: StartedInstallation, name: str = "a") -> tuple[str, str]:
    """Wait for the end of a site's newest step."""
    wait_for(lambda: installation.step(name)["finished_at"] is not None)
    return installation.step(name)["state"], installation.step(name)["details"]


def prestaged(installation: StartedInstallation, name: str = "a") -> None:
    """Prestage a site by itself."""
    installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject=name)
    assert "complete" == end(installation, name)[0]
    assert SHOWN == staged(installation, name)


class TestRun:
    def test_a_removal_goes_as_a_run_of_its_own(
        self, build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
    ) -> None:
        """A worker prechecks the site and runs one playbook; then nothing is shown as staged, and no secret is left."""
        installation = build()
        installation.add_site("a")
        prestaged(installation)

        answer = unstage(installation)
        states = end(installation)

        (job,) = [one for one in fake_playbooks.jobs if one.playbook.stem == UNSTAGE]
        walk = [row["type"] for row in installation.rows(events, subject=f"step/{installation.step('a')['id']}")]
        assert (200, "23.09") == (answer.status, answer.body["unstage-software-version"])
        assert installation.step("a")["id"] == answer.body["step-id"]
        assert ("complete", "") == states
        assert (None, None) == staged(installation)
        assert {"software_version": "23.09", "subcloud_software_version": "22.12"}.items() <= job.extra_vars.items()
        assert "pw" in job.secrets.values()
        names = ("initial", "prestage-precheck", "unstaging", "complete")
        assert [f"step.unstage.{name}" for name in names] == walk
        assert [] == installation.rows(secrets)
        assert installation.step("a")["strategy_id"] is None

    def test_a_repeat_is_a_removal_too(self, build: Callable[..., StartedInstallation]) -> None:
        """A second removal runs as the first, for a site may have kept something that nobody knows of."""
        installation = build()
        installation.add_site("a")

        for _ in range(2):
            assert 200 == unstage(installation).status
            assert ("complete", "") == end(installation)
        assert (None, None) == staged(installation)

    def test_another_release_stays_shown(self, build: Callable[..., StartedInstallation]) -> None:
        """The removal of one release says nothing of another that is shown as staged."""
        installation = build()
        installation.add_site("a")
        prestaged(installation)

        assert 200 == unstage(installation, release="21.12").status
        assert ("complete", "") == end(installation)
        assert SHOWN == staged(installation)

    def test_what_a_failed_prestage_kept_goes(
        self, build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
    ) -> None:
        """A release that was complete before a prestage failed is not shown after its removal; the failure is."""
        installation = build()
        installation.add_site("a")
        prestaged(installation)
        fake_playbooks.end("a", "prestage_sw_packages", FAILS)
        installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="a")
        assert "failed" == end(installation)[0]
        assert ("failed", SHOWN[1]) == staged(installation)

        unstage(installation)

        assert ("complete", "") == end(installation)
        assert ("failed", None) == staged(installation)

    def test_a_failed_removal_proves_nothing(
        self, build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
    ) -> None:
        """What a broken removal left is not known, so nothing is shown as staged; the reason is the site's error."""
        installation = build()
        installation.add_site("a")
        prestaged(installation)
        fake_playbooks.end("a", UNSTAGE, FAILS)

        unstage(installation)
        state, details = end(installation)

        assert ("failed", (None, None)) == (state, staged(installation))
        assert details.startswith("unstaging: Removing the staged release failed for subcloud a, check individual log")
        assert details == installation.site("a")["error_description"]

    def test_a_lost_removal_is_tried_again(
        self, build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
    ) -> None:
        """A removal whose worker is lost is tried as often as any phase."""
        installation = build(max_attempts=2)
        installation.add_site("a")
        fake_playbooks.end("a", UNSTAGE, LOST)

        unstage(installation)

        assert "failed" == end(installation)[0]
        assert [1, 2] == [row["attempt"] for row in installation.rows(runs, phase="unstaging")]

    def test_playbooks_of_others_remove_nothing(
        self, build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks, tmp_path: Any
    ) -> None:
        """With another set of playbooks the removal fails before anything is done, and says what to do."""
        installation = build(playbooks_dir=newer_set(tmp_path / "playbooks").directory)
        installation.add_site("a")
        with installation.database.write() as connection:
            connection.execute(update(subclouds).values(prestage_status=SHOWN[0], prestage_versions=SHOWN[1]))

        unstage(installation)
        state, details = end(installation)

        assert ("failed", SHOWN) == (state, staged(installation))
        assert "remove no staged release: unstage_release.yml is missing there" in details
        assert [] == fake_playbooks.played("a")


class TestCommand:
    @pytest.mark.parametrize(
        ("data", "detail"),
        [
            ({"release": "23.09.1"}, "Specified release format is not supported. Version format must be MM.mm."),
            ({"password": None}, "sysadmin_password is required."),
            ({"release": "22.12"}, "Unstage failed 'a': The subcloud runs release 22.12, which is never removed."),
        ],
    )
    def test_wrong_requests(self, installation: Installation, data: dict[str, Any], detail: str) -> None:
        """A wrong release, a missing password and the running release are refused, and nothing is started."""
        installation.add_site("a")

        answer = unstage(installation, **data)

        assert (400, detail) == (answer.status, answer.detail)
        assert [] == installation.rows(steps)

    def test_a_site_that_is_not_ready(self, installation: Installation) -> None:
        """An unknown site is a 404; an offline one is refused with the reason."""
        installation.add_site("a", **{"availability-status": "offline"})

        answer, unknown = unstage(installation), unstage(installation, "ghost")

        assert (400, "Unstage failed 'a': Subcloud is offline.") == (answer.status, answer.detail)
        assert (404, "Subcloud not found") == (unknown.status, unknown.detail)

    def test_a_site_at_work(self, installation: Installation) -> None:
        """A site with a step that waits or runs is refused with what to wait for."""
        installation.add_site("a")
        installation.create()

        waiting = unstage(installation).detail
        installation.verb("apply")

        assert waiting.startswith(
            "Unstage failed 'a': Subcloud a has a step in a strategy that has not been worked on."
        )
        assert unstage(installation).detail.startswith(
            "Unstage failed 'a': Subcloud a current prestage_status is 'prestaging'."
        )

    @pytest.mark.parametrize("state", ["initial", "prestage-precheck", "unstaging"])
    def test_a_site_with_a_removal(self, installation: Installation, state: str) -> None:
        """From its first moment on a removal is what a second one, a prestage and a strategy are told to wait for."""
        installation.add_site("a")
        installation.add_site("b")
        unstage(installation)
        with installation.database.write() as connection:
            connection.execute(update(steps).values(state=state))
        reason = (
            "A staged release is being removed from subcloud a. "
            "Please wait until that finishes before running this operation."
        )

        again, prestage = unstage(installation), installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="a")
        created = installation.create()

        assert (400, f"Unstage failed 'a': {reason}") == (again.status, again.detail)
        assert (400, f"Prestage skipped 'a': {reason}") == (prestage.status, prestage.detail)
        assert [("b", 1)] == installation.stages()
        assert reason in str(created.body["excluded-subclouds"])
