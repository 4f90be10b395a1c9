"""Fields of requests about subclouds and groups; commands and the API have one row of each rule."""

from __future__ import annotations

from typing import Any

import pytest

from messages.errors import RequestError
from messages.requests.base import Request, parse_request
from messages.requests.group import GroupChange, GroupRequest
from messages.requests.subcloud import NewSubcloud, SubcloudChange, SubcloudFields

ADD_AND_CHANGE = pytest.mark.parametrize(("model", "given"), [(NewSubcloud, {"name": "b"}), (SubcloudChange, {})])
GROUP = {"name": "g", "description": "d", "update_apply_type": "serial", "max_parallel_subclouds": "3"}


def error_of(model: type[Request], data: dict[str, Any]) -> str:
    """Return the sentence by which a request is refused."""
    with pytest.raises(RequestError) as refused:
        parse_request(model, data)
    return str(refused.value)


@ADD_AND_CHANGE
@pytest.mark.parametrize("key", ["software_version", "software-version"])
@pytest.mark.parametrize("version", ["nightly", "22", "22.", ".12", "22.12.1", " 22.12", "22.12\n", "22,12", ""])
def test_a_version_is_a_release(model: type[Request], given: dict[str, Any], key: str, version: str) -> None:
    """What is no release is refused on add and on change alike: it could not be compared."""
    assert f"Invalid {key}: give the version as MM.mm, such as 22.12" == error_of(model, {**given, key: version})


@ADD_AND_CHANGE
@pytest.mark.parametrize("status", ["", "Complete", "-complete", "pre staging", "a_b", "v1", "complete\n", "x" * 65])
def test_a_deploy_status_is_a_word(model: type[Request], given: dict[str, Any], status: str) -> None:
    """What no deploy can have come to is refused on add and on change alike."""
    expected = "Invalid deploy-status: give a status such as complete, at most 64 small letters and dashes"

    assert expected == error_of(model, {**given, "deploy-status": status})


@ADD_AND_CHANGE
@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("eu", "Invalid labels: give a JSON object of keys and values"),
        ("[]", "Invalid labels: give a JSON object of keys and values"),
        (["eu"], "Invalid labels: give a JSON object of keys and values"),
        ({"Region": "eu"}, "Invalid labels: 'Region' is no key of a label: give a small letter"),
        ({"": "eu"}, "Invalid labels: '' is no key of a label"),
        ({"a" * 64: "eu"}, "Invalid labels: 'aaaa"),
        ({"region": "e u"}, "Invalid labels: region: 'e u' is no value of a label: give letters"),
        ({"region": "x" * 64}, "Invalid labels: region: 'xxxx"),
        ({"region": True}, "Invalid labels: the value of region is no text; write it in quotes"),
        ({"version": 22.1}, "Invalid labels: the value of version is no text; write it in quotes"),
        ({"region": ["eu"]}, "Invalid labels: the value of region is no text; write it in quotes"),
    ],
)
def test_wrong_labels(model: type[Request], given: dict[str, Any], labels: Any, expected: str) -> None:
    """Labels are texts in the form that selectors know; the error has the label that is wrong."""
    assert error_of(model, {**given, "labels": labels}).startswith(expected)


@ADD_AND_CHANGE
@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"region": "eu", "site.example/a-1": "A_b.c-0", "lab": ""}, None),
        ({"a" * 63: "x" * 63}, None),
        ({"region": None}, None),
        ({"floor": 7}, {"floor": "7"}),
        ('{"region": "eu", "lab": null}', {"region": "eu", "lab": None}),
        ({}, None),
    ],
)
def test_labels(model: type[Request], given: dict[str, Any], labels: Any, expected: Any) -> None:
    """Labels come as an object or as the text of one, whole numbers as texts; null stands for removal."""
    request = parse_request(model, {**given, "labels": labels})

    assert isinstance(request, SubcloudFields)
    assert (labels if expected is None else expected) == request.labels


@pytest.mark.parametrize("status", ["c", "rehome-pending", "pre-install-failed", "x" * 64])
def test_deploy_statuses(status: str) -> None:
    """Small letters and dashes make a deploy status, up to 64 of them."""
    assert status == parse_request(NewSubcloud, {"name": "a", "deploy-status": status}).deploy_status


@pytest.mark.parametrize(
    ("data", "fragment"),
    [
        ({"name": "123"}, "name must contain alphabetic characters"),
        ({"name": "../etc"}, "name must have"),
        ({"name": "b", "system_mode": "triplex"}, "Invalid system_mode"),
        ({"name": "b", "management_subnet": "there"}, "Invalid management_subnet"),
        ({"name": "b", "management-state": "x"}, "Invalid management-state"),
        ({"name": "b", "availability-status": "x"}, "Invalid availability-status"),
        ({"name": "b", "connection": {"ansible_ssh_pass": "x"}}, "looks like a secret"),
        ({"name": "b", "connection": "no json"}, "Invalid connection"),
        ({"name": "b", "bootstrap-address": "edge.example.com"}, "Invalid bootstrap-address"),
        ({"name": "b", "bootstrap-address": ""}, "Invalid bootstrap-address"),
    ],
)
def test_wrong_fields_of_a_new_subcloud(data: dict[str, Any], fragment: str) -> None:
    """A wrong field is refused by name."""
    assert fragment in error_of(NewSubcloud, data)


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        ({"name": "12"}, "Invalid group name"),
        ({"name": "default"}, "Invalid group name"),
        ({"name": "a.*"}, "Invalid group name"),
        ({"name": "north/east"}, "Invalid group name"),
        ({"name": "/"}, "Invalid group name"),
        ({"name": "x" * 256}, "Invalid group name"),
        ({"description": ""}, "Invalid group description"),
        ({"update_apply_type": "both"}, "Invalid group update_apply_type"),
        ({"max_parallel_subclouds": "0"}, "Invalid group max_parallel_subclouds"),
        ({"max_parallel_subclouds": 501}, "Invalid group max_parallel_subclouds"),
        ({"max_parallel_subclouds": "x"}, "Invalid group max_parallel_subclouds"),
    ],
)
def test_wrong_fields_of_a_group(data: dict[str, Any], detail: str) -> None:
    """A wrong field of a group is refused with the contract's text, on add and on update alike."""
    assert detail == error_of(GroupRequest, GROUP | data)
    assert detail == error_of(GroupChange, data)
