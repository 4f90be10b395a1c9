"""Options of a rollout: the values that are taken, the texts of those that are not, and how sources are merged."""

from __future__ import annotations

from typing import Any

import pytest

from messages.errors import RequestError
from messages.requests.base import Request, parse_request
from messages.requests.rollout import RolloutOptions, conflict, merge_options
from messages.requests.strategy import StrategyCommand
from messages.requests.strategy_control import (
    CancelRequest,
    PauseRequest,
    ResumeRequest,
    StepHoldRequest,
    StepUpdate,
    StrategyUpdate,
)


def error_of(model: type[Request], data: dict[str, Any]) -> str:
    """Return the sentence by which a request is refused."""
    with pytest.raises(RequestError) as refused:
        parse_request(model, data)
    return str(refused.value)


@pytest.mark.parametrize(
    ("rollout", "detail"),
    [
        ([], "rollout must be an object; GET /docs shows its keys"),
        ({"modee": 1}, "rollout: Unknown field: modee; did you mean mode?"),
        ({"mode": "sliding"}, "rollout.mode must be one of stages, window, got sliding"),
        ({"order": 1}, "rollout.order must be one of by-id, longest-first, got 1"),
        ({"on-budget": "fail"}, "rollout.on-budget must be one of pause, stop, got fail"),
        ({"on-prepare-failure": "stop"}, "rollout.on-prepare-failure must be one of fail, pause, got stop"),
        ({"ramp": 1}, "rollout.ramp must be an object; GET /docs shows its keys"),
        ({"ramp": {}}, "rollout.ramp.start required"),
        ({"ramp": {"start": 0}}, "rollout.ramp.start must be a whole number from 1 to 500, got 0"),
        ({"stages": []}, "rollout.stages must be a list of 1 to 20 objects; GET /docs shows their keys"),
        ({"stages": [None]}, "rollout.stages[0] must be an object; GET /docs shows its keys"),
        ({"stages": [{"count": 1}]}, "rollout.stages[0].name required"),
        (
            {"stages": [{"name": "One", "count": 1}]},
            "rollout.stages[0].name must be small letters, digits and dashes, at most 32 and a letter first, got One",
        ),
        (
            {"stages": [{"name": "rest", "count": 1}]},
            "rollout.stages[0].name must not be rest: the sites that match no stage have that one",
        ),
        (
            {"stages": [{"name": "one"}]},
            "rollout.stages[0].clouds, selector, count or percent is needed, and only one of them",
        ),
        (
            {"stages": [{"name": "one", "count": 1, "percent": 5}]},
            "rollout.stages[0].clouds, selector, count or percent is needed, and only one of them",
        ),
        (
            {"stages": [{"name": "one", "count": 1}, {"name": "two", "count": 0}]},
            "rollout.stages[1].count must be a whole number from 1 to 100000, got 0",
        ),
        (
            {"stages": [{"name": "one", "percent": 101}]},
            "rollout.stages[0].percent must be a whole number from 1 to 100, got 101",
        ),
        (
            {"stages": [{"name": "one", "count": 1, "max-parallel": 501}]},
            "rollout.stages[0].max-parallel must be a whole number from 1 to 500, got 501",
        ),
        (
            {"stages": [{"name": "one", "selector": "a=("}]},
            "rollout.stages[0].selector: at character 3: expected a value, found '('; a key alone means that the label"
            " is there, with any value",
        ),
        ({"stages": [{"name": "one", "cout": 1}]}, "rollout.stages[0]: Unknown field: cout; did you mean count?"),
        (
            {"stages": [{"name": "one", "count": 1}, {"name": "one", "count": 1}]},
            "rollout.stages has two stages with the name one",
        ),
        ({"ramp": {"begin": 1}}, "rollout.ramp: Unknown field: begin; GET /docs shows the fields that there are"),
        ({"timeouts": {"site": 5}}, "rollout.timeouts: Unknown field: site; did you mean site-s?"),
        ({"timeouts": {"site-s": 0}}, "rollout.timeouts.site-s must be a whole number from 1 to 2592000, got 0"),
        ({"timeouts": {"site-s": True}}, "rollout.timeouts.site-s must be a whole number from 1 to 2592000, got True"),
    ],
)
def test_wrong_options(rollout: Any, detail: str) -> None:
    """A wrong option is refused by its path and value, an unknown one with the nearest known one."""
    assert detail == error_of(StrategyCommand, {"type": "prestage", "rollout": rollout})


