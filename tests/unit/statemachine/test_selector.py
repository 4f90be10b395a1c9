from __future__ import annotations

import pytest

from statemachine.errors import SelectorError
from statemachine.selector import SELECTOR_LENGTH, parse_selector

LABELS = {"region": "eu", "tier": "gold", "lab": "", "site.example/kind": "b"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("region=eu", True),
        ("region=us", False),
        ("missing=eu", False),
        ("tier!=gold", False),
        ("tier!=silver", True),
        ("missing!=gold", True),
        ("region in (us,eu)", True),
        ("region in(us)", False),
        ("missing in (us,eu)", False),
        ("lab", True),
        ("missing", False),
        ("!lab", False),
        ("! missing", True),
        ("site.example/kind=b", True),
        ("region=eu,tier!=silver,site.example/kind in (a,b),lab,!old", True),
        ("region=eu,tier!=gold", False),
        ("  region = eu ,\ttier in ( gold , silver ) ", True),
        ("region=EU", False),
    ],
)
def test_selector_matches(text: str, expected: bool) -> None:
    """All terms must hold; `!=` and `!` hold where the label is missing, and blanks between parts do not count."""
    assert expected is parse_selector(text).matches(LABELS)


def test_a_key_may_be_called_in() -> None:
    """`in` is an operator before a bracket, and a key elsewhere."""
    assert parse_selector("in,in in (in)").matches({"in": "in"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "at character 1: expected the key of a label, found the end"),
        ("  ", "at character 3: expected the key of a label, found the end"),
        ("region=eu,", "at character 11: expected the key of a label, found the end"),
        (",lab", "at character 1: expected the key of a label, found ','"),
        ("!", "at character 2: expected the key of a label, found the end"),
        ("=eu", "at character 1: expected the key of a label, found '='"),
        ("lab old", "at character 5: expected a comma before the next term, found 'old'"),
        ("region=eu west", "at character 11: expected a comma before the next term, found 'west'"),
        ("region=", "at character 8: expected a value, found the end; a key alone means"),
        ("region==eu", "at character 8: expected a value, found '='"),
        ("region in ()", "at character 12: expected a value, found ')'"),
        ("region in (a", "at character 13: expected a comma or ')' after a value, found the end"),
        ("region in (a b)", "at character 14: expected a comma or ')' after a value, found 'b'"),
        ("region in a", "at character 8: expected a comma before the next term, found 'in'"),
        ("region notin (a)", "at character 8: expected a comma before the next term, found 'notin'"),
        ("Region=eu", "at character 1: 'Region' is no key of a label: give a small letter"),
        ("region=a/b", "at character 8: 'a/b' is no value of a label: give letters"),
        ("region=\u00e9", "at character 8: '\\xe9' is no value of a label: give letters"),
        ("a" * 64, "at character 1: '" + "a" * 64 + "' is no key of a label"),
        ("k=" + "a" * 70, "at character 3: '" + "a" * 64 + "..' is no value of a label"),
        ("lab\n", "at character 1: 'lab\\n' is no key of a label"),
        ("k=v\n", "at character 3: 'v\\n' is no value of a label"),
    ],
)
def test_selector_errors(text: str, expected: str) -> None:
    """An error says what is wrong, and at which character."""
    with pytest.raises(SelectorError) as caught:
        parse_selector(text)

    assert str(caught.value).startswith(expected)


def test_longest_selector() -> None:
    """A selector of the greatest length is read, a longer one is refused."""
    text = "lab".ljust(SELECTOR_LENGTH)

    assert parse_selector(text).matches({"lab": ""})
    with pytest.raises(SelectorError, match="at most 4096 characters, this one has 4097"):
        parse_selector(text + " ")
