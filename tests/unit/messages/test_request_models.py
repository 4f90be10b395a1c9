"""Requests: what their schemas promise is what is accepted, and faults come one by one in the fields' order."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from messages.errors import RequestError
from messages.requests.base import Request, parse_request
from messages.requests.group import GroupChange, GroupRequest
from messages.requests.queries import (
    AuditQuery,
    EventsQuery,
    ListQuery,
    LogQuery,
    PageQuery,
    PastStepsQuery,
    StepLogQuery,
    TypeQuery,
)
from messages.requests.strategy import PrestageBody, StrategyBody, StrategyRequest
from messages.requests.strategy_control import ActionBody
from messages.requests.subcloud import NewSubcloud, StagedRequest, SubcloudChange, UnstageBody
from messages.requests.webhook import DeliveryQuery, WebhookBody, WebhookChangeBody

# With what each model is content, so that a single field can be looked at.
MODELS: dict[type[Request], dict[str, Any]] = {
    StrategyBody: {"type": "prestage", "sysadmin_password": "eA=="},
    PrestageBody: {"sysadmin_password": "eA=="},
    ActionBody: {"action": "apply"},
    GroupRequest: {"name": "g", "description": "d"},
    GroupChange: {},
    StagedRequest: {"release": "23.09", "verdict": "unknown"},
    UnstageBody: {"release": "23.09", "sysadmin_password": "eA=="},
    NewSubcloud: {"name": "a"},
    SubcloudChange: {},
    WebhookBody: {"name": "w", "url": "https://receiver.example/"},
    WebhookChangeBody: {},
}
FIELDS = [(model, key) for model in MODELS for key in model.model_json_schema()["properties"]]
# Numbers without a fraction, such as 3.0, are left out: JSON Schema takes them for whole ones.
VALUES: list[Any] = [
    *(None, True, False, 0, 1, 2, 500, 501, -1, 10_000, 1.5, [], ["a"], {}, {"ansible_port": 22}),
    *(
        "",
        " ",
        "a",
        "a b",
        "ä",
        "1",
        "12",
        "0",
        "500",
        "501",
        "0500",
        "+5",
        "-5",
        " 5",
        "5.0",
        "00000000001",
        "x" * 255,
    ),
    *("x" * 256, "true", "TRUE", "True", "t", "F", "false", "yes", "prestage", "apply", "abort", "parallel", "serial"),
    *(
        "Default",
        "default",
        "a.b",
        "a*",
        "-a",
        "../a",
        "managed",
        "unmanaged",
        "online",
        "offline",
        "simplex",
        "complete",
    ),
    *(
        "Complete",
        "unknown",
        "22.12",
        "22",
        "22.12.1",
        "10.0.0.1",
        "10.0.0.0/24",
        "fd00::1",
        "not-ready",
        '{"ansible_port": 22}',
    ),
]
# Fields whose values are looked into beyond what a schema can say, and texts that only look right to the schema.
BEYOND = {
    "sysadmin_password",
    "connection",
    "labels",
    "selector",
    "url",
    "oam_floating_ip",
    "external_oam_floating_address",
    "bootstrap-address",
    "bootstrap_address",
}
NETWORK = ("management", "systemcontroller")


@pytest.mark.parametrize(("model", "key"), FIELDS)
def test_the_schema_promises_what_is_accepted(model: type[Request], key: str) -> None:
    """A value is accepted when the schema allows it; what a schema cannot say it leaves open, never the reverse."""
    schema = Draft202012Validator(model.model_json_schema(), format_checker=FormatChecker())
    for value in VALUES:
        data = {**MODELS[model], key: value}
        promised, accepted = schema.is_valid(data), _is_accepted(model, data)
        if _is_beyond(key, value):
            assert promised or not accepted, f"{value!r} is accepted, and the schema forbids it"
        else:
            assert promised == accepted, f"{value!r}: the schema says {promised}, the model {accepted}"


def _is_accepted(model: type[Request], data: dict[str, Any]) -> bool:
    try:
        parse_request(model, data)
    except RequestError:
        return False
    return True


def _is_beyond(key: str, value: Any) -> bool:
    if key.startswith(NETWORK) and ("ip" in key or "address" in key or "subnet" in key):
        return isinstance(value, str)
    if key in {"software-version", "software_version", "release"}:
        return isinstance(value, int | float)
    return isinstance(value, str) and key in BEYOND


@pytest.mark.parametrize(
    "model",
    [PageQuery, ListQuery, PastStepsQuery, AuditQuery, TypeQuery, LogQuery, StepLogQuery, EventsQuery, DeliveryQuery],
)
def test_the_parameters_of_queries_are_described(model: type[Request]) -> None:
    """Every parameter is optional and says what it is for."""
    schema = model.model_json_schema()

    assert "required" not in schema
    assert all(one["description"].endswith(".") for one in schema["properties"].values())


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"limit": "0"}, "limit must be a number from 1 to 1000"),
        ({"limit": "1001"}, "limit must be a number from 1 to 1000"),
        ({"limit": "+5"}, "limit must be a number from 1 to 1000"),
        ({"limit": " 5"}, "limit must be a number from 1 to 1000"),
        ({"limit": "1_0"}, "limit must be a number from 1 to 1000"),
        ({"limit": "٣"}, "limit must be a number from 1 to 1000"),
        ({"limit": "", "marker": "x"}, "limit must be a number from 1 to 1000"),
        ({"marker": "x"}, "marker must be the id of the last entry seen, as `next` gives it"),
        ({"marker": "1" * 19}, "marker must be the id of the last entry seen, as `next` gives it"),
    ],
)
def test_numbers_of_a_query_are_digits(query: dict[str, str], text: str) -> None:
    """A number is digits and nothing else, and the first wrong parameter is named."""
    with pytest.raises(RequestError) as found:
        parse_request(PageQuery, query)

    assert text == str(found.value)


@pytest.mark.parametrize(
    "since", ["yesterday", "", "2026-13-01", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "\x00"]
)
def test_a_moment_is_one_in_utc(since: str) -> None:
    """A moment that is none, or none in UTC for the calendar begins after it or ends before it, is told."""
    with pytest.raises(RequestError, match=r"^since must be a moment such as 2026-11-22T08:00:00"):
        parse_request(AuditQuery, {"since": since})


@pytest.mark.parametrize(
    ("since", "moment"),
    [
        ("2026-11-22", "2026-11-22T00:00:00+00:00"),
        ("2026-11-22T08:00", "2026-11-22T08:00:00+00:00"),
        ("2026-11-22T08:00:00.5+02:00", "2026-11-22T06:00:00.500000+00:00"),
        ("2026-11-22T08:00:00Z", "2026-11-22T08:00:00+00:00"),
    ],
)
def test_moments(since: str, moment: str) -> None:
    """A moment is in UTC unless it says otherwise."""
    found = parse_request(AuditQuery, {"since": since}).since

    assert found is not None
    assert moment == found.isoformat()


@pytest.mark.parametrize("model", [AuditQuery, TypeQuery, EventsQuery])
def test_a_text_without_meaning(model: type[Request]) -> None:
    """A NUL, which PostgreSQL cannot compare with, is refused before anybody asks."""
    with pytest.raises(RequestError, match=r"^type must not have a NUL$"):
        parse_request(model, {"type": "a\0"})


def test_faults_come_in_the_order_of_the_fields() -> None:
    """Of several faults the first field's is told, whatever the order in which they were sent."""
    with pytest.raises(RequestError, match=r"^subcloud-apply-type invalid$"):
        parse_request(StrategyRequest, {"force": "x", "subcloud-apply-type": "x", "type": "prestage"})


