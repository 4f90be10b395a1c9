"""Which content phases a retried step may pass (rollout, section 7; decision 68)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from statemachine.proofs import LONGEST_PROOF_S, SiteRecord, SiteRun, WantedContent, may_prove, proof_of

PACKAGES, IMAGES = "prestaging-packages", "prestaging-images"
PROOF = SiteRun(
    id=10,
    phase=PACKAGES,
    outcome="succeeded",
    release="23.09",
    from_version="22.12",
    for_sw_deploy=False,
    content="d1",
)
FAILED_IMAGES = replace(PROOF, id=11, phase=IMAGES, outcome="failed", content=None, failure_class="registry")
WANTED = WantedContent(release="23.09", from_version="22.12", digest="d1")


def is_proved(*runs: SiteRun, wanted: WantedContent = WANTED, phase: str = PACKAGES, **record: Any) -> bool:
    """Return whether runs prove a phase."""
    return proof_of(phase, wanted, SiteRecord(runs=runs, **record)) is not None


class TestProof:
    def test_a_failed_later_phase(self) -> None:
        """Packages that succeeded are passed after the images failed: the run is named as the proof."""
        assert PROOF == proof_of(PACKAGES, WANTED, SiteRecord(runs=(PROOF, FAILED_IMAGES)))

    @pytest.mark.parametrize("outcome", ["failed", "cancelled", "lost", "drained", None])
    def test_however_the_images_ended(self, outcome: str | None) -> None:
        """A run of the images says nothing of the packages, however it ended."""
        assert is_proved(PROOF, replace(FAILED_IMAGES, outcome=outcome))

    @pytest.mark.parametrize("outcome", ["failed", "cancelled", "lost", "drained", "skipped", None])
    def test_the_newest_run_counts(self, outcome: str | None) -> None:
        """A later run of the packages that did not succeed ends the proof of an earlier one."""
        assert not is_proved(PROOF, replace(PROOF, id=12, outcome=outcome, content=None))

    def test_no_run(self) -> None:
        """Without a run of the phase nothing is proved."""
        assert not is_proved()
        assert not is_proved(FAILED_IMAGES)

    @pytest.mark.parametrize(
        "change", [{"release": "24.03"}, {"from_version": "21.12"}, {"from_version": None}, {"for_sw_deploy": True}]
    )
    def test_the_same_work(self, change: dict[str, Any]) -> None:
        """A run for another release, from-version or reason proves nothing."""
        assert not is_proved(replace(PROOF, **change))

    def test_the_reason_of_the_step(self) -> None:
        """The reason that counts is that of the step."""
        assert not is_proved(PROOF, for_sw_deploy=True)
        assert is_proved(replace(PROOF, for_sw_deploy=True), for_sw_deploy=True)

    @pytest.mark.parametrize(
        ("age_s", "expected"), [(0.0, True), (LONGEST_PROOF_S, True), (LONGEST_PROOF_S + 1, False)]
    )
    def test_seven_days(self, age_s: float, expected: bool) -> None:
        """A run is a proof for seven days."""
        assert expected is is_proved(replace(PROOF, age_s=age_s))

    @pytest.mark.parametrize(("ran", "has_now"), [("d1", "d2"), (None, "d1"), ("d1", None), (None, None)])
    def test_the_same_content(self, ran: str | None, has_now: str | None) -> None:
        """The content has to be what the controller has now, and both have to be known."""
        assert not is_proved(replace(PROOF, content=ran), wanted=replace(WANTED, digest=has_now))


class TestVoid:
    @pytest.mark.parametrize(
        ("what", "later"),
        [
            ("a prestage of another release", replace(FAILED_IMAGES, release="24.03")),
            ("un-staging", replace(PROOF, id=11, phase="unstaging", content=None)),
            ("un-staging that failed", replace(FAILED_IMAGES, phase="unstaging", release="22.06")),
            ("another software version", replace(PROOF, id=11, phase="prestage-precheck", from_version="23.09")),
            ("content that was not there any more", replace(FAILED_IMAGES, failure_class="proof")),
        ],
    )
    def test_what_ends_a_proof(self, what: str, later: SiteRun) -> None:
        """A prestage of another release, un-staging, another version and a failed check of the proof end it."""
        assert not is_proved(PROOF, later), what
        assert is_proved(replace(later, id=9), PROOF), what

    def test_what_no_run_says(self) -> None:
        """What happened beside all runs, such as a forgotten host key, ends the proofs of the runs before it."""
        assert not is_proved(PROOF, doubted_to=10)
        assert is_proved(PROOF, doubted_to=9)

    def test_a_precheck_for_another_release(self) -> None:
        """A precheck brings nothing: that of another release ends no proof."""
        assert is_proved(PROOF, replace(PROOF, id=11, phase="prestage-precheck", release="24.03", from_version=None))

    @pytest.mark.parametrize(("outcome", "expected"), [("succeeded", True), ("failed", False), ("cancelled", False)])
    def test_an_earlier_phase(self, outcome: str, expected: bool) -> None:
        """A later run of the packages that failed or was cancelled ends a proof of the images."""
        images = replace(PROOF, phase=IMAGES)

        assert expected is is_proved(images, replace(PROOF, id=11, outcome=outcome), phase=IMAGES)


class TestQuestion:
    def test_when_a_preparation_is_worth_while(self) -> None:
        """A proof is in question when the newest run of the packages succeeded for this release with known content."""
        assert may_prove("23.09", SiteRecord(runs=(PROOF, FAILED_IMAGES)))
        assert not may_prove("24.03", SiteRecord(runs=(PROOF,)))
        assert not may_prove("23.09", SiteRecord(runs=()))
        assert not may_prove("23.09", SiteRecord(runs=(replace(PROOF, content=None),)))
        assert not may_prove("23.09", SiteRecord(runs=(replace(PROOF, outcome="failed"),)))
        assert not may_prove("23.09", SiteRecord(runs=(PROOF,), doubted_to=10))
