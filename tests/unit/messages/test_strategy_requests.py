"""Fields of requests about strategies and prestages: every text of contract 3.3.1 and 3.3.2; commands have one row."""

from __future__ import annotations

from typing import Any

import pytest

from messages.errors import RequestError
from messages.requests.base import Request, parse_request
from messages.requests.strategy import PrestageCommand, StrategyCommand
from messages.requests.subcloud import StagedRequest, UnstageRequest


def error_of(model: type[Request], data: dict[str, Any]) -> str:
    """Return the sentence by which a request is refused."""
    with pytest.raises(RequestError) as refused:
        parse_request(model, data)
    return str(refused.value)


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        ({"type": None}, "type required"),
        ({"type": "prestages"}, "type invalid"),
        (
            {"type": "sw-deploy"},
            "type invalid. This is Prestager, which stages releases; dcmanager's own API serves this.",
        ),
        ({"type": ["prestage"]}, "type invalid"),
        ({"subcloud-apply-type": "both"}, "subcloud-apply-type invalid"),
        ({"subcloud-apply-type": 1}, "subcloud-apply-type invalid"),
        ({"max-parallel-subclouds": "many"}, "max-parallel-subclouds invalid value. Value: many"),
        ({"max-parallel-subclouds": True}, "max-parallel-subclouds invalid value. Value: True"),
        ({"max-parallel-subclouds": 1.5}, "max-parallel-subclouds invalid value. Value: 1.5"),
        (
            {"max-parallel-subclouds": 0},
            "Invalid max-parallel-subclouds value: 0. For prestage, the value must be between 1 and 500.",
        ),
        (
            {"max-parallel-subclouds": "501"},
            "Invalid max-parallel-subclouds value: 501. For prestage, the value must be between 1 and 500.",
        ),
        (
            {"max-parallel-subclouds": -1},
            "Invalid max-parallel-subclouds value: -1. For prestage, the value must be between 1 and 500.",
        ),
        (
            {"max-parallel-subclouds": 10**15},
            f"Invalid max-parallel-subclouds value: {10**15}. For prestage, the value must be between 1 and 500.",
        ),
        (
            {"max-parallel-subclouds": "9" * 70},
            f"Invalid max-parallel-subclouds value: {'9' * 62}... For prestage, the value must be between 1 and 500.",
        ),
        ({"stop-on-failure": "maybe"}, "stop-on-failure invalid"),
        ({"stop-on-failure": 1}, "stop-on-failure invalid"),
        ({"force": "abc"}, "Invalid value 'abc' for force - must be True/False or 'true'/'false'"),
        ({"force": 1}, "Invalid value '1' for force - must be True/False or 'true'/'false'"),
        (
            {"cloud_name": "a", "subcloud_group": "Default"},
            "cloud_name and subcloud_group are mutually exclusive",
        ),
        ({"cloud_name": "a", "group": "Default"}, "cloud_name and subcloud_group are mutually exclusive"),
        (
            {"subcloud_group": "Default", "max-parallel-subclouds": 3},
            "subcloud-apply-type and max-parallel-subclouds are not allowed when subcloud_group is provided",
        ),
        (
            {"subcloud_group": "Default", "subcloud-apply-type": "serial"},
            "subcloud-apply-type and max-parallel-subclouds are not allowed when subcloud_group is provided",
        ),
        ({"cloud_name": "a", "clouds": ["a"]}, "cloud_name and clouds are mutually exclusive"),
        ({"cloud_name": "a", "selector": "lab"}, "cloud_name and selector are mutually exclusive"),
        ({"cloud_name": "a", "exclude": {}}, "cloud_name and exclude are mutually exclusive"),
        ({"clouds": []}, "clouds must be a list of 1 to 5000 names or ids of subclouds"),
        ({"clouds": "a"}, "clouds must be a list of 1 to 5000 names or ids of subclouds"),
        ({"clouds": ["a", None]}, "clouds must be a list of 1 to 5000 names or ids of subclouds"),
        ({"clouds": ["a", True]}, "clouds must be a list of 1 to 5000 names or ids of subclouds"),
        ({"clouds": ["a", ""]}, "clouds must be a list of 1 to 5000 names or ids of subclouds"),
        ({"clouds": ["a"] * 5001}, "clouds must be a list of 1 to 5000 names or ids of subclouds"),
        (
            {"clouds": ["a"], "exclude": {"clouds": [str(one) for one in range(5000)]}},
            "clouds and exclude.clouds have more than 5000 names together",
        ),
        ({"selector": ""}, "selector: at character 1: expected the key of a label, found the end"),
        ({"selector": "a=b c"}, "selector: at character 5: expected a comma before the next term, found 'c'"),
        (
            {"selector": 1},
            "selector must be a text of at most 4096 characters, such as region=eu,!old",
        ),
        (
            {"exclude": {"selector": "!"}},
            "exclude.selector: at character 2: expected the key of a label, found the end",
        ),
        ({"exclude": {"cloud": ["a"]}}, "exclude: Unknown field: cloud; did you mean clouds?"),
        ({"exclude": ["a"]}, "exclude must be an object; GET /docs shows its keys"),
        ({"skip-ineligible": "yes"}, "skip-ineligible must be true or false, got yes"),
        ({"plan-digest": "1-1"}, "plan-digest must be that of a preview, such as 412-9-0123456789ab, got 1-1"),
        ({"cloud_name": ""}, "cloud_name invalid"),
        ({"cloud_name": 1}, "cloud_name invalid"),
        ({"cloud_name": False}, "cloud_name invalid"),
        ({"cloud_name": ["a"]}, "cloud_name invalid"),
        ({"cloud_name": {"name": "a"}}, "cloud_name invalid"),
        ({"for_install": "x"}, "Invalid value for for_install option: x"),
        ({"for_install": 1}, "Invalid value for for_install option: 1"),
        ({"for_sw_deploy": "x"}, "Invalid value for for_sw_deploy option: x"),
        ({"for_install": "x", "for_sw_deploy": "x"}, "Invalid value for for_install option: x"),
        ({"for_install": "true", "for_sw_deploy": "T"}, "for_install and for_sw_deploy are mutually exclusive"),
        ({"for_install": True, "for_sw_deploy": True}, "for_install and for_sw_deploy are mutually exclusive"),
        (
            {"release": "22.12.1"},
            "Specified release format is not supported. Version format must be MM.mm.",
        ),
        ({"release": 22.12}, "Specified release format is not supported. Version format must be MM.mm."),
    ],
)
def test_wrong_fields_of_a_strategy(data: dict[str, Any], detail: str) -> None:
    """A wrong field is refused with the exact text."""
    assert detail == error_of(StrategyCommand, {"type": "prestage", **data})


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        ({"for_install": "x"}, "Invalid value for for_install option: x"),
        ({"for_sw_deploy": "x"}, "Invalid value for for_sw_deploy option: x"),
        (
            {"for_install": "true", "for_sw_deploy": "true"},
            "for_install and for_sw_deploy are mutually exclusive",
        ),
        (
            {"release": "1"},
            "Specified release format is not supported. Version format must be MM.mm.",
        ),
    ],
)
def test_wrong_fields_of_a_prestage(data: dict[str, Any], detail: str) -> None:
    """A wrong field of a standalone prestage is refused with the contract's text."""
    assert detail == error_of(PrestageCommand, data)


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        ({"release": None}, "Specified release format is not supported. Version format must be MM.mm."),
        ({"verdict": "complete"}, "Invalid verdict: complete; give unknown"),
        ({"verdict": None}, "Invalid verdict: None; give unknown"),
    ],
)
def test_wrong_words_about_what_is_staged(data: dict[str, Any], detail: str) -> None:
    """A wrong field is refused by name."""
    assert detail == error_of(StagedRequest, {"release": "23.09", "verdict": "unknown", **data})


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        ({"release": None}, "Specified release format is not supported. Version format must be MM.mm."),
    ],
)
def test_wrong_releases_of_a_removal(data: dict[str, Any], detail: str) -> None:
    """A release to remove that is none is refused."""
    assert detail == error_of(UnstageRequest, data)
