"""The removal of a staged release from a site: a step of its own, without a strategy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update

from db.schema import events, runs, secrets, steps, subclouds
from messages.commands import Answer, CommandType
from tests.integration.actors.coordinator_house import House
from tests.integration.actors.embedded_rig import FAILS, LOST, Rig, Stage
from tests.support.foreign_playbooks import newer_set
from tests.support.waiting import wait_for

UNSTAGE = "unstage_release"
SHOWN = ("complete", "for-install: 23.09 - for-sw-deploy: None")


def unstage(house: House, name: str = "a", **data: Any) -> Answer:
    """Ask for the removal of 23.09 from a site."""
    return house.ask(CommandType.SUBCLOUD_UNSTAGE, subject=name, **{"release": "23.09", **data})


def staged(house: House, name: str = "a") -> tuple[str | None, str | None]:
    """Return what a site shows of its last prestage."""
    row = house.site(name)
    return row["prestage_status"], row["prestage_versions"]


def end(rig: Rig, name: str = "a") -> tuple[str, str]:
    """Wait for the end of a site's newest step."""
    wait_for(lambda: rig.step(name)["finished_at"] is not None)
    return rig.step(name)["state"], rig.step(name)["details"]


def prestaged(rig: Rig, name: str = "a") -> None:
    """Prestage a site by itself."""
    rig.ask(CommandType.SUBCLOUD_PRESTAGE, subject=name)
    assert "complete" == end(rig, name)[0]
    assert SHOWN == staged(rig, name)


class TestRun:
    def test_a_removal_goes_as_a_run_of_its_own(self, build: Callable[..., Rig], stage: Stage) -> None:
        """A worker prechecks the site and runs one playbook; then nothing is shown as staged, and no secret is left."""
        rig = build()
        rig.add_site("a")
        prestaged(rig)

        answer = unstage(rig)
        states = end(rig)

        (job,) = [one for one in stage.jobs if one.playbook.stem == UNSTAGE]
        walk = [row["type"] for row in rig.rows(events, subject=f"step/{rig.step('a')['id']}")]
        assert (200, "23.09") == (answer.status, answer.body["unstage-software-version"])
        assert ("complete", "") == states
        assert (None, None) == staged(rig)
        assert {"software_version": "23.09", "subcloud_software_version": "22.12"}.items() <= job.extra_vars.items()
        assert "pw" in job.secrets.values()
        names = ("initial", "prestage-precheck", "unstaging", "complete")
        assert [f"step.unstage.{name}" for name in names] == walk
        assert [] == rig.rows(secrets)
        assert rig.step("a")["strategy_id"] is None

    def test_a_repeat_is_a_removal_too(self, build: Callable[..., Rig]) -> None:
        """A second removal runs as the first, for a site may have kept something that nobody knows of."""
        rig = build()
        rig.add_site("a")

        for _ in range(2):
            assert 200 == unstage(rig).status
            assert ("complete", "") == end(rig)
        assert (None, None) == staged(rig)

    def test_another_release_stays_shown(self, build: Callable[..., Rig]) -> None:
        """The removal of one release says nothing of another that is shown as staged."""
        rig = build()
        rig.add_site("a")
        prestaged(rig)

        assert 200 == unstage(rig, release="21.12").status
        assert ("complete", "") == end(rig)
        assert SHOWN == staged(rig)

    def test_what_a_failed_prestage_kept_goes(self, build: Callable[..., Rig], stage: Stage) -> None:
        """A release that was complete before a prestage failed is not shown after its removal; the failure is."""
        rig = build()
        rig.add_site("a")
        prestaged(rig)
        stage.end("a", "prestage_sw_packages", FAILS)
        rig.ask(CommandType.SUBCLOUD_PRESTAGE, subject="a")
        assert "failed" == end(rig)[0]
        assert ("failed", SHOWN[1]) == staged(rig)

        unstage(rig)

        assert ("complete", "") == end(rig)
        assert ("failed", None) == staged(rig)

    def test_a_failed_removal_proves_nothing(self, build: Callable[..., Rig], stage: Stage) -> None:
        """What a broken removal left is not known, so nothing is shown as staged; the reason is the site's error."""
        rig = build()
        rig.add_site("a")
        prestaged(rig)
        stage.end("a", UNSTAGE, FAILS)

        unstage(rig)
        state, details = end(rig)

        assert ("failed", (None, None)) == (state, staged(rig))
        assert details.startswith("unstaging: Removing the staged release failed for subcloud a, check individual log")
        assert details == rig.site("a")["error_description"]

    def test_a_lost_removal_is_tried_again(self, build: Callable[..., Rig], stage: Stage) -> None:
        """A removal whose worker is lost is tried as often as any phase."""
        rig = build(max_attempts=2)
        rig.add_site("a")
        stage.end("a", UNSTAGE, LOST)

        unstage(rig)

        assert "failed" == end(rig)[0]
        assert [1, 2] == [row["attempt"] for row in rig.rows(runs, phase="unstaging")]

    def test_playbooks_of_others_remove_nothing(self, build: Callable[..., Rig], stage: Stage, tmp_path: Any) -> None:
        """With another set of playbooks the removal fails before anything is done, and says what to do."""
        rig = build(playbooks_dir=newer_set(tmp_path / "playbooks").directory)
        rig.add_site("a")
        with rig.database.write() as connection:
            connection.execute(update(subclouds).values(prestage_status=SHOWN[0], prestage_versions=SHOWN[1]))

        unstage(rig)
        state, details = end(rig)

        assert ("failed", SHOWN) == (state, staged(rig))
        assert "remove no staged release: unstage_release.yml is missing there" in details
        assert [] == stage.played("a")


