"""Spellings of a secret: as JSON, URL, HTML, Python, shell, base64 and others write it."""

from __future__ import annotations

import html
import json
import re
import shlex
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import quote, quote_plus

Encoder = Callable[[str], str]

# Of longer secrets one encoding within another is found by decoding alone, for the spellings would take megabytes.
_LONGEST_COMBINED: Final = 64
# What of base64 depends on the secret alone must have so many characters, or it is met by chance.
_SHORTEST_BASE64: Final = 6

_SPECIAL: Final = re.compile(r"[^A-Za-z0-9]")
_NOT_PLAIN_IN_SHELL: Final = re.compile(r"([^\w@%+=:,./-])")
_UTF16_ESCAPE: Final = re.compile(r"\\u([0-9a-f]{4})")
_NO_WORD: Final = re.compile(r"(\W)")
_FOR_HTML: Final = re.compile("[<>&\u2028\u2029]")
_FOR_HTML_ATTRIBUTES: Final = re.compile("[<>&'\u2028\u2029]")
_PERCENT_ESCAPE: Final = re.compile("%[0-9A-F]{2}")
# Characters that various encoders leave as they are in URLs.
_SAFE_IN_URLS: Final = ("", "/", "*", "~()*!'", "~()*!.'-_;,/?:@&=+$#")


def spellings(secret: str) -> set[str]:
    """Return the spellings of a secret, itself among them; of a short one also those of one encoding within another."""
    once = {secret, *(encode(secret) for encode in _ENCODERS)}
    found = once | set(_base64_spellings(secret))
    if len(secret) <= _LONGEST_COMBINED:
        found |= {wrap(text) for text in found for wrap in _WRAPPERS}
        found.update(spelling for text in _within_base64(secret) for spelling in _base64_spellings(text))
    return found - {""}


def _json(text: str) -> str:
    return json.dumps(text)[1:-1]


def _json_unicode(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _json_for_html(text: str, special: re.Pattern[str] = _FOR_HTML) -> str:
    """Spell as Go, and templates that write JSON into a page, do."""
    return special.sub(lambda found: f"\\u{ord(found[0]):04x}", _json_unicode(text))


def _utf16_escapes(characters: re.Pattern[str]) -> Encoder:
    def encode(text: str) -> str:
        return characters.sub(lambda found: "".join(_code_units(found[0])), text)

    return encode


def _code_units(character: str) -> Iterator[str]:
    units = character.encode("utf-16-be", "surrogatepass")
    for place in range(0, len(units), 2):
        yield f"\\u{units[place : place + 2].hex()}"


def _entities(form: str) -> Encoder:
    def encode(text: str) -> str:
        return _SPECIAL.sub(lambda found: form.format(ord(found[0])), text)

    return encode


def _shell(text: str) -> str:
    return shlex.quote(text).removeprefix("'").removesuffix("'")


def _percent(text: str) -> str:
    """Spell every byte by its number."""
    return "".join(f"%{byte:02X}" for byte in _bytes(text))


def _lower_escapes(encode: Encoder) -> Encoder:
    return lambda text: _PERCENT_ESCAPE.sub(lambda found: found[0].lower(), encode(text))


def _url_encoders() -> Iterator[Encoder]:
    for safe in _SAFE_IN_URLS:
        for encode in (quote, quote_plus):
            in_upper_case: Encoder = lambda text, safe=safe, encode=encode: encode(text, safe=safe, errors="replace")  # type: ignore[misc]  # noqa: E731 - mypy does not see the defaults
            yield in_upper_case
            yield _lower_escapes(in_upper_case)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _base64_spellings(text: str) -> Iterator[str]:
    """Return base64 of a text, alone and after and before anything else, as in HTTP's Basic authentication."""
    content = _bytes(text)
    whole = b64encode(content).decode()
    own = [encoded[first:last] for encoded, first, last in _aligned(content)]
    for spelling in (whole, *(piece for piece in own if len(piece) >= _SHORTEST_BASE64)):
        yield spelling
        yield spelling.replace("+", "-").replace("/", "_")


def _within_base64(secret: str) -> set[str]:
    """Return what files in base64 hold, such as the settings of a registry's client."""
    written = {wrap(secret) for wrap in _WRAPPERS}
    return written | set(_base64_spellings(secret)) if len(secret) > _SHORTEST_BASE64 else written


def _aligned(content: bytes) -> Iterator[tuple[str, int, int]]:
    """Return base64 at each alignment, and from where to where its characters depend on the content alone."""
    for before in range(3):
        bits = 8 * (before + len(content))
        yield b64encode(b"\0" * before + content).decode(), -(-8 * before // 6), bits // 6


_WRAPPERS: Final[tuple[Encoder, ...]] = (
    _json,
    _json_unicode,
    _json_for_html,
    html.escape,
    _shell,
    lambda text: quote(text, safe="", errors="replace"),
    lambda text: quote_plus(text, errors="replace"),
)
_ENCODERS: Final[tuple[Encoder, ...]] = (
    *_WRAPPERS,
    *_url_encoders(),
    _percent,
    _lower_escapes(_percent),
    lambda text: _json_for_html(text, _FOR_HTML_ATTRIBUTES),
    lambda text: repr(text)[1:-1],
    lambda text: ascii(text)[1:-1],
    lambda text: repr(_bytes(text))[2:-1],
    lambda text: html.escape(text).replace("&#x27;", "&#39;"),
    lambda text: html.escape(text).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
    lambda text: html.escape(text).replace("&#x27;", "&apos;"),
    lambda text: html.escape(text, quote=False),
    lambda text: text.encode("ascii", "xmlcharrefreplace").decode(),
    _entities("&#{:d};"),
    _entities("&#x{:x};"),
    _entities("&#x{:X};"),
    _utf16_escapes(_SPECIAL),
    lambda text: _UTF16_ESCAPE.sub(lambda found: rf"\u{found[1].upper()}", _utf16_escapes(_SPECIAL)(text)),
    _utf16_escapes(re.compile(".", re.DOTALL)),
    lambda text: text.replace("'", "''"),
    lambda text: text.replace('"', '""'),
    lambda text: text.replace("'", "'\\''"),
    lambda text: text.replace("\\", "\\\\").replace('"', '\\"'),
    lambda text: _NOT_PLAIN_IN_SHELL.sub(r"\\\1", text),
    lambda text: _NO_WORD.sub(r"\\\1", text),
    lambda text: _bytes(text).hex(),
    lambda text: _bytes(text).hex().upper(),
)
