"""Errors in what operators write: place and remedy are told, and nothing of the text."""

from __future__ import annotations

import pytest

from messages.errors import TomlError
from messages.parse_errors import line_of, plain_validation_text, read_toml


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("slots = 1\npassword = hunter2\n", 'see line 2, column 12; write a text in quotes: name = "value"'),
        ("hunter2\n", 'see line 1, column 8; write name = "value"'),
        ('key = "hunter2\n', "see line 1, column 15; the quote at the end is missing"),
        (
            'key = "hunter2\\q"\n',
            "see line 1, column 17; write a backslash in quotes twice, or put the text in single quotes",
        ),
        ("[hunter2]\n[hunter2]\n", "see line 2, column 9; a name or table is there twice"),
        ("hunter2 = 1\nhunter2 = 2\n", "see line 2, column 12; a name or table is there twice"),
        ('\nhunter2: "x"\n', 'see line 2, column 8; write an equals sign in place of the colon: name = "value"'),
        ("hunter2 = # x\n", "see line 1, column 11; a value is missing after the equals sign"),
        ("x = 127.0.0.1:81\n", 'see line 1, column 10; write a text in quotes: name = "value"'),
        ("x =", "it ends too early; a value is missing after the equals sign"),
        ('key = """hunter2', "it ends too early"),
        ("key = " + "[" * 100_000, "it is nested too deeply"),
    ],
)
def test_only_the_place_is_told(text: str, place: str) -> None:
    """What is no TOML is told by place and remedy; neither the message nor its cause repeats the text."""
    with pytest.raises(TomlError) as refused:
        read_toml(text)

    assert place == str(refused.value)
    assert (None, None) == (refused.value.__cause__, refused.value.__context__)


@pytest.mark.parametrize(
    ("message", "plain"),
    [
        ("Input should be a valid integer, unable to parse string as an integer", "must be a whole number"),
        ("Input should be a valid boolean, unable to interpret input", "must be true or false"),
        ("Input should be a valid string", "must be text"),
        ("Input should be greater than or equal to 1", "must be greater than or equal to 1"),
        ("Input should be 'a' or 'b'", "must be 'a' or 'b'"),
        ("String should have at least 1 character", "must not be empty"),
        ("Value error, is no URL", "is no URL"),
        ("Set either A or B", "set either A or B"),
    ],
)
def test_validation_in_plain_words(message: str, plain: str) -> None:
    """A validator's sentence on a value names no type of a language; our own words stay."""
    assert plain == plain_validation_text(message)


def test_line_of_a_name() -> None:
    """The line that gives a name its value is found, quoted or not; a name that only begins alike is another one."""
    text = "slots_x = 1\n\n 'slots' = 3\n"

    assert (3, 1, None) == (line_of("slots", text), line_of("slots_x", text), line_of("lots", text))