def test_a_fault_repeats_no_more_than_a_value_and_no_names() -> None:
    """What looks like a place-holder in a value stays what it is, and a long value is cut."""
    with pytest.raises(RequestError) as braces:
        parse_request(StrategyRequest, {"type": "prestage", "force": "{key}{value}"})
    with pytest.raises(RequestError) as long:
        parse_request(StrategyRequest, {"type": "prestage", "force": "x" * 1000})

    assert "Invalid value '{key}{value}' for force" in str(braces.value)
    assert "x" * 62 + ".." in str(long.value)
    assert "x" * 63 not in str(long.value)


@pytest.mark.parametrize(
    ("model", "data"),
    [(EventsQuery, {"last_event_id": "\udc84"}), (LogQuery, {"phase": "\udc84"}), (PageQuery, {"limit": "\udc84"})],
)
def test_a_value_that_is_no_text(model: type[Request], data: dict[str, str]) -> None:
    """Bytes that are not UTF-8 arrive as halves of pairs, which no answer can hold: they are a fault like others."""
    with pytest.raises(RequestError) as found:
        parse_request(model, data)

    assert str(found.value).encode()


def test_a_fault_holds_nothing_that_was_sent() -> None:
    """Neither cause nor context of a fault has the request, for a log may show them."""
    with pytest.raises(RequestError) as found:
        parse_request(StrategyBody, {"type": "x", "sysadmin_password": "aHVudGVyMg=="})

    assert (None, None) == (found.value.__cause__, found.value.__context__)


