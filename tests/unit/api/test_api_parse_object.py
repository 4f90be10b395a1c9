from __future__ import annotations

import time

import pytest

from api.validation import parse_object


def test_continued_line_outside_of_a_string() -> None:
    """A backslash at the end of a line is dropped, with either end of line."""
    assert parse_object(b'{"type": "prestage", \\\n "force": "true" \\\r\n}') == {"type": "prestage", "force": "true"}


def test_continued_line_inside_of_a_string() -> None:
    """A backslash and a line end inside of a string stay, and no JSON string holds them."""
    with pytest.raises(ValueError):
        parse_object(b'{"a": "b\\\n"}')


def test_escapes_inside_of_strings_are_kept() -> None:
    """Only continuations are dropped: escaped quotes and backslashes do not confuse the search for strings."""
    assert parse_object(b'{"a": "x\\"\\\\", \\\n "b": "\\n"}') == {"a": 'x"\\', "b": "\n"}


@pytest.mark.parametrize(
    "body",
    [
        b"abc",
        b"[]",
        b'"text"',
        b"null",
        b"1",
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": True}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": "\xff"}',
        b'{"a": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"a": "\\u0000"}',
        b'{"a": 1} {"b": 2}',
        b'{"a": \\ \n 1}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}",
    ],
)
def test_not_an_object_of_json(body: bytes) -> None:
    """What is no JSON object, or cannot be stored, is refused."""
    with pytest.raises(ValueError):
        parse_object(body)


def test_absurd_depth() -> None:
    """Nesting that exhausts the parser is an error that the reader of bodies knows."""
    with pytest.raises((ValueError, RecursionError)):
        parse_object(b'{"a": ' + b"[" * 500_000)


def test_last_of_a_repeated_key_counts() -> None:
    """Of a repeated key the last value counts."""
    assert parse_object(b'{"a": 1, "a": 2}') == {"a": 2}


def test_open_strings_cost_linear_time() -> None:
    """A body made of quotes without an end is refused at once, not after searching from each quote to the end."""
    started = time.process_time()

    with pytest.raises(ValueError):
        parse_object(b'{"a": \\\n"' + b'\\"' * 500_000)

    assert time.process_time() - started < 2


def test_all_of_unicode() -> None:
    """A pair of escapes for one character is good text, unlike half a pair."""
    assert parse_object('{"name": "Zürich \\ud83c\\udfd4"}'.encode()) == {"name": "Zürich 🏔"}
