"""The sites of a new strategy: by names, a selector and exclusions, in a group or the whole fleet."""

from __future__ import annotations

from typing import Any

import pytest

from db.schema import steps, strategies
from messages.commands import CommandType
from tests.support.installation import Installation

UNABLE = "Unable to create strategy of type 'prestage': Bad strategy request: "
SITES = {
    "a": {"region": "eu", "tier": "gold"},
    "b": {"region": "eu"},
    "c": {"region": "us", "old": ""},
    "d": {},
}


@pytest.fixture
def fleet(installation: Installation) -> Installation:
    """Four sites with labels; `d` is in a group of its own."""
    installation.add_group("edge")
    for name, labels in SITES.items():
        installation.add_site(name, labels=labels, **({"group_id": "edge"} if name == "d" else {}))
    return installation


def names(installation: Installation) -> str:
    """Return the names of the sites that have steps."""
    return "".join(sorted(row["subcloud_name"] for row in installation.rows(steps)))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"clouds": ["c", "a", "a"]}, "ac"),
        ({"clouds": [2, "3"]}, "bc"),
        ({"selector": "region=eu"}, "ab"),
        ({"selector": "region in (eu,us),!old"}, "ab"),
        ({"selector": "tier!=gold"}, "bcd"),
        ({"selector": "tier!=gold", "subcloud_group": "edge"}, "d"),
        ({"exclude": {"clouds": ["b", 4]}}, "ac"),
        ({"exclude": {"selector": "old"}}, "abd"),
        ({"exclude": {"clouds": ["a"], "selector": "old"}}, "bd"),
        ({"clouds": ["a", "b", "c"], "exclude": {"selector": "region=eu"}}, "c"),
        ({"clouds": ["a", "b"], "selector": "region=eu"}, "ab"),
        ({"subcloud_group": "edge", "clouds": ["d"]}, "d"),
        ({"clouds": ["d"], "group": "edge", "max-parallel-subclouds": 3}, "d"),
        ({"clouds": ["a"], "exclude": {}}, "a"),
    ],
)
def test_targets(fleet: Installation, data: dict[str, Any], expected: str) -> None:
    """Names, by id too, selector and exclusion narrow a group or the fleet; the others are not named as left out."""
    answer = fleet.create(**data)

    assert (200, []) == (answer.status, answer.body["excluded-subclouds"])
    assert expected == names(fleet)


@pytest.mark.parametrize("key", ["clouds", "exclude"])
def test_unknown_names(fleet: Installation, key: str) -> None:
    """Names of no subcloud refuse the request, up to ten of them with their names, in an exclusion too."""
    many = ["a", *(f"x{number}" for number in range(12)), 77]

    def asked(refs: list[Any]) -> Any:
        return fleet.create(**{key: refs if key == "clouds" else {"clouds": refs}})

    one, all_of_them = asked(["a", "x0"]), asked(many)

    assert (422, f"{UNABLE}Subcloud x0 does not exist") == (one.status, one.detail)
    listed = ", ".join(f"x{number}" for number in range(10))
    assert (422, f"{UNABLE}Subclouds that do not exist: {listed} and 3 more") == (
        all_of_them.status,
        all_of_them.detail,
    )
    assert [] == fleet.rows(strategies)


class TestIneligibleSites:
    OFFLINE = "Prestage skipped 'a': Subcloud is offline."

    def test_a_named_one_refuses_the_request(self, fleet: Installation) -> None:
        """A named site that cannot be prestaged refuses the request, with the reason and the way out."""
        fleet.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **{"availability-status": "offline"})

        answer = fleet.create(clouds=["a", "b"])

        assert 422 == answer.status
        assert f"{UNABLE}{self.OFFLINE} Give skip-ineligible to leave such sites out." == answer.detail
        assert [] == fleet.rows(strategies)

    def test_skip_ineligible_leaves_it_out(self, fleet: Installation) -> None:
        """With skip-ineligible it is left out, with the reason, which the strategy keeps."""
        fleet.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **{"availability-status": "offline"})

        answer = fleet.create(clouds=["a", "b"], **{"skip-ineligible": True})

        left_out = [{"name": "a", "reason": self.OFFLINE}]
        assert left_out == answer.body["excluded-subclouds"] == fleet.rows(strategies)[0]["excluded"]
        assert "b" == names(fleet)

    def test_a_selector_leaves_it_out(self, fleet: Installation) -> None:
        """One that a selector chooses is left out, as one of a group."""
        fleet.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **{"availability-status": "offline"})

        answer = fleet.create(selector="region=eu")

        assert [{"name": "a", "reason": self.OFFLINE}] == answer.body["excluded-subclouds"]

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            ({"clouds": ["d", "a"], "selector": "region=eu"}, "'d': Subcloud does not match the selector."),
            ({"clouds": ["d", "a"], "subcloud_group": "edge"}, "'a': Subcloud is not in the group"),
        ],
    )
    def test_a_named_one_that_the_rest_rules_out(self, fleet: Installation, data: dict[str, Any], reason: str) -> None:
        """A named site that is not in the group, or does not match the selector, is refused like an ineligible one."""
        answer = fleet.create(**data)

        assert answer.detail.startswith(f"{UNABLE}Prestage skipped {reason}")
        assert 200 == fleet.create(**data, **{"skip-ineligible": True}).status
        assert 1 == len(names(fleet))

    def test_reasons_of_ten(self, installation: Installation) -> None:
        """A refusal has the reasons of ten sites, and the number of the others."""
        for number in range(12):
            installation.add_site(f"s{number}", **{"availability-status": "offline"})

        answer = installation.create(clouds=[f"s{number}" for number in range(12)])

        assert 10 == answer.detail.count("Subcloud is offline.")
        assert answer.detail.endswith(" And 2 more. Give skip-ineligible to leave such sites out.")

    def test_nothing_is_left(self, fleet: Installation) -> None:
        """A request that means no site has no steps to apply."""
        answer = fleet.create(selector="region=eu", exclude={"selector": "region"})

        assert (422, f"{UNABLE}Strategy has no steps to apply") == (answer.status, answer.detail)
