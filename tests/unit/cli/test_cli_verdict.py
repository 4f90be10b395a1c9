"""Judging the demonstration: what became of each site against what had to."""

from __future__ import annotations

from typing import Any

import pytest

from cli.demo.command import site_verdicts, strategy_fault
from demo.sites_content import DemoOutcome, Expected


def step(name: str, state: str, details: str = "", stage: int = 1) -> dict[str, Any]:
    """Return a step as the API shows it."""
    return {"cloud": name, "state": state, "details": details, "stage": stage}


EXPECTED = {
    "done": Expected(outcome=DemoOutcome.COMPLETE),
    "skipped": Expected(outcome=DemoOutcome.SKIPPED, reason="too many"),
    "failed": Expected(outcome=DemoOutcome.FAILED, reason="no space"),
    "out": Expected(outcome=DemoOutcome.LEFT_OUT, reason="offline"),
}
STEPS = [
    step("done", "complete"),
    step("skipped", "complete", "there are too many"),
    step("failed", "failed", "there is no space", stage=2),
]
LEFT_OUT = [{"name": "out", "reason": "it is offline"}]


def test_as_expected() -> None:
    """Each site that ended as it had to is right, in the order of names."""
    verdicts = site_verdicts(EXPECTED, STEPS, LEFT_OUT)

    assert ["done", "failed", "out", "skipped"] == [one.name for one in verdicts]
    assert ["complete", "failed", "left-out", "skipped"] == [one.outcome for one in verdicts]
    assert [1, 2, None, 1] == [one.stage for one in verdicts]
    assert all(one.is_as_expected for one in verdicts)


@pytest.mark.parametrize(
    ("name", "steps", "left_out"),
    [
        ("done", [step("done", "failed", "broken")], []),
        ("done", [step("done", "complete", "skipped for a reason")], []),
        ("done", [step("done", "prestaging-images")], []),
        ("skipped", [step("skipped", "complete")], []),
        ("skipped", [step("skipped", "complete", "another reason")], []),
        ("failed", [step("failed", "failed", "another reason")], []),
        ("failed", [step("failed", "complete")], []),
        ("out", [step("out", "complete")], []),
        ("out", [], [{"name": "out", "reason": "another reason"}]),
        ("done", [], []),
    ],
)
def test_not_as_expected(name: str, steps: list[dict[str, Any]], left_out: list[dict[str, str]]) -> None:
    """Another outcome, another reason, no end, or no trace: each is told with what was expected."""
    (verdict,) = site_verdicts({name: EXPECTED[name]}, steps, left_out)

    assert not verdict.is_as_expected
    assert str(EXPECTED[name].outcome) in verdict.instead_of


def test_a_site_that_nobody_expected() -> None:
    """A site out of nowhere is not as expected."""
    (verdict,) = site_verdicts({}, [step("ghost", "complete")], [])

    assert "no such site" == verdict.instead_of


def test_one_failed_site_fails_the_strategy() -> None:
    """The strategy's own end follows from the sites'."""
    whole = {"done": EXPECTED["done"]}

    assert strategy_fault(EXPECTED, "failed") is None
    assert strategy_fault(whole, "complete") is None
    assert "The strategy ended complete, expected was failed." == strategy_fault(EXPECTED, "complete")
    assert strategy_fault(whole, "failed") is not None
