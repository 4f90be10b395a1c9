"""Resume point of retried sites: phases that earlier runs have proved are passed (decision 68)."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update

from db.claims import claim_runs
from db.host_keys import forget_host_keys
from db.runs import RunAssignment
from db.schema import events, preparations, runs, steps, subclouds
from db.unit_of_work import unit_of_work
from messages.commands import Answer, Command, CommandType
from statemachine.states import FailureClass, RunOutcome
from tests.integration.actors.held_installation import applied, end, state, take
from tests.support.installation import OWNER, Installation

DIGEST = {"content_digest": "d1"}


def work(
    installation: Installation,
    outcomes: dict[str, RunOutcome],
    *,
    facts: dict[str, Any] = DIGEST,
    version: str = "22.12",
    failure_class: FailureClass | None = None,
) -> list[str]:
    """Let workers take and end all runs, with an outcome for each phase, and return the phases in their order."""
    worked = []
    while installation.queued():
        run_id = installation.queued()[0]
        phase = installation.rows(runs, id=run_id)[0]["phase"]
        worked.append(phase)
        take(installation, run_id)
        outcome = outcomes.get(phase, RunOutcome.SUCCEEDED)
        values: dict[str, Any] = {"facts": facts} if outcome == RunOutcome.SUCCEEDED else {"details": "broken"}
        if phase == "prestage-precheck":
            values = {"from_version": version}
        if outcome == RunOutcome.FAILED:
            values["failure_class"] = failure_class
        end(installation, run_id, outcome, **values)
    return worked


IMAGES_FAIL = {"prestaging-images": RunOutcome.FAILED}
WHOLE = ["prestage-precheck", "prestage-prepare", "prestaging-packages", "prestaging-images"]
RESUMED = ["prestage-precheck", "prestage-prepare", "prestaging-images"]


def failed_in_images(installation: Installation, sites: str = "a", version: str = "22.12", **options: Any) -> None:
    """Bring a strategy to its end whose sites failed in the images."""
    for site in sites:
        installation.add_site(site, software_version=version)
    applied(installation, sites, **options)
    work(installation, IMAGES_FAIL, version=version)
    assert "failed" == state(installation)


def retry(installation: Installation, strategy_id: int = 1, **data: Any) -> Answer:
    """Ask for a retry that starts at once."""
    answer = installation.ask(
        CommandType.STRATEGY_RETRY, subject=str(strategy_id), password="pw", **{"apply": True, **data}
    )
    assert 200 == answer.status, answer.detail
    return answer


class TestPassing:
    def test_packages_that_are_proved(self, installation: Installation) -> None:
        """After failed images a retry prepares once and runs the images alone; the event of the packages says why."""
        failed_in_images(installation, "ab")
        (_, proof) = [row["id"] for row in installation.rows(runs, phase="prestaging-packages")]

        retry(installation)
        worked = work(installation, {})

        assert ["prestage-precheck"] * 2 + ["prestage-prepare"] + ["prestaging-images"] * 2 == sorted(
            worked, key=RESUMED.index
        )
        assert "complete" == state(installation)
        step = installation.step("b")
        assert (proof, "d1") == (step["proved_by"], step["passed_content"])
        told = {row["type"]: row["data"] for row in installation.rows(events, subject=f"step/{step['id']}")}
        assert proof == told["step.prestage.prestaging-packages"]["proved_by"]
        assert "proved_by" not in told["step.prestage.prestaging-images"]
        assert "complete" == installation.site("b")["prestage_status"]

    def test_the_worker_gets_the_digest(self, installation: Installation) -> None:
        """The first run at the site has the digest of what it has to find there, as has another attempt of it."""
        failed_in_images(installation)
        retry(installation)
        for outcome in (RunOutcome.DRAINED, RunOutcome.DRAINED):
            while installation.rows(runs, state="queued")[0]["phase"] != "prestaging-images":
                run_id = installation.queued()[0]
                take(installation, run_id)
                end(installation, run_id, facts=DIGEST)
            (run_id,) = installation.queued()
            assert "d1" == claimed(installation, run_id).passed_content
            end(installation, run_id, outcome)

    def test_a_reinstall_asks_for_the_content(self, installation: Installation) -> None:
        """A site that runs the release already has a preparation made only where a proof is in question."""
        failed_in_images(installation, version="23.09")
        assert [] == installation.rows(preparations)

        retry(installation)

        assert RESUMED == work(installation, {}, version="23.09")
        assert ["d1"] == [row["content"] for row in installation.rows(preparations)]

    def test_a_retried_step(self, installation: Installation) -> None:
        """A step that is retried within its strategy passes the packages too, by the preparation that was made."""
        applied(installation, "ab")
        run_ids = installation.queued()
        take(installation, run_ids[0])
        end(installation, run_ids[0])
        while "failed" != installation.step("a")["state"]:
            run_id = installation.queued()[-1]
            phase = installation.rows(runs, id=run_id)[0]["phase"]
            take(installation, run_id)
            outcome = RunOutcome.FAILED if phase == "prestaging-images" else RunOutcome.SUCCEEDED
            end(installation, run_id, outcome, facts=DIGEST)

        installation.execute(Command(type=CommandType.STEP_RETRY, subject="a", requested_by="alice"))

        run_id = installation.step("a")["run_id"]
        take(installation, run_id)
        end(installation, run_id)
        assert "prestaging-images" == installation.step("a")["state"]
        assert 1 == len(installation.rows(preparations))

    def test_a_retried_step_of_another_version(self, installation: Installation) -> None:
        """A step that is retried at a site which runs another version by now gets the packages."""
        applied(installation, "ab")
        assert 200 == installation.execute(Command(type=CommandType.STEP_HOLD, subject="b", data={"held": True})).status
        work(installation, IMAGES_FAIL, facts={**DIGEST, "site_version": "22.12"})
        assert "failed" == installation.step("a")["state"]

        installation.execute(Command(type=CommandType.STEP_RETRY, subject="a", requested_by="alice"))

        assert WHOLE == work(installation, {}, version="21.12")


def claimed(installation: Installation, run_id: int) -> RunAssignment:
    """Return what a worker gets with a run."""
    with unit_of_work(installation.database) as unit:
        (assignment,) = claim_runs(unit, [run_id], OWNER)
    return assignment


class TestNoProof:
    def test_from_the_start(self, installation: Installation) -> None:
        """With `from: start` no site passes anything."""
        failed_in_images(installation)
        retry(installation, **{"from": "start"})

        assert WHOLE == work(installation, {})

    @pytest.mark.parametrize("facts", [{"content_digest": "d2"}, {}])
    def test_other_content_on_the_controller(self, installation: Installation, facts: dict[str, Any]) -> None:
        """Where the controller has other content by now, or does not say, the packages are brought."""
        failed_in_images(installation)
        retry(installation)

        assert WHOLE == work(installation, {}, facts=facts)
        assert installation.step("a")["proved_by"] is None

    def test_another_version(self, installation: Installation) -> None:
        """A site that runs another version by now gets the packages."""
        failed_in_images(installation)
        retry(installation)

        assert WHOLE == work(installation, {}, version="21.12")

    def test_another_reason(self, installation: Installation) -> None:
        """A retry for a software deploy relies on nothing that was staged for an install."""
        failed_in_images(installation, release="25.09")
        retry(installation, for_sw_deploy="true")

        assert WHOLE == work(installation, {})

    def test_a_playbook_that_says_no_content(self, installation: Installation) -> None:
        """Runs of sets that say no digest prove nothing, and nothing is prepared for a reinstall."""
        for site in "a":
            installation.add_site(site, software_version="23.09")
        applied(installation, "a")
        work(installation, IMAGES_FAIL, version="23.09", facts={})

        retry(installation)

        assert ["prestage-precheck", "prestaging-packages", "prestaging-images"] == work(
            installation, {}, version="23.09"
        )

    def test_content_that_is_gone(self, installation: Installation) -> None:
        """A site whose check failed begins the next retry with the packages."""
        failed_in_images(installation)
        retry(installation)
        assert RESUMED == work(installation, IMAGES_FAIL, failure_class=FailureClass.PROOF)
        assert "failed" == state(installation)

        retry(installation, 2)

        assert WHOLE == work(installation, {})

    def test_a_failure_of_another_kind(self, installation: Installation) -> None:
        """Images that failed again for another reason leave the proof."""
        failed_in_images(installation)
        retry(installation)
        assert RESUMED == work(installation, IMAGES_FAIL, failure_class=FailureClass.REGISTRY)

        retry(installation, 2)

        assert RESUMED == work(installation, {})


def staged_unknown(installation: Installation) -> None:
    """Say that it is not known what is staged."""
    given = {"release": "23.09", "verdict": "unknown"}
    assert 200 == installation.ask(CommandType.SUBCLOUD_STAGED, subject="a", **given).status


def other_version_declared(installation: Installation) -> None:
    """Declare another version and the first one again."""
    for version in ("21.12", "22.12"):
        installation.ask(CommandType.SUBCLOUD_UPDATE, subject="a", software_version=version)


def host_key_forgotten(installation: Installation) -> None:
    """Forget a host key that was recorded."""
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
    with unit_of_work(installation.database) as unit:
        unit.connection.execute(update(subclouds).values(host_keys=key, host_keys_origin="given"))
        row = unit.connection.execute(select(subclouds)).mappings().one()
        assert forget_host_keys(unit, row)


class TestDoubt:
    @pytest.mark.parametrize("doubting", [staged_unknown, other_version_declared, host_key_forgotten])
    def test_what_no_run_says(self, installation: Installation, doubting: Any) -> None:
        """`staged: unknown`, another declared version and a forgotten host key end the proofs of before."""
        failed_in_images(installation)
        doubting(installation)

        retry(installation)

        assert WHOLE == work(installation, {})
        assert [False] == [row["resumes"] for row in installation.rows(steps, strategy_id=2)]
