"""Coverage of holds: the steps that they keep from starting, or from their next phase."""

from __future__ import annotations

from collections.abc import Iterable

from statemachine.rollout import HoldKind, HoldScope
from statemachine.snapshot import HoldView, PreparationView, StepView
from statemachine.states import StepState


class HoldCoverage:
    """Open holds of a strategy, by the steps that they cover.

    Steps of no strategy, or of another one, are covered by none.
    """

    def __init__(self, strategy_id: int | None, holds: Iterable[HoldView]) -> None:
        self._strategy_id = strategy_id
        self._of_steps: dict[int, list[HoldView]] = {}
        self._of_stages: list[HoldView] = []
        self._preparations: set[int] = set()
        self._kinds: set[str] = set()
        for hold in holds:
            self._kinds.add(hold.kind)
            if hold.step_id is not None:
                self._of_steps.setdefault(hold.step_id, []).append(hold)
            elif hold.preparation_id is not None:
                self._preparations.add(hold.preparation_id)
            else:
                self._of_stages.append(hold)

    @property
    def is_empty(self) -> bool:
        """Whether there is no hold."""
        return not self._kinds

    def has(self, kind: HoldKind) -> bool:
        """Return whether there is a hold of this kind."""
        return kind in self._kinds

    def add_preparation(self, preparation: PreparationView) -> None:
        """Hold the steps that wait for a preparation too."""
        self._kinds.add(HoldKind.PREPARE)
        self._preparations.add(preparation.id)

    def is_preparation_held(self, preparation: PreparationView) -> bool:
        """Return whether the steps that wait for a preparation are held for its failure."""
        return preparation.id in self._preparations

    def is_held_alone(self, step: StepView) -> bool:
        """Return whether a hold names the step itself: others do not wait for it then."""
        return self._is_ours(step) and step.id in self._of_steps

    def stops_start(self, step: StepView) -> bool:
        """Return whether a step in `initial` may not start; each scope has that."""
        return self.is_held_alone(step) or any(True for _ in self._holds_of_stage(step))

    def stops_phase(self, step: StepView, preparation: PreparationView | None = None) -> bool:
        """Return whether the next phase of a step may not begin; `preparation` is the one that it waits for."""
        if preparation is not None and self.is_preparation_held(preparation):
            return True
        alone = self._of_steps.get(step.id, ()) if self._is_ours(step) else ()
        return any(hold.scope == HoldScope.PHASES for hold in (*alone, *self._holds_of_stage(step)))

    def stops_queued_run(self, step: StepView) -> bool:
        """Return whether the queued run of a step is to be withdrawn."""
        is_waiting = step.state == StepState.INITIAL
        return self.stops_start(step) if is_waiting else self.stops_phase(step)

    def _holds_of_stage(self, step: StepView) -> Iterable[HoldView]:
        if not self._is_ours(step):
            return ()
        return (hold for hold in self._of_stages if hold.stage is None or step.stage > hold.stage)

    def _is_ours(self, step: StepView) -> bool:
        return step.strategy_id is not None and step.strategy_id == self._strategy_id
