from __future__ import annotations

import pytest

from api.pages import wants_json


@pytest.mark.parametrize(
    ("accept", "json_wanted"),
    [
        ("", False),
        ("*/*", False),
        ("text/html", False),
        ("application/json", True),
        ("APPLICATION/JSON", True),
        ("application/json, */*", True),
        ("application/*", True),
        ("application/json;q=0.5, text/html", False),
        ("text/html;q=0.5, application/json", True),
        ("application/json;q=0", False),
        ("application/json;q=0, */*", False),
        ("application/json;q=nonsense", False),
        ("text/html, application/json", False),
        ("image/png", False),
    ],
)
def test_form_of_an_error(accept: str, json_wanted: bool) -> None:
    """JSON only for who prefers it: HTML is what the client, which accepts anything, reads."""
    assert json_wanted == wants_json(accept)
