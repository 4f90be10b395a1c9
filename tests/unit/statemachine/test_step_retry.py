"""Where a step begins anew that is retried within its strategy (rollout, section 7)."""

from __future__ import annotations

import pytest

from statemachine.errors import IllegalTransitionError
from statemachine.plan import retry_of
from statemachine.window import StepPlace, retried_place


@pytest.mark.parametrize(
    ("mode", "stage", "open_stage", "expected"),
    [
        ("stages", 1, 1, (1, 4)),
        ("stages", 1, 3, (3, 4)),
        ("stages", 5, 3, (5, 4)),
        ("stages", 2, None, (2, 4)),
        ("window", 1, 3, (1, 10)),
        ("window", 3, 1, (3, 10)),
    ],
)
def test_place(mode: str, stage: int, open_stage: int | None, expected: tuple[int, int]) -> None:
    """A window puts it at the end of its stage's queue; `stages` in its own stage, or the open one once that ended."""
    place = retried_place(mode, StepPlace(stage=stage, position=4), open_stage=open_stage, last_position=9)

    assert expected == (place.stage, place.position)


@pytest.mark.parametrize("state", ["failed", "aborted"])
def test_change(state: str) -> None:
    """A failed and a cancelled step begin anew."""
    change = retry_of(state)

    assert (state, "initial") == (change.from_state, change.to_state)


@pytest.mark.parametrize("state", ["initial", "prestaging-images", "complete", "nowhere"])
def test_others_stay(state: str) -> None:
    """A step that is open or complete is not retried."""
    with pytest.raises(IllegalTransitionError):
        retry_of(state)
