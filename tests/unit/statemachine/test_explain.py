"""Explanations follow the plan: what it says keeps a site is what keeps it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from statemachine.actions import MoveStep
from statemachine.explain import SiteSituation, explain, hold_reason
from statemachine.rollout import HoldKind, HoldScope
from statemachine.snapshot import EndedStage, HoldView, StepView
from tests.unit.statemachine.plan_views import NOW, PREPARATION, RUN, STEP, STRATEGY, decide

WINDOW = replace(STRATEGY, mode="window", width=2)
HELD = HoldView(id=5, kind=HoldKind.OPERATOR, scope=HoldScope.STARTS)
HELD_ALONE = HoldView(id=6, kind=HoldKind.OPERATOR, scope=HoldScope.PHASES, step_id=11)
SEEN = EndedStage(stage=1, name="canary", soak_s=60.0)
SOAK = HoldView(id=8, kind=HoldKind.SOAK, scope=HoldScope.STARTS, stage=1, until_epoch=NOW + 30)
GATE = HoldView(id=9, kind=HoldKind.GATE, scope=HoldScope.STARTS, stage=1)
STAGE_BUDGET = HoldView(id=10, kind=HoldKind.BUDGET, scope=HoldScope.STARTS, stage=1)
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
STAGE_REASONS = {
    8: hold_reason("soak", by="", reason="It soaks.", is_of_site=False, until=NOON),
    9: hold_reason("gate", by="", reason="Approve it.", is_of_site=False),
    10: hold_reason("budget", by="", reason="1 site of stage 1 failed.", is_of_site=False),
}
REASONS = {5: "alice holds the strategy: storm", 6: "bob holds it"}
IN_PACKAGES = replace(STEP, state="prestaging-packages", from_version="21.12")


def situation(step: StepView = STEP, **values: object) -> SiteSituation:
    """Return a site of the strategy; `values` are fields of its situation."""
    return SiteSituation(step=step, **{"strategy": STRATEGY, "hold_reasons": REASONS, **values})  # type: ignore[arg-type]


def starts(at: SiteSituation, *before: StepView) -> bool:
    """Return whether the plan starts the site now, with other steps that have not started."""
    actions = decide(*before, at.step, strategy=at.strategy, holds=at.holds)
    return any(isinstance(action, MoveStep) and action.step_id == at.step.id for action in actions)


def test_a_site_that_nothing_keeps() -> None:
    """A site that the next plan starts is said to start."""
    at = situation()
    assert starts(at)
    assert explain(at) == "site11 starts in a moment: nothing keeps it."


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (situation(holds=(HELD,)), "site11 does not start, for alice holds the strategy: storm."),
        (situation(holds=(HELD, HELD_ALONE)), "site11 does not start, for bob holds it."),
        (situation(replace(STEP, stage=3)), "site11 is in stage 3 and waits for stage 1."),
        (
            situation(strategy=replace(WINDOW, in_flight=2)),
            "site11 waits for a place in the window: 2 sites in flight, and 0 sites before it.",
        ),
        (
            situation(strategy=replace(STRATEGY, failed=3, max_failures=2)),
            "site11 does not start, for at least 3 sites failed and 2 may.",
        ),
        (
            situation(strategy=replace(STRATEGY, stop_on_failure=True, failed_stage=1)),
            "site11 does not start any more, for a failure has stopped the strategy for good.",
        ),
        (
            situation(strategy=replace(STRATEGY, state="initial")),
            "site11 has not started, for the strategy is not applied yet.",
        ),
    ],
)
def test_what_keeps_a_site_from_its_start(at: SiteSituation, words: str) -> None:
    """A site that the plan does not start is explained by what keeps it: hold, stage, place, budget, state."""
    assert not starts(at)
    assert explain(at) == words


def between_stages(ended: EndedStage | None = SEEN, *holds: HoldView, **values: object) -> SiteSituation:
    """Return the situation of a site of the second stage of a rollout."""
    fields = {"stage_by_stage": True, "open_stage": 2, "ended_stage": ended, **values}
    strategy = replace(WINDOW, **fields)  # type: ignore[arg-type]
    return situation(replace(STEP, stage=2), strategy=strategy, holds=holds, hold_reasons=STAGE_REASONS)


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (between_stages(None, open_stage=1), "site11 is in stage 2 and waits for stage 1."),
        (
            between_stages(SEEN, SOAK),
            "site11 does not start, for the soak time of the stage before holds the strategy until 2026-11-30 12:00:00"
            " UTC: It soaks.",
        ),
        (
            between_stages(replace(SEEN, is_gated=True), GATE),
            "site11 does not start, for the gate after the stage before holds the strategy: Approve it.",
        ),
        (
            between_stages(replace(SEEN, any_succeeded=False)),
            "site11 does not start, for stage canary has ended, and what follows is decided in a moment.",
        ),
        (
            between_stages(None, STAGE_BUDGET, stage_budgets={1: 0}, failed_by_stage={1: 1}),
            "site11 does not start, for the failure budget holds the strategy: 1 site of stage 1 failed.",
        ),
    ],
)
def test_between_two_stages(at: SiteSituation, words: str) -> None:
    """A site of a later stage is explained by the stage before: it goes on, soaks, waits for approval, or failed."""
    assert not starts(at)
    assert explain(at) == words


def test_a_stage_that_is_passed() -> None:
    """Once the stage before is passed nothing keeps the site."""
    at = between_stages(None)
    assert starts(at)
    assert explain(at) == "site11 starts in a moment: nothing keeps it."


def test_sites_before_it_take_the_places() -> None:
    """In a window the sites before have the free places first, as in the plan."""
    others = [replace(STEP, id=number, subcloud_name=f"site{number}", position=number) for number in (1, 2)]
    at = situation(replace(STEP, position=11), strategy=WINDOW, waiting_before={1: 2})
    assert not starts(at, *others)
    assert explain(at) == "site11 waits for a place in the window: 0 sites in flight, and 2 sites before it."
    one = replace(at, waiting_before={1: 1})
    assert starts(one, others[0])
    assert explain(one) == "site11 starts in a moment: nothing keeps it."


def test_an_earlier_stage_of_a_window_comes_first() -> None:
    """A site of a later stage waits for the first stage whose sites found no place."""
    others = [replace(STEP, id=number, subcloud_name=f"site{number}", position=number) for number in (1, 2, 3)]
    at = situation(replace(STEP, stage=2), strategy=WINDOW, waiting_before={1: 3})
    assert not starts(at, *others)
    assert explain(at) == "site11 is in stage 2 and waits for stage 1."


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (
            situation(replace(STEP, run=RUN), runs_before=3),
            "site11 waits for a free slot of a worker for prestage-precheck with 3 runs before it.",
        ),
        (
            situation(replace(STEP, run=replace(RUN, attempt=2)), missing_worker="No worker is alive."),
            "site11 waits for a free slot of a worker for prestage-precheck, attempt 2 after a lost worker, with 0 runs"
            " before it; No worker is alive.",
        ),
        (
            situation(replace(IN_PACKAGES, run=replace(RUN, phase="prestaging-packages", state="running"))),
            "site11 is being worked on: a worker carries out prestaging-packages.",
        ),
        (
            situation(replace(STEP, cancel_requested=True, cancel_requested_by="alice")),
            "site11 is being stopped, as alice asked.",
        ),
        (
            situation(
                replace(STEP, state="prestage-prepare", from_version="21.12", preparing=True), preparation=PREPARATION
            ),
            "site11 waits for the preparation of release 22.12 for sites of 21.12, which waits for a worker.",
        ),
        (
            situation(IN_PACKAGES, holds=(HELD_ALONE,)),
            "site11 does not go on with prestaging-packages, for bob holds it.",
        ),
        (
            situation(IN_PACKAGES, strategy=replace(WINDOW, in_flight=2)),
            "site11 waits for a place to go on with prestaging-packages: 2 sites in flight.",
        ),
        (
            situation(IN_PACKAGES, holds=(HELD,)),
            "site11 goes on with prestaging-packages in a moment: nothing keeps it.",
        ),
        (
            situation(replace(STEP, state="failed"), outcome="failed", details="no route"),
            "site11 failed: no route",
        ),
        (situation(replace(STEP, state="complete"), outcome="complete"), "site11 is complete."),
        (
            situation(replace(STEP, state="complete"), outcome="skipped", details="It is offline."),
            "site11 was skipped: It is offline.",
        ),
    ],
)
def test_where_a_site_is(at: SiteSituation, words: str) -> None:
    """A site that has begun or ended is explained by its run, its preparation, its hold, its place or its end."""
    assert explain(at) == words


def test_a_failed_preparation_that_holds() -> None:
    """A site that is held for its preparation is explained by the reason of that hold."""
    hold = HoldView(id=7, kind=HoldKind.PREPARE, scope=HoldScope.PHASES, preparation_id=31)
    step = replace(STEP, state="prestage-prepare", from_version="21.12")
    at = situation(
        step,
        holds=(hold,),
        preparation=replace(PREPARATION, state="failed"),
        hold_reasons={7: hold_reason("prepare", by="", reason="The preparation failed.", is_of_site=False)},
    )
    assert explain(at) == (
        "site11 does not go on with prestage-prepare, for a failed preparation holds the strategy: The preparation"
        " failed."
    )