@pytest.mark.parametrize(
    ("data", "subnet"),
    [
        ({"management_subnet": "10.1.0.0/24"}, "10.1.0.0/24"),
        ({"management-subnet": "10.2.0.0/24", "management_subnet": "10.1.0.0/24"}, "10.2.0.0/24"),
        ({"management_subnet": "10.1.0.0/24", "management-subnet": "10.2.0.0/24"}, "10.2.0.0/24"),
        ({"management-subnet": None, "management_subnet": "10.1.0.0/24"}, "10.1.0.0/24"),
    ],
)
def test_two_spellings_of_a_field(data: dict[str, Any], subnet: str) -> None:
    """Both spellings are read; of two the one with dashes counts, unless it is null."""
    assert subnet == parse_request(SubcloudChange, data).management_subnet


def test_a_fault_names_the_spelling_that_was_sent() -> None:
    """Whoever wrote underscores reads of underscores."""
    with pytest.raises(RequestError, match=r"^Invalid management_subnet: there is not an IP address or network$"):
        parse_request(SubcloudChange, {"management_subnet": "there"})


@pytest.mark.parametrize("field", ["start", "end", "gateway"])
@pytest.mark.parametrize("model", [NewSubcloud, SubcloudChange])
def test_network_fields_in_the_spelling_of_the_client(model: type[Request], field: str) -> None:
    """The client writes network fields with underscores; they count as those with dashes."""
    given = parse_request(model, {**MODELS[model], f"management_{field}_ip": "192.0.2.5"})

    assert "192.0.2.5" == getattr(given, f"management_{field}_ip")


@pytest.mark.parametrize("spelling", ["bootstrap-address", "bootstrap_address"])
@pytest.mark.parametrize("model", [NewSubcloud, SubcloudChange])
def test_the_bootstrap_address_in_both_spellings(model: type[Any], spelling: str) -> None:
    """The client writes a dash when it adds a subcloud, and an underscore when it changes one."""
    assert "192.0.2.5" == parse_request(model, {**MODELS[model], spelling: "192.0.2.5"}).bootstrap_address


def test_the_release_of_a_new_subcloud_is_its_software_version() -> None:
    """The release that is given for one site counts before the version in a file for many."""
    given = parse_request(NewSubcloud, {"name": "a", "release": "24.09", "software_version": "22.12"})

    assert "24.09" == given.software_version


@pytest.mark.parametrize("release", ["24.09.1", "", "nightly", "24"])
def test_the_release_of_a_new_subcloud_is_a_release(release: str) -> None:
    """A release that is none is refused under the name by which it was sent."""
    with pytest.raises(RequestError, match=r"^Invalid release: give the version as MM\.mm, such as 22\.12$"):
        parse_request(NewSubcloud, {"name": "a", "release": release})


@pytest.mark.parametrize("model", [NewSubcloud, SubcloudChange])
@pytest.mark.parametrize("option", ["migrate", "enroll", "peer_group"])
def test_options_that_are_not_served_are_refused(model: type[Request], option: str) -> None:
    """An option that asks for what is not done here is refused by name, and says what serves it."""
    assert _is_accepted(model, {**MODELS[model], option: "false"})
    with pytest.raises(RequestError, match=f"^Invalid option: {option}: Prestager does not serve it; dcmanager's own"):
        parse_request(model, {**MODELS[model], option: "true"})


@pytest.mark.parametrize(("sent", "kept"), [(True, True), (False, False), ("true", True), ("false", False)])
def test_stop_on_failure_is_a_boolean_or_its_word(sent: bool | str, kept: bool) -> None:
    """A JSON boolean counts as the client's word for it."""
    assert kept is parse_request(StrategyRequest, {"type": "prestage", "stop-on-failure": sent}).stop_on_failure
