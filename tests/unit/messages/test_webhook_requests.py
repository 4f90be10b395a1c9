"""Bodies about webhooks: each fault has its sentence, and the first one in the order of the fields is told."""

from __future__ import annotations

from typing import Any

import pytest

from messages.errors import RequestError
from messages.requests.base import parse_request, reject_unknown
from messages.requests.webhook import RedeliveryRequest, WebhookChange, WebhookRequest

NAME = "Invalid webhook name: give 1 to 255 letters, digits, dots, dashes and underscores, not digits alone"
URL = (
    "Invalid webhook url: give http:// or https:// and a host, without user, password and fragment, at most 2000"
    " characters"
)
TYPES = (
    "Invalid webhook types: give a list of at most 20 beginnings of types, such as strategy. or step.prestage.failed"
)
SUBCLOUD = "Invalid webhook subcloud: give the name of a subcloud, or null for all"
ENABLED = "Invalid webhook enabled: give true or false"
GOOD: dict[str, Any] = {"name": "ops", "url": "https://receiver.example/hook?token=x"}

FAULTS = [
    *[({"name": value}, NAME) for value in (None, "", "12", "a b", "a/b", "ü", "x" * 256, "a\n", 5)],
    *[
        ({"url": value}, URL)
        for value in (
            None,
            "",
            "receiver.example",
            "ftp://receiver.example",
            "http://",
            "http:///path",
            "http://user@receiver.example",
            "http://user:password@receiver.example",
            "http://receiver.example/#part",
            "http://receiver.example/a b",
            "http://receiver.example\\@other.example/",
            "http://receiver.example:99999/",
            "http://receiver.example:0/",
            "http://[::1/",
            "http://[::zz]/",
            "https://^K<e",
            "https://a.example/%2",
            "https://a.example\n",
            "http://r\u00fcckruf.example/",
            "http://receiver.example/" + "x" * 2000,
        )
    ],
    *[({"types": value}, TYPES) for value in ("strategy.", None, [1], [""], ["a" * 65], ["A"], ["a."] * 21)],
    *[({"subcloud": value}, SUBCLOUD) for value in ("", 5, "x" * 256)],
    *[({"enabled": value}, ENABLED) for value in ("true", 1, None)],
    ({"enabled": 1, "types": 1, "name": "1"}, NAME),
    ({"enabled": 1, "types": 1, "color": 1}, TYPES),
]


@pytest.mark.parametrize(("data", "sentence"), FAULTS, ids=lambda value: str(value)[:40].encode().hex()[:20])
@pytest.mark.parametrize("model", [WebhookRequest, WebhookChange])
def test_first_fault(model: Any, data: dict[str, Any], sentence: str) -> None:
    """What is wrong is told by the sentence of the first wrong field, when making and when changing."""
    with pytest.raises(RequestError) as fault:
        parse_request(model, {**GOOD, **data})

    assert sentence == str(fault.value)


@pytest.mark.parametrize("model", [WebhookRequest, WebhookChange])
def test_unknown_fields(model: Any) -> None:
    """A key that is none is refused, and so is a secret, which travels sealed or not at all."""
    for name in ("secret", "type"):
        with pytest.raises(RequestError, match=rf"^Unknown field: {name}; "):
            reject_unknown(model, {**GOOD, name: "x"})


@pytest.mark.parametrize(("missing", "sentence"), [("name", NAME), ("url", URL)])
def test_what_must_be_given(missing: str, sentence: str) -> None:
    """A new webhook needs a name and a URL."""
    with pytest.raises(RequestError) as fault:
        parse_request(WebhookRequest, {key: value for key, value in GOOD.items() if key != missing})

    assert sentence == str(fault.value)


def test_defaults() -> None:
    """What is left out of a new webhook means everything, from now on; what is left out of a change is not in it."""
    made = parse_request(WebhookRequest, GOOD)
    changed = parse_request(WebhookChange, {"subcloud": None})

    assert ([], None, True) == (made.types, made.subcloud, made.enabled)
    assert {"subcloud": None} == changed.model_dump(exclude_unset=True)


@pytest.mark.parametrize(
    "url", ["http://10.0.0.7:8080", "https://[2001:db8::1]/x", "http://localhost/a?b=c", "https://a.example/%20"]
)
def test_good_urls(url: str) -> None:
    """Names and addresses, ports, paths and queries are good."""
    assert url == parse_request(WebhookRequest, {**GOOD, "url": url}).url


@pytest.mark.parametrize("value", [None, "5", 0, True, 10**18, 1.0])
def test_redelivery(value: object) -> None:
    """A redelivery needs the number of a delivery."""
    with pytest.raises(RequestError, match="Invalid delivery: give the id of a delivery"):
        parse_request(RedeliveryRequest, {"delivery": value})
