from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from statemachine.snapshot import PreparationView, StepView


def _step(strategy_id: int | None) -> StepView:
    return StepView(
        id=5,
        strategy_id=strategy_id,
        stage=1,
        state="initial",
        version=1,
        subcloud_name="site5",
        managed=True,
        release="22.12",
    )


@pytest.mark.parametrize(("strategy_id", "owner"), [(3, (3, None)), (None, (None, 5))])
def test_owner(strategy_id: int | None, owner: tuple[int | None, int | None]) -> None:
    """The steps of a strategy share their preparations; a standalone one has its own."""
    assert owner == _step(strategy_id).owner


def test_preparation_key() -> None:
    """Owner, release and from-version make a preparation the same one."""
    view = PreparationView(
        id=1, owner=(3, None), release="22.12", from_version="21.12", opened_by_step_id=5, state="running"
    )

    assert ((3, None), "22.12", "21.12") == view.key


def test_views_are_values() -> None:
    """Nobody changes what the plan was shown."""
    with pytest.raises(FrozenInstanceError):
        _step(3).state = "complete"  # type: ignore[misc]