@pytest.mark.parametrize("value", [-1, 100_001, 1.5, True, "5", "101%", "01%", "-1%", "10 %", "10.5%", [], {}])
def test_wrong_budgets(value: Any) -> None:
    """A budget is a number of sites or a whole percentage up to 100."""
    assert error_of(RolloutOptions, {"max-failures": value}).startswith("max-failures must be a whole number")


@pytest.mark.parametrize("value", [0, 7, 100_000, "0%", "5%", "10%", "99%", "100%", None])
def test_budgets(value: Any) -> None:
    """Numbers, percentages and null are kept as they were given."""
    assert parse_request(RolloutOptions, {"max-failures": value}).given() == {"max-failures": value}


def test_two_rules_about_failures_exclude_each_other() -> None:
    """`stop-on-failure` and `max-failures` in one request are refused."""
    both = {"type": "prestage", "stop-on-failure": "true", "rollout": {"max-failures": 3}}

    assert error_of(StrategyCommand, both) == "stop-on-failure and rollout.max-failures are mutually exclusive"


def test_only_given_options_are_kept() -> None:
    """An option that was not given is not there; one that was given as null is."""
    stages = [{"name": "one", "clouds": ["a", "7"]}, {"name": "two", "selector": "lab", "max-failures": "5%"}]
    given = {"mode": "window", "ramp": None, "timeouts": {"site-s": 60}, "stages": stages}

    assert parse_request(RolloutOptions, given).given() == given


def test_options_are_merged_key_by_key() -> None:
    """Of each key the request counts before the group and the group before the installation; null takes it away."""
    request = {"mode": "window", "max-failures": None}
    group = {"max-failures": "10%", "timeouts": {"site-s": 60}, "on-budget": None}
    installation = {"timeouts": {"images-s": 5}, "ramp": {"start": 1}, "on-budget": "stop"}

    assert merge_options(request, group, installation) == {
        "mode": "window",
        "order": "by-id",
        "on-budget": "pause",
        "on-prepare-failure": "fail",
        "timeouts": {"site-s": 60},
        "ramp": {"start": 1},
    }


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"ramp": {"start": 1}}, "rollout.ramp needs rollout.mode window: the width of stages is fixed at create"),
        ({"order": "longest-first"}, "rollout.order needs rollout.mode window"),
        ({"stages": [{"name": "canary", "count": 1}]}, "rollout.stages needs rollout.mode window"),
        ({"ramp": {"start": 1}, "order": "longest-first", "mode": "window"}, None),
        ({}, None),
    ],
)
def test_options_that_need_a_window(given: dict[str, Any], reason: str | None) -> None:
    """Slow start, order and stages are refused outside of a window."""
    assert conflict(merge_options(given)) == reason


@pytest.mark.parametrize(
    ("model", "data", "detail"),
    [
        (PauseRequest, {"scope": "all"}, "scope must be starts or phases, got all"),
        (PauseRequest, {"reason": "x" * 201}, "reason must be a text of at most 200 characters"),
        (PauseRequest, {"reason": 5}, "reason must be a text of at most 200 characters"),
        (ResumeRequest, {"allow-failures": -1}, "allow-failures must be a whole number from 0 to 100000, got -1"),
        (CancelRequest, {"grace-s": 601}, "grace-s must be a whole number of seconds from 0 to 600, got 601"),
        (CancelRequest, {"grace-s": "5"}, "grace-s must be a whole number of seconds from 0 to 600, got 5"),
        (StrategyUpdate, {}, "nothing to change: give max-parallel-subclouds or options in rollout"),
        (StrategyUpdate, {"rollout": {}}, "nothing to change: give max-parallel-subclouds or options in rollout"),
        (
            StrategyUpdate,
            {"rollout": {"mode": "window"}},
            "rollout: mode is fixed at create",
        ),
        (
            StrategyUpdate,
            {"max-parallel-subclouds": 0},
            "max-parallel-subclouds must be a whole number from 1 to 500, got 0",
        ),
        (StepHoldRequest, {}, "held required"),
        (StepHoldRequest, {"held": 1}, "held must be true or false, got 1"),
        (StepUpdate, {}, "give one of held and first"),
        (StepUpdate, {"held": True, "first": True}, "give one of held and first"),
        (StepUpdate, {"first": False}, "first must be true, got False"),
    ],
)
def test_wrong_control_requests(model: type[Request], data: dict[str, Any], detail: str) -> None:
    """A wrong field of a request that holds, changes or cancels is refused by its name and value."""
    assert detail == error_of(model, data)


def test_a_pause_holds_starts_unless_told_otherwise() -> None:
    """Without a scope a pause lets sites that have started go through all their phases."""
    pause = parse_request(PauseRequest, {"reason": None})

    assert (pause.scope, pause.reason) == ("starts", "")
