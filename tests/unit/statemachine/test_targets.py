from __future__ import annotations

from typing import Any

import pytest

from statemachine.selector import Targets, parse_selector

EU = parse_selector("region=eu")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, True),
        ({"group_id": 7}, True),
        ({"group_id": 8}, False),
        ({"selector": EU}, True),
        ({"selector": parse_selector("region=us")}, False),
        ({"named": frozenset({1})}, True),
        ({"named": frozenset({2})}, False),
        # To be refused, and not passed over.
        ({"named": frozenset({1}), "group_id": 8}, True),
        ({"named": frozenset({1}), "selector": parse_selector("region=us")}, True),
        ({"excluded": frozenset({2})}, True),
        ({"excluded": frozenset({1})}, False),
        ({"named": frozenset({1}), "excluded": frozenset({1})}, False),
        ({"excluding": EU}, False),
        ({"named": frozenset({1}), "selector": EU, "excluding": parse_selector("!old")}, False),
        ({"excluding": parse_selector("old")}, True),
    ],
)
def test_targets(given: dict[str, Any], expected: bool) -> None:
    """Group, names and selector narrow the fleet; a site that is named is meant, and an excluded one never is."""
    assert expected is Targets(**given).include(1, 7, {"region": "eu"})


def test_a_named_site_that_the_group_or_the_selector_rules_out() -> None:
    """A site that is named must be in the group and match the selector; otherwise there is a reason against it."""
    targets = Targets(group_id=7, named=frozenset({1}), selector=EU)

    assert targets.check("a", 7, {"region": "eu"}) is None
    for group, labels, reason in (
        (8, {"region": "eu"}, "Subcloud is not in the group that the request names."),
        (7, {}, "Subcloud does not match the selector."),
    ):
        against = targets.check("a", group, labels)
        assert against is not None
        assert f"Prestage skipped 'a': {reason}" == against.text
