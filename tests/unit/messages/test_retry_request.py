"""Fields of a retry of a strategy (rollout, section 7)."""

from __future__ import annotations

from typing import Any

import pytest

from messages.errors import RequestError
from messages.requests.base import parse_request, reject_unknown
from messages.requests.strategy_retry import StrategyRetry


def test_defaults() -> None:
    """Without options all sites are meant that did not succeed, from their failed phase, and nothing starts."""
    request = parse_request(StrategyRetry, {})

    assert ["failed", "aborted", "cancelled", "not-started"] == list(request.states)
    assert (None, "failed-phase", False) == (request.clouds, request.resume_from, request.apply)


def test_names_and_ids() -> None:
    """Sites are named by name or id."""
    assert ("edge-1", "7") == parse_request(StrategyRetry, {"clouds": ["edge-1", 7]}).clouds


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"states": []}, "states must be a list of failed, aborted, cancelled, not-started, skipped, excluded"),
        ({"states": ["complete"]}, "states must be a list of failed"),
        ({"states": "failed"}, "states must be a list of failed"),
        ({"clouds": []}, "clouds must be a list of 1 to 5000"),
        ({"clouds": [True]}, "clouds must be a list of 1 to 5000"),
        ({"clouds": ["x"] * 5001}, "clouds must be a list of 1 to 5000"),
        ({"from": "packages"}, "from must be failed-phase or start, got packages"),
        ({"problem": "space"}, "problem must be the id of a problem, or its first 4 signs or more, got space"),
        ({"apply": "yes"}, "apply must be true or false, got yes"),
        ({"type": "patch"}, "type invalid"),
        ({"max-parallel-subclouds": 0}, "Invalid max-parallel-subclouds value: 0"),
    ],
)
def test_wrong_fields(given: dict[str, Any], text: str) -> None:
    """A wrong field is refused with what it may be."""
    with pytest.raises(RequestError) as caught:
        parse_request(StrategyRetry, given)

    assert str(caught.value).startswith(text)


def test_unknown_fields() -> None:
    """A name that is not known is refused with the nearest one."""
    with pytest.raises(RequestError, match="did you mean states"):
        reject_unknown(StrategyRetry, ["state"])
