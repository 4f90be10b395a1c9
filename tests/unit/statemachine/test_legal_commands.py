from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from statemachine.legal_commands import (
    STEP_COMMANDS,
    STRATEGY_COMMANDS,
    StepSituation,
    refused_commands,
    refused_step_commands,
    step_refusal,
)
from statemachine.rollout import HoldKind
from statemachine.states import StrategyState

OPEN = StepSituation(
    state="initial", outcome=None, has_ended=False, has_subcloud=True, strategy_state="applying", mode="window"
)
FAILED = replace(OPEN, state="failed", outcome="failed", has_ended=True)
GATE = {"gate": "approval", "passed-at": None, "decision": None}


def legal(state: str, *kinds: str, is_deleted: bool = False) -> set[str]:
    """Return the legal commands of a strategy with open holds."""
    return set(STRATEGY_COMMANDS) - set(refused_commands(state, kinds, is_deleted=is_deleted))


@pytest.mark.parametrize(
    ("state", "kinds", "expected"),
    [
        ("initial", (), {"apply", "delete", "update"}),
        ("applying", (), {"abort", "cancel", "pause", "update"}),
        ("applying", ("operator",), {"abort", "cancel", "pause", "resume", "update"}),
        ("applying", ("soak",), {"abort", "cancel", "pause", "update"}),
        ("applying", ("gate",), {"abort", "approve", "cancel", "deny", "pause", "update"}),
        ("abort requested", (), {"cancel"}),
        ("aborting", (), {"cancel"}),
        ("complete", (), {"delete", "retry"}),
        ("failed", (), {"delete", "retry"}),
        ("aborted", (), {"delete", "retry"}),
    ],
)
def test_legal_commands_of_a_strategy(state: str, kinds: tuple[str, ...], expected: set[str]) -> None:
    """A strategy takes the commands of its state; resume where a hold of an operator or a limit is open."""
    assert legal(state, *kinds) == expected


def test_a_gate_that_is_ahead_may_be_decided() -> None:
    """A stage that asks for an approval may be approved and denied before it is reached."""
    refused = refused_commands("applying", (), [GATE])

    assert not {"approve", "deny"} & set(refused)
    assert {"approve", "deny"} <= set(refused_commands("applying", (), [{**GATE, "decision": {"by": "a"}}]))


def test_a_deleted_strategy_can_only_be_retried() -> None:
    """History takes a retry and nothing else."""
    assert legal("failed", is_deleted=True) == {"retry"}


def test_each_refusal_has_a_reason() -> None:
    """A command that is not legal has a reason for people, in every state and under every hold."""
    for state, kind in product(StrategyState, (None, *HoldKind)):
        for reason in refused_commands(state, () if kind is None else (kind,)).values():
            assert reason.strip()
            assert not reason.endswith(".")
    assert refused_commands("applying")["resume"] == "nothing is held"
    assert refused_commands("complete")["pause"] == "the strategy has ended"
    assert refused_commands("aborting")["abort"] == "an abort was requested already"


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (OPEN, {"cancel", "first", "hold"}),
        (replace(OPEN, is_held=True), {"cancel", "first", "resume"}),
        (replace(OPEN, state="prestaging-images"), {"cancel", "hold"}),
        (replace(OPEN, mode="stages"), {"cancel", "hold"}),
        (replace(OPEN, is_cancelled=True), {"first", "hold"}),
        (replace(OPEN, strategy_state="aborting"), {"cancel"}),
        (FAILED, {"retry"}),
        (replace(FAILED, outcome="cancelled"), {"retry"}),
        (replace(FAILED, is_stopped=True), set()),
        (replace(FAILED, is_busy=True), set()),
        (replace(FAILED, has_subcloud=False), set()),
        (replace(FAILED, strategy_state="failed"), set()),
        (replace(FAILED, state="complete", outcome="complete"), set()),
    ],
)
def test_legal_commands_of_a_step(step: StepSituation, expected: set[str]) -> None:
    """A step takes what would change something now: open ones are held and stopped, failed ones tried again."""
    assert set(STEP_COMMANDS) - set(refused_step_commands(step)) == expected


def test_what_the_coordinator_refuses_is_shown_as_refused() -> None:
    """A command that is shown as legal is not refused by the coordinator, and its reason is the coordinator's."""
    for base, strategy, mode, held in product((OPEN, FAILED), StrategyState, ("stages", "window"), (False, True)):
        step = replace(base, strategy_state=strategy, mode=mode, is_held=held)
        shown = refused_step_commands(step)
        for command in STEP_COMMANDS:
            reason = step_refusal(command, step)
            assert reason is None or shown[command] == reason
