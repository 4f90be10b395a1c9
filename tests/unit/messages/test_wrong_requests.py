"""Actions and queries that are wrong; the API has one row of each rule."""

from __future__ import annotations

import pytest

from messages.errors import RequestError
from messages.requests.base import parse_request
from messages.requests.queries import EventsQuery, PageQuery
from messages.requests.strategy import ActionRequest


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"x": 1}, "action required"),
        ({"action": ""}, "action required"),
        ({"action": None}, "action required"),
        ({"action": "create"}, "action invalid"),
        ({"action": ["apply"]}, "action invalid"),
        ({"action": 1}, "action invalid"),
    ],
)
def test_wrong_actions(body: dict[str, object], detail: str) -> None:
    """Only apply and abort are actions."""
    with pytest.raises(RequestError) as found:
        parse_request(ActionRequest, body)

    assert detail == str(found.value)


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "1001"},
        {"limit": "x"},
        {"limit": ""},
        {"limit": "²"},
        {"marker": "-1"},
        {"marker": "x"},
    ],
)
def test_what_is_no_page(query: dict[str, str]) -> None:
    """A limit beyond 1 to 1000, or a marker that is no id, is refused and says what is right."""
    with pytest.raises(RequestError, match="must be"):
        parse_request(PageQuery, query)


@pytest.mark.parametrize(
    "query", [{"last_event_id": "x"}, {"last_event_id": "-1"}, {"strategy": "x"}, {"strategy": ""}]
)
def test_what_cannot_be_asked(query: dict[str, str]) -> None:
    """A number of a strategy or an event that is none is refused."""
    with pytest.raises(RequestError):
        parse_request(EventsQuery, query)
