"""Decodes escapes in text (JSON, URL, HTML, shell) and keeps for each character where it stood in the source.

Two texts that spell one secret differently are equal afterwards. Everything is linear in the length of the text.
"""

from __future__ import annotations

import html
import re
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

# A pattern, and what takes the place of what it matches.
Rewriting = tuple[re.Pattern[str], Callable[[re.Match[str]], str] | str]

# Escapes within escapes that are followed; each percent sign and ampersand is followed through any number by itself.
_LAYERS: Final = 4

_HEX = "[0-9A-Fa-f]"
_PERCENT = "%(?:25)*"
# All backslashes of a run, begun with its first one: from each of them a long run would be searched to its end again.
_BACKSLASHES = r"(?<!\\)\\++"
# Backslashes, if there are any.
_QUOTING = r"\\*+"
_BYTE = rf"{_BACKSLASHES}x"


def _utf8(prefix: str, between: str = "") -> str:
    """Return a pattern for a character in UTF-8, or a byte that is none; each byte is hexadecimal after a prefix.

    `between` is a pattern of what may stand in front of each byte but the first.
    """
    tail = f"{between}{prefix}[89ABab]{_HEX}"
    return (
        f"{prefix}[CDcd]{_HEX}{tail}|{prefix}[Ee]{_HEX}(?:{tail}){{2}}|{prefix}[Ff][0-4](?:{tail}){{3}}"
        f"|{prefix}{_HEX}{_HEX}"
    )


_OCTAL_TAIL = rf"{_BACKSLASHES}2[0-7]{{2}}"
_ESCAPE: Final = re.compile(
    # The regular expression machine looks for a set of characters quickly, and for alternatives slowly.
    r"(?=[\\%&])(?:"
    rf"{_BACKSLASHES}u(?P<high>[Dd][89ABab]{_HEX}{{2}}){_BACKSLASHES}u(?P<low>[Dd][C-Fc-f]{_HEX}{{2}})"
    rf"|{_BACKSLASHES}(?:u(?P<four>{_HEX}{{4}})|u\{{(?P<braced>{_HEX}{{1,6}})\}}|U(?P<eight>{_HEX}{{8}}))"
    rf"|(?P<bytes>{_utf8(_BYTE)})"
    # Shells put a backslash in front of a percent sign: it does not part the bytes of a character.
    rf"|(?P<percent>{_utf8(_PERCENT, between=_QUOTING)})"
    rf"|(?P<octal>{_BACKSLASHES}3[0-3][0-7]{_OCTAL_TAIL}|{_BACKSLASHES}3[45][0-7](?:{_OCTAL_TAIL}){{2}}"
    rf"|{_BACKSLASHES}36[0-4](?:{_OCTAL_TAIL}){{3}}|{_BACKSLASHES}[0-3][0-7]{{2}})"
    rf"|(?P<blank>{_BACKSLASHES}[nrtbfve0a])"
    rf"|&(?:amp;)*(?P<entity>#[0-9]{{1,7}}|#[Xx]{_HEX}{{1,6}}|[A-Za-z][A-Za-z0-9]{{1,31}});"
    r")"
)
# What encodings add, drop or replace by each other: quotes, backslashes, blanks, and the plus that stands for a blank.
_DROPPED: Final = re.compile(r"[\s\x00-\x20\x7f-\xa0'\"\\+]++")
_LINE_BREAK: Final = re.compile(r"\r?\n")
_BLANK: Final = re.compile(r"\s++")
_HEX_PAIR: Final = re.compile(f"{_HEX}{{2}}(?=%|\\\\|$)")
_OCTAL_TRIPLE: Final = re.compile(r"[0-3][0-7]{2}")
# The end of a text in which an escape may be incomplete; longer than any escape.
_OPEN_ESCAPE: Final = re.compile(r"[\\%&][\\%&#;{}\w\r\n]{0,47}\Z")
_OPEN_LENGTH: Final = 48


@dataclass(frozen=True)
class View:
    """A rewritten text; `starts` and `ends` give for each of its characters its place in the source."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]


def source_view(text: str) -> View:
    """Return a text as a view of itself."""
    return View(text, range(len(text)), range(1, len(text) + 1))


def rewrite(text: str, rewriting: Rewriting) -> str:
    """Return the rewritten text."""
    pattern, replacement = rewriting
    return pattern.sub(replacement, text)


def rewrite_view(view: View, rewriting: Rewriting) -> View:
    """Return the same as `rewrite`, with places; it takes some twenty times as long."""
    pattern, replacement = rewriting
    pieces: list[str] = []
    starts, ends, end = array("L"), array("L"), 0
    for match in pattern.finditer(view.text):
        begin, new = match.start(), replacement if isinstance(replacement, str) else replacement(match)
        pieces += (view.text[end:begin], new)
        starts.extend(view.starts[end:begin])
        ends.extend(view.ends[end:begin])
        end = match.end()
        starts.extend([view.starts[begin]] * len(new))
        ends.extend([view.ends[end - 1]] * len(new))
    pieces.append(view.text[end:])
    starts.extend(view.starts[end:])
    ends.extend(view.ends[end:])
    return View("".join(pieces), starts, ends)


def decode(text: str) -> str:
    """Return a text without line breaks, escapes, and what encodings drop: the form to compare spellings in."""
    for rewriting in DECODING:
        text = rewrite(text, rewriting)
    return text


def incomplete_from(text: str) -> int:
    """Return where an escape may begin that the text cuts off; its length if there is none."""
    found = _OPEN_ESCAPE.search(text, max(0, len(text) - _OPEN_LENGTH))
    return len(text) if found is None else found.start()


def _decoded(match: re.Match[str]) -> str:
    found = match.groupdict()
    if found["percent"] or found["bytes"]:
        return _from_bytes(bytes.fromhex("".join(_HEX_PAIR.findall(match[0]))))
    if found["entity"]:
        return html.unescape(f"&{found['entity']};")
    if found["octal"]:
        return _from_bytes(bytes(int(one, 8) for one in _OCTAL_TRIPLE.findall(match[0])))
    if found["high"]:
        pair = bytes.fromhex(found["high"] + found["low"])
        return pair.decode("utf-16-be")
    number = found["four"] or found["braced"] or found["eight"]
    return _character(int(number, 16)) if number else ""


def _from_bytes(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _character(number: int) -> str:
    # Half of a pair, and what is no character, stays apart from everything that a secret holds.
    return chr(number) if number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF else "\ufffd"  # noqa: PLR2004 - Unicode


# A line break within an occurrence does not save it: Ansible wraps its warnings, base64 its lines.
WITHOUT_LINE_BREAKS: Final[Rewriting] = (_LINE_BREAK, "")
# Shells and YAML continue a line behind a backslash, which is no part of what follows; a wrapped escape looks the same.
CONTINUATION: Final = "\\\n"
WITHOUT_CONTINUATIONS: Final[Rewriting] = (re.compile(r"(?<!\\)\\++\n"), "")
WITHOUT_BLANKS: Final[Rewriting] = (_BLANK, "")
DECODING: Final[Sequence[Rewriting]] = (
    WITHOUT_LINE_BREAKS,
    *([(_ESCAPE, _decoded)] * _LAYERS),
    (_DROPPED, ""),
    # What was dropped may have torn an escape: shells put a backslash anywhere.
    *([(_ESCAPE, _decoded)] * _LAYERS),
    (_DROPPED, ""),
)
