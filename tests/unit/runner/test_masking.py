"""Rules of hiding secrets by value."""

from __future__ import annotations

import base64
import json
import shlex
from urllib.parse import quote

import pytest

from runner.masking import MASK, Masker

SECRET = "pa ss'w\"\\örd-1"


@pytest.mark.parametrize(
    "spelling",
    [
        SECRET,
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        repr(SECRET),
        shlex.quote(SECRET),
        quote(SECRET, safe=""),
        base64.b64encode(SECRET.encode()).decode(),
        SECRET.replace(" ", "\n"),
        SECRET.replace("-", "-\r\n"),
    ],
)
def test_every_usual_spelling_is_hidden(spelling: str) -> None:
    """A secret is hidden as it is, quoted for JSON, Python, shell or a URL, in base64, and wrapped over lines."""
    masked = Masker([SECRET]).text(f"before {spelling} after")

    assert MASK in masked
    assert masked.startswith("before ")
    assert masked.endswith(" after")
    assert "rd-1" not in masked
    assert "pa" not in masked


def test_lines_of_a_long_secret_are_hidden_one_by_one() -> None:
    """Each long line of a key is a secret of its own."""
    assert f"x {MASK} y" == Masker(["-----BEGIN-----\nabcdefghijkl\nshort\n"]).text("x abcdefghijkl y")


def test_values_are_masked_at_any_depth() -> None:
    """Keys and values of nested data are masked; other types stay."""
    assert {f"a{MASK}": [1, None, {"b": MASK}]} == Masker(["hush"]).value({"ahush": (1, None, {"b": "hush"})})


@pytest.mark.parametrize("secrets", [[], [""]])
def test_without_secrets_nothing_changes(secrets: list[str]) -> None:
    """No secret, or an empty one, hides nothing."""
    assert "text" == Masker(secrets).text("text")


def test_a_secret_within_another_does_not_save_it() -> None:
    """Of two secrets the longer one is hidden whole."""
    assert MASK == Masker(["abc", "abcdef"]).text("abcdef")
