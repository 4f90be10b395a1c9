"""HTML for who prefers it, and for dcmanager's client, which reads nothing else and accepts anything; else JSON."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from api.error_response import wants_html


@pytest.mark.parametrize(
    ("accept", "html_wanted"),
    [
        ("text/html", True),
        ("TEXT/HTML ; level=1", True),
        ("text/*", True),
        ("text/html, */*", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", True),
        ("application/json;q=0.9, text/html", True),
        ("application/json;q=0, */*", True),
        ("text/html;q=0.001, application/json;q=0.000", True),
        ("application/json", False),
        ("APPLICATION/JSON", False),
        ("application/*", False),
        ("application/json, */*", False),
        ("text/html;q=0.5, application/json", False),
        ("text/html, application/json", False),
        ("text/html;q=0.9, application/json;q=0.9, */*;q=0.1", False),
        ("text/html;q=0", False),
        ("text/html;q=0, application/json;q=0", False),
        ("image/png", False),
        ("text/plain", False),
        ("text/html;q=1.5, application/json;q=0.1", False),
    ],
)
def test_preference(accept: str, html_wanted: bool) -> None:
    """What `Accept` prefers decides, whoever asks; a draw is JSON, and a range that cannot be read does not count."""
    assert html_wanted == wants_html(CIMultiDict({"Accept": accept}))
    assert html_wanted == wants_html(CIMultiDict({"Accept": accept, "X-Project-Id": "a"}))


@pytest.mark.parametrize(
    "accept",
    [None, "", "*/*", "*/*;q=0.8", " */* , */*;q=0.1", "nonsense", "text/html;q=nan", "text/html;q=2", ";q=1,,"],
)
@pytest.mark.parametrize(
    ("headers", "html_wanted"),
    [
        ({}, False),
        ({"User-Agent": "python-requests/2.34.2", "X-Auth-Token": "a"}, False),
        ({"X-Project-Id": ""}, False),
        ({"X-Project-Id": "a"}, True),
        ({"x-user-id": "b"}, True),
        ({"X-Project-Id": "a", "X-User-Id": "b"}, True),
        ({"OIDC-Token": "c"}, True),
    ],
)
def test_without_a_preference(accept: str | None, headers: dict[str, str], html_wanted: bool) -> None:
    """Who accepts anything, or says nothing that can be read, gets JSON unless it is dcmanager's client."""
    asked = {} if accept is None else {"Accept": accept}
    assert html_wanted == wants_html(CIMultiDict({**asked, **headers}))


def test_several_lines() -> None:
    """Several lines of `Accept` count as one."""
    assert wants_html(CIMultiDict([("Accept", "application/json;q=0.5"), ("Accept", "text/html")]))
