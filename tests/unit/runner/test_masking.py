"""Rules of hiding secrets by value."""

from __future__ import annotations

import base64
import json
import shlex
import tracemalloc
from time import process_time
from urllib.parse import quote

import pytest

from runner.masking import MASK, MaskedStream, Masker

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


@pytest.mark.parametrize(
    "spelling",
    [
        "p/w%27d%3F%2B1%26x",
        "p%2fw%27d%3f%2b1%26x",
        "p%252Fw%2527d%253F%252B1%2526x",
        "p/w&#39;d?+1&amp;x",
        "p/w&#x27;d?+1&amp;x",
        "p/w&apos;d?&#43;1&amp;x",
        "p&#47;w&amp;#39;d?+1&amp;amp;x",
        r"p/w\u0027d?+1\u0026x",
        r"p\/w\\u0027d?\u002B1\\\\u0026x",
        "p/w'\\''d?+1&x",
        "p/w'\"'\"'d?+1&x",
        r"p/w\'d\?+1\&x",
        r"p\057w\047d?+1&x",
        "p/w'd?+1&\n    x",
    ],
)
def test_encodings_and_mixtures_are_hidden(spelling: str) -> None:
    """Percent signs, entities and backslashes are read in any mixture, also within each other."""
    assert f"<{MASK}>" == Masker(["p/w'd?+1&x"]).text(f"<{spelling}>")


@pytest.mark.parametrize("user", ["", "a", "ab", "abc"])
def test_basic_authentication_is_hidden(user: str) -> None:
    """Base64 is known at each of its three alignments: at most a digit of it is left on either side."""
    header = base64.b64encode(f"{user}:correct-horse:".encode()).decode()
    masked = Masker(["correct-horse"]).text(f"Basic {header}")

    assert MASK in masked
    assert len(masked) < len(f"Basic {MASK}") + len(base64.b64encode(f"{user}:".encode())) + 5


@pytest.mark.parametrize("secret", ["Tr0ub4dor&3\n", "pw-6\r\n"])
def test_a_final_line_break_is_no_part_of_the_secret(secret: str) -> None:
    """A secret from a file is hidden with the line break at its end, and without it."""
    assert f"it is {MASK}." == Masker([secret]).text(f"it is {secret.strip()}.")


@pytest.mark.parametrize("secret", ["a", "root", "admin", "site1", "ok:"])
def test_a_secret_that_all_would_guess(secret: str) -> None:
    """A secret that every output holds is not taken out of it, for the gaps would tell it; only behind `password`."""
    masker = Masker([secret], public=["site1"])
    text = "ok: [site1] => a root shell of sysadmin"

    assert text == masker.text(text)
    assert {"user": "root"} == masker.value({"user": "root"})
    assert f"password: {MASK}, 'ansible_become_pass': '{MASK}'" == masker.text(
        f"password: {secret}, 'ansible_become_pass': '{secret}'"
    )
    assert {"password": MASK} == masker.value({"password": secret})


@pytest.mark.parametrize("secret", ["sysadmin", "unreachable", "subcloud-1"])
def test_a_long_secret_is_always_hidden(secret: str) -> None:
    """From eight characters on a secret is hidden wherever it is, even if output holds it anyway."""
    assert f"<{MASK}>" == Masker([secret], public=["subcloud-1"]).text(f"<{secret}>")


def test_numbers_are_secrets_too() -> None:
    """A password of digits that a playbook made a number of is hidden; other numbers stay numbers."""
    assert {"a": MASK, "b": 4711, "c": True} == Masker(["20260817"]).value({"a": 20260817, "b": 4711, "c": True})


def test_lines_of_a_list_are_one_text() -> None:
    """A secret that is wrapped over the lines of a list is hidden in each of them."""
    encoded = base64.encodebytes(b"0123456789-abcdefghij" * 5).decode().splitlines()
    masked = Masker(["0123456789-abcdefghij" * 5]).value(["before", *encoded, "after"])

    assert ["before", MASK, MASK, "after"] == masked


def test_a_secret_in_pieces() -> None:
    """A secret that arrives in pieces is hidden; what cannot be part of one is not held back."""
    stream = MaskedStream(Masker(["S3cr3t-of-sites"]))

    assert "one " == stream.feed("one S3cr")
    assert "" == stream.feed("3t-of-\r\n")
    assert f"{MASK} two\n" == stream.feed("sites two\n")
    assert "three " == stream.feed("three S3cr")
    assert "S3cr" == stream.finish()
    assert "" == stream.finish()


LONG = ["Li69nux*-2026", "x" * 4096, "aB3$'\"<>&%\\ z" * 340]


def nearly(secret: str, length: int) -> str:
    """Return a text that nearly holds the secret, again and again."""
    return (secret[:-1] + "|") * (length // len(secret))


@pytest.mark.parametrize("secret", LONG, ids=["usual", "of one letter", "of signs"])
def test_time_is_linear(secret: str) -> None:
    """Four times the text takes about four times the time, whatever the secret."""
    masker = Masker([secret])

    def measure(length: int) -> float:
        text = nearly(secret, length)
        begin = process_time()
        assert text == masker.text(text)
        return process_time() - begin

    measure(1000)

    assert measure(400_000) < 10 * max(measure(100_000), 0.05)


@pytest.mark.parametrize("piece", ["\\", "\\\r", "%25", "%", "&amp;", "&#1", "\\xe2", "'", "S3"])
def test_time_is_linear_in_what_may_be_escapes(piece: str) -> None:
    """A site that prints nothing but beginnings of escapes does not keep the run from masking."""
    masker = Masker(["S3cr3t-of/the&sites\\x"])

    def measure(length: int) -> float:
        text = piece * (length // len(piece))
        begin = process_time()
        assert text == masker.text(text)
        return process_time() - begin

    measure(1000)

    assert measure(60_000) < 10 * max(measure(15_000), 0.02)


def test_memory_is_bounded() -> None:
    """A longer text takes little more memory than its longer result, for it is looked through in parts."""
    secret = LONG[2]
    masker = Masker([secret])

    def measure(length: int) -> int:
        text = nearly(secret, length)
        tracemalloc.start()
        masker.text(text)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    # 1.4 bytes a character, and 11.5 if it were looked through as a whole.
    assert measure(400_000) - measure(100_000) < 4 * 300_000


def test_a_secret_within_another_does_not_save_it() -> None:
    """Of two secrets the longer one is hidden whole."""
    assert MASK == Masker(["abc", "abcdef"]).text("abcdef")
