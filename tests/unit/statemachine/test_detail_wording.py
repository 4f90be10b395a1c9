from __future__ import annotations

import pytest

from statemachine.step_details import (
    DETAILS_LENGTH,
    earlier_preparation_failed,
    lost_too_often,
    phase_failed,
    shorten,
    unmanaged,
)


@pytest.mark.parametrize(
    ("phase", "work"),
    [
        ("prestage-prepare", "Prestaging prepare"),
        ("prestaging-packages", "Prestaging packages"),
        ("prestaging-images", "Prestaging images"),
    ],
)
def test_playbook_phase_failed(phase: str, work: str) -> None:
    """A failed playbook names phase, subcloud and log, as contract 7.2 words it, and then the reason."""
    expected = (
        f"{phase}: {work} failed for subcloud site1, check individual log at "
        f"/v1.0/sw-update-strategy/steps/site1/log?phase={phase} for detailed output. disk full"
    )

    assert expected == phase_failed(phase, "site1", "disk full")


def test_playbook_phase_failed_without_a_reason() -> None:
    """Without a reason the contract's sentence stands alone, with nothing after its period."""
    assert phase_failed("prestaging-images", "site1", "").endswith("for detailed output.")


def test_precheck_failed() -> None:
    """A failed precheck gives its reason alone: it has no output to look at."""
    assert phase_failed("prestage-precheck", "site1", "no route") == "prestage-precheck: no route"


def test_unknown_phase() -> None:
    """A word that is no state at all is a programming fault."""
    with pytest.raises(ValueError, match="nowhere"):
        phase_failed("nowhere", "site1", "")


def test_earlier_preparation_failed() -> None:
    """The steps behind a failed preparation say so in the contract's words (8.6)."""
    expected = "prestage-prepare: Aborted due to previous prestage-prepare failure"

    assert expected == earlier_preparation_failed()


def test_unmanaged() -> None:
    """A step whose subcloud was unmanaged says so in the contract's words (8.8)."""
    assert unmanaged("site1") == "Subcloud site1 is unmanaged."


def test_lost_too_often() -> None:
    """A worker lost at every attempt is named with how often."""
    assert lost_too_often(3) == "The worker was lost during the run, 3 time(s) in all; no attempt is left."


@pytest.mark.parametrize("length", [0, 1, DETAILS_LENGTH - 1, DETAILS_LENGTH])
def test_short_text_stays(length: int) -> None:
    """A text that fits is not touched."""
    assert "x" * length == shorten("x" * length)


@pytest.mark.parametrize("length", [DETAILS_LENGTH + 1, DETAILS_LENGTH * 5])
def test_long_text_is_cut(length: int) -> None:
    """A text that does not fit is cut to the limit and ends with two dots."""
    assert "x" * (DETAILS_LENGTH - 2) + ".." == shorten("x" * length)


@pytest.mark.parametrize("phase", ["prestage-precheck", "prestaging-images"])
def test_failure_fits_the_column(phase: str) -> None:
    """However long the reason, the details fit."""
    assert len(phase_failed(phase, "s" * 255, "r" * 5000)) == DETAILS_LENGTH
