"""Compare how each site ended with the expected end. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from demo.sites_content import DemoOutcome, Expected
from statemachine.states import StepState, StrategyState

# A site that is in neither list: nobody said what became of it.
_UNKNOWN: Final = "unknown"


@dataclass(frozen=True, kw_only=True)
class SiteVerdict:
    """One site at the end."""

    name: str
    # A DemoOutcome, the state of a step that did not end, or `unknown`.
    outcome: str
    # Why, in Prestager's words; empty where there is nothing to say.
    reason: str
    # Number of its batch; None without a step.
    stage: int | None
    # What was expected instead; empty: it is as expected.
    instead_of: str

    @property
    def is_as_expected(self) -> bool:
        """Tell whether the site ended as it had to."""
        return not self.instead_of


def judge_sites(
    expected: Mapping[str, Expected], steps: Iterable[Mapping[str, Any]], excluded: Iterable[Mapping[str, str]]
) -> list[SiteVerdict]:
    """Return a verdict for every site that was expected or is there, in the order of names."""
    by_name = {step["cloud"]: step for step in steps}
    left_out = {site["name"]: site["reason"] for site in excluded}
    return [
        _judge(name, expected.get(name), by_name.get(name), left_out.get(name))
        for name in sorted({*expected, *by_name, *left_out})
    ]


def strategy_fault(expected: Mapping[str, Expected], state: str) -> str | None:
    """Return what is wrong with the strategy's own end, None when it is right: one failed site fails it."""
    has_failure = any(site.outcome == DemoOutcome.FAILED for site in expected.values())
    wanted = StrategyState.FAILED if has_failure else StrategyState.COMPLETE
    return None if state == wanted else f"The strategy ended {state}, expected was {wanted}."


def outcome_of(step: Mapping[str, Any]) -> str:
    """Return the outcome of a step: a complete one that has something to say was skipped."""
    if step["state"] == StepState.COMPLETE:
        return DemoOutcome.SKIPPED if step["details"] else DemoOutcome.COMPLETE
    return DemoOutcome.FAILED if step["state"] == StepState.FAILED else str(step["state"])


def _judge(
    name: str, expected: Expected | None, step: Mapping[str, Any] | None, left_out_because: str | None
) -> SiteVerdict:
    outcome, reason = _UNKNOWN, ""
    if step is not None:
        outcome, reason = outcome_of(step), step["details"]
    elif left_out_because is not None:
        outcome, reason = DemoOutcome.LEFT_OUT, left_out_because
    return SiteVerdict(
        name=name,
        outcome=outcome,
        reason=reason,
        stage=None if step is None else step["stage"],
        instead_of=_difference(expected, outcome, reason),
    )


def _difference(expected: Expected | None, outcome: str, reason: str) -> str:
    if expected is None:
        return "no such site"
    if expected.outcome != outcome or (expected.reason and expected.reason not in reason):
        return f"{expected.outcome}: {expected.reason}" if expected.reason else str(expected.outcome)
    return ""
