"""Errors in files of operators: the place is told, and nothing of the file."""

from __future__ import annotations

import pytest

from messages.parse_errors import TomlError, read_toml


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("slots = 1\npassword = hunter2\n", "see line 2, column 12"),
        ("hunter2\n", "see line 1, column 8"),
        ('key = "hunter2\n', "see line 1, column 15"),
        ('key = "hunter2\\q"\n', "see line 1, column 17"),
        ("[hunter2]\n[hunter2]\n", "see line 2, column 9"),
        ('key = """hunter2', "it ends too early"),
        ("key = " + "[" * 100_000, "it is nested too deeply"),
    ],
)
def test_only_the_place_is_told(text: str, place: str) -> None:
    """What is no TOML is told by its line and column; neither the message nor its cause repeats the text."""
    with pytest.raises(TomlError) as refused:
        read_toml(text)

    assert place == str(refused.value)
    assert (None, None) == (refused.value.__cause__, refused.value.__context__)
