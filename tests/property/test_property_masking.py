"""Masking holds for every secret, every spelling of it, and every way a text is cut."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import pairwise, takewhile
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from jinja2.filters import do_urlencode
from markupsafe import escape

from runner.masking import MaskedStream, Masker

# The longest piece of a secret that may be left, in characters.
LEFT = 7

MASKED = re.compile(r"\*{8}")
Encoder = Callable[[str], str]


def lower_percent(text: str) -> str:
    """Percent-encode in lower case."""
    return re.sub("%..", lambda found: found[0].lower(), quote(text, safe=""))


def go_json(text: str) -> str:
    """Write JSON as Go does."""
    return re.sub("[<>&]", lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))


def javascript(text: str) -> str:
    """Write every character but letters and digits by its number, as JavaScript does, in upper case."""
    return re.sub(r"[^A-Za-z0-9]", lambda found: f"\\u{ord(found[0]):04X}" if ord(found[0]) < 65536 else found[0], text)


def aligned(before: int) -> Encoder:
    """Return base64 of a text that follows some bytes and is followed by others."""
    return lambda text: base64.b64encode(b"usr:"[:before] + text.encode() + b"\nmore").decode()


ENCODERS: dict[str, Encoder] = {
    "plain": str,
    "urlencode of Ansible": do_urlencode,
    "quote": lambda text: quote(text, safe=""),
    "quote_plus": quote_plus,
    "encodeURIComponent": lambda text: quote(text, safe="~()*!.'"),
    "percent in lower case": lower_percent,
    "HTML": html.escape,
    "HTML of templates": lambda text: str(escape(text)),
    "HTML by numbers": lambda text: "".join(one if one.isalnum() else f"&#x{ord(one):X};" for one in text),
    "JSON": json.dumps,
    "JSON in Unicode": lambda text: json.dumps(text, ensure_ascii=False),
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "JSON of Go": go_json,
    "JavaScript": javascript,
    "Python": repr,
    "bytes of Python": lambda text: repr(text.encode()),
    "shell": shlex.quote,
    "shell, other quoting": lambda text: "'" + text.replace("'", "'\\''") + "'",
    "shell, backslashes": lambda text: re.sub(r"([^\w])", r"\\\1", text),
    "YAML": lambda text: "'" + text.replace("'", "''") + "'",
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64 after 1": aligned(1),
    "base64 after 2": aligned(2),
    "base64 after 4": aligned(4),
    "base64 in lines": lambda text: base64.encodebytes((text * 3).encode()).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
}

# What passwords are made of, and what is hard to tell from escapes.
ALPHABETS = (
    st.characters(min_codepoint=33, max_codepoint=126),
    st.sampled_from("aZ09!@#$%^&*()-_=+[]{};:'\",.<>/?\\|`~ "),
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp", "Zs"]),
)
SECRETS = st.one_of(*(st.text(alphabet, min_size=8, max_size=40) for alphabet in ALPHABETS))
NASTY_SECRETS = st.text(st.sampled_from("%25\\u0041x&amp;#39'\"+ n"), min_size=8, max_size=24)
BEFORE, AFTER = "TASK [Log in] ok: {", "} done"


def left(text: str, shown: str, around: str) -> list[str]:
    """Return the pieces of `text` that are too long and can be seen, unless they are of what is around it."""
    pieces = (text[begin : begin + LEFT + 1] for begin in range(len(text) - LEFT))
    return [piece for piece in pieces if piece in shown and piece not in around]


def check(secret: str, encode: Encoder, masked: str) -> None:
    """Hold a masked text against what it was made of."""
    # Another secret that needs the same quotes.
    other = re.sub("[A-Za-z0-9]", lambda found: "Qx"[found[0] == "Q"], secret)
    around = MASKED.sub(" ", Masker([other]).text(encode(other)))
    assert [] == left(secret, masked, BEFORE + AFTER), masked
    assert [] == left(core(encode(secret), encode(other)), masked, around), masked
    assert masked.startswith(BEFORE[:-1])
    assert masked.endswith(AFTER[1:])


def core(spelling: str, other: str) -> str:
    """Return what of a spelling is of the secret alone: not the quotes around it, nor what else base64 holds."""
    return spelling[_alike(spelling, other) : len(spelling) - _alike(spelling[::-1], other[::-1])]


def _alike(one: str, other: str) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def is_ordinary(secret: str) -> bool:
    """Tell whether a secret can be told from what is around it."""
    return len(set(secret)) > 3 and "*" * 8 not in secret


@pytest.mark.parametrize("encode", ENCODERS.values(), ids=ENCODERS)
@settings(deadline=None, max_examples=50)
@given(secret=st.one_of(SECRETS, NASTY_SECRETS))
@example(secret="pa ss'w\"\\örd-1")
@example(secret="p/w+d?&<x>'1\u2028")
@example(secret="%41%2f\\u0041&amp;")
def test_every_spelling(encode: Encoder, secret: str) -> None:
    """Of a secret in any of the usual spellings no piece longer than seven characters is left."""
    assume(is_ordinary(secret))
    check(secret, encode, Masker([secret]).text(f"{BEFORE}{encode(secret)}{AFTER}"))


@settings(deadline=None, max_examples=50)
@given(secret=SECRETS, names=st.lists(st.sampled_from(sorted(ENCODERS)), min_size=2, max_size=3))
@example(secret="000001\u00a12", names=["encodeURIComponent", "shell, backslashes"])
@example(secret="000001\u20ac2", names=["encodeURIComponent", "shell, backslashes"])
@example(secret="00001\U0001f5122", names=["encodeURIComponent", "shell, backslashes"])
@example(secret="0\U00010000h¡¡¡¡\U00010000\U00010000\U00010000", names=["base64 in lines", "shell, backslashes"])
def test_one_spelling_within_another(secret: str, names: Sequence[str]) -> None:
    """The same holds for JSON in a URL, HTML in JSON, and so on, with base64 as the innermost."""
    names = sorted(names, key=lambda name: not name.startswith(("base64", "hexa")))
    assume(is_ordinary(secret) and len(re.sub(r"[\s'\"\\+]", "", secret)) >= 6)
    assume(not any(name.startswith(("base64", "hexa")) for name in names[1:]))

    def encode(text: str) -> str:
        return reduce(lambda spelling, name: ENCODERS[name](spelling), names, text)

    check(secret, encode, Masker([secret]).text(f"{BEFORE}{encode(secret)}{AFTER}"))


@settings(deadline=None, max_examples=50)
@given(
    secret=SECRETS,
    name=st.sampled_from(sorted(ENCODERS)),
    cuts=st.lists(st.floats(0, 1), max_size=5),
    breaks=st.lists(st.floats(0, 1), max_size=2),
)
def test_a_text_that_is_cut(secret: str, name: str, cuts: Sequence[float], breaks: Sequence[float]) -> None:
    """The same holds when the text arrives in pieces and is wrapped over lines, wherever that cuts a secret."""
    assume(is_ordinary(secret))
    spelling = ENCODERS[name](secret)
    text = f"{BEFORE}{spelling}{AFTER}"
    for place in sorted((len(BEFORE) + round(share * len(spelling)) for share in breaks), reverse=True):
        text = f"{text[:place]}\n{text[place:]}"
    stream = MaskedStream(Masker([secret]))
    places = [0, *sorted(round(share * len(text)) for share in cuts), len(text)]
    pieces = [stream.feed(text[begin:end]) for begin, end in pairwise(places)]
    masked = "".join([*pieces, stream.finish()])

    check(secret, ENCODERS[name], masked)


@settings(deadline=None, max_examples=50)
@given(text=st.text(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=5))
def test_what_is_no_secret_stays(text: str, cuts: Sequence[int]) -> None:
    """A text without the secret comes out as it was, in whatever pieces."""
    stream = MaskedStream(Masker(["S3cr3t-of-the-sites"]))
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [stream.feed(text[begin:end]) for begin, end in pairwise(places)]

    assert text == "".join([*pieces, stream.finish()])