class TestCommand:
    @pytest.mark.parametrize(
        ("data", "detail"),
        [
            ({"release": None}, "Specified release format is not supported. Version format must be MM.mm."),
            ({"release": "23.09.1"}, "Specified release format is not supported. Version format must be MM.mm."),
            ({"password": None}, "sysadmin_password is required."),
            ({"release": "22.12"}, "Unstage failed 'a': The subcloud runs release 22.12, which is never removed."),
        ],
    )
    def test_wrong_requests(self, house: House, data: dict[str, Any], detail: str) -> None:
        """A wrong release, a missing password and the running release are refused, and nothing is started."""
        house.add_site("a")

        answer = unstage(house, **data)

        assert (400, detail) == (answer.status, answer.detail)
        assert [] == house.rows(steps)

    def test_a_site_that_is_not_ready(self, house: House) -> None:
        """An unknown site is a 404; an offline one is refused with the reason."""
        house.add_site("a", **{"availability-status": "offline"})

        answer, unknown = unstage(house), unstage(house, "ghost")

        assert (400, "Unstage failed 'a': Subcloud is offline.") == (answer.status, answer.detail)
        assert (404, "Subcloud not found") == (unknown.status, unknown.detail)

    def test_a_site_at_work(self, house: House) -> None:
        """A site with a step that waits or runs is refused with what to wait for."""
        house.add_site("a")
        house.create()

        waiting = unstage(house).detail
        house.verb("apply")

        assert waiting.startswith(
            "Unstage failed 'a': Subcloud a has a step in a strategy that has not been worked on."
        )
        assert unstage(house).detail.startswith(
            "Unstage failed 'a': Subcloud a current prestage_status is 'prestaging'."
        )

    @pytest.mark.parametrize("state", ["initial", "prestage-precheck", "unstaging"])
    def test_a_site_with_a_removal(self, house: House, state: str) -> None:
        """From its first moment on a removal is what a second one, a prestage and a strategy are told to wait for."""
        house.add_site("a")
        house.add_site("b")
        unstage(house)
        with house.database.write() as connection:
            connection.execute(update(steps).values(state=state))
        reason = (
            "A staged release is being removed from subcloud a. "
            "Please wait until that finishes before running this operation."
        )

        again, prestage = unstage(house), house.ask(CommandType.SUBCLOUD_PRESTAGE, subject="a")
        created = house.create()

        assert (400, f"Unstage failed 'a': {reason}") == (again.status, again.detail)
        assert (400, f"Prestage skipped 'a': {reason}") == (prestage.status, prestage.detail)
        assert [("b", 1)] == house.stages()
        assert reason in str(created.body["excluded-subclouds"])
