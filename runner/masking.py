"""Hides secrets, by value, in everything a run says: output, failure texts, facts."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, Final

from messages.secret_names import is_secret_name
from runner.escapes import (
    CONTINUATION,
    DECODING,
    WITHOUT_BLANKS,
    WITHOUT_CONTINUATIONS,
    WITHOUT_LINE_BREAKS,
    Rewriting,
    View,
    decode,
    incomplete_from,
    rewrite,
    rewrite_view,
    source_view,
)
from runner.secret_encodings import spellings

MASK = "********"

# Lines of a secret with several lines (a private key) are hidden one by one from this length on, in characters.
_MIN_LINE_LENGTH = 8
# A shorter form of a secret is not looked for across blanks and escapes, where other text would be taken for it.
_MIN_LOOSE_LENGTH: Final = 8
# The same for what is left of it without quotes, backslashes and blanks.
_MIN_DECODED_LENGTH: Final = 6
# A shorter secret is met by chance in any text.
_MIN_LENGTH: Final = 4
# Words of every run's output, and accounts that sites have. Taken out, they would tell that the secret is one of them.
_USUAL_WORDS: Final = (
    "task play recap gathering facts changed unreachable failed skipped skipping rescued ignored included fatal"
    " handler handlers warning error deprecation debug site host hosts localhost root admin sysadmin administrator"
    " password passphrase secret token user username account prestage prestager packages images prepare release"
    " subcloud controller ansible playbook stdout stderr stdout_lines stderr_lines exception module true false none"
    " null item items state present absent started stopped enabled disabled default linux test name path file mode"
    " owner group version"
)
# A text is looked through in parts of this length, in characters, so that the memory for it stays small.
_PART_LENGTH: Final = 64 * 1024
# No spelling is waited for longer than this, in characters.
_LONGEST_HELD: Final = 256 * 1024

# What says that a password follows.
_BEFORE_GUESSABLE: Final = (
    r"(?i:pass(?:word|wd|phrase)?|pwd|secret|token|credentials?)[\\\"']{0,8}"
    r"\s{0,4}(?:[:=]|\s(?:is|was)\s)\s{0,4}[\\\"']{0,8}"
)

Span = tuple[int, int]


class Masker:
    """Replaces each occurrence of a secret by asterisks, in time and memory linear in the text.

    Found are the spellings of JSON, Python, shell, URLs, HTML and base64 (also within a longer text), encodings within
    each other, and occurrences that are wrapped over lines. A playbook that transforms a secret in some other way
    (reverses it, hashes it, prints it letter by letter) is not caught.

    A secret that anybody would guess cannot be hidden by its value: each gap would tell it. Shorter than four
    characters, or shorter than eight and part of a usual word or of `public`, it is masked only behind a word such as
    `password`.

    Args:
        secrets: what is hidden; empty ones are ignored.

        public: texts that a run shows anyway, such as the name of its host.
    """

    def __init__(self, secrets: Iterable[str], public: Iterable[str] = ()) -> None:
        wanted = {part for secret in secrets for part in _parts(secret)}
        shown = "\n".join((_USUAL_WORDS, *public)).lower()
        short = {one for one in wanted if len(one) < _MIN_LOOSE_LENGTH}
        guessable = {one for one in short if len(one) < _MIN_LENGTH or one.lower() in shown}
        self._searches = _searches(wanted - guessable)
        self._announced = _announced(guessable)
        self._guessable = guessable

    def text(self, text: str) -> str:
        """Return `text` without secrets."""
        if len(text) <= _PART_LENGTH:
            return _replaced(text, self.spans(text))
        stream = MaskedStream(self)
        return "".join([*map(stream.feed, _in_parts(text)), stream.finish()])

    def value(self, value: Any) -> Any:
        """Return a JSON-like value with secrets hidden in every string and number, keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(key)): self._value_of(str(key), item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return self._items(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value if self.text(str(value)) == str(value) else MASK
        return value

    def spans(self, text: str) -> list[Span]:
        """Return where secrets are in `text`, in order and apart from each other."""
        found = [span for search in self._searches for span in search.spans(text)]
        if self._announced is not None:
            found += [match.span("secret") for match in self._announced.finditer(text)]
        return _merged(found)

    def open_from(self, text: str) -> int:
        """Return where a secret may begin that goes on behind the end of `text`; its length if there is none."""
        cut = incomplete_from(text)
        return min([cut, *(search.open_from(text[: cut if search.is_decoding else None]) for search in self._searches)])

    def _value_of(self, key: str, item: Any) -> Any:
        if isinstance(item, str) and item in self._guessable and is_secret_name(key):
            return MASK
        return self.value(item)

    def _items(self, items: Sequence[Any]) -> list[Any]:
        """Mask a list; one of texts as one text, for its items may be the lines of a wrapped secret."""
        if not all(isinstance(item, str) for item in items):
            return [self.value(item) for item in items]
        whole = "\n".join(items)
        if len(whole) > _PART_LENGTH:
            return [self.text(item) for item in items]
        spans, masked, begin = self.spans(whole), [], 0
        for item in items:
            end = begin + len(item)
            within = [(max(begin, first), min(end, last)) for first, last in spans if first < end and begin < last]
            masked.append(_replaced(item, [(first - begin, last - begin) for first, last in within]))
            begin = end + 1
        return masked


class MaskedStream:
    """Masks a text that arrives in pieces; a secret on the border of two pieces is masked too.

    What may be the beginning of a secret is held back until the next piece, and a bounded length of it.
    """

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._held = ""

    def feed(self, piece: str) -> str:
        """Return the part of the text that may be passed on now, masked."""
        return "".join(map(self._feed, _in_parts(piece)))

    def finish(self) -> str:
        """Return the held back text, masked."""
        text, self._held = self._held, ""
        return _replaced(text, self._masker.spans(text))

    def _feed(self, piece: str) -> str:
        text = self._held + piece
        spans = self._masker.spans(text)
        end = max(self._masker.open_from(text), len(text) - _LONGEST_HELD)
        # What has been found is not torn: with what follows it may be a longer secret.
        end = min([end, *(first for first, last in spans if first < end < last)])
        self._held = text[end:]
        return _replaced(text[:end], [span for span in spans if span[1] <= end])


@dataclass(frozen=True)
class _Search:
    """Looks for needles in a text that was rewritten first."""

    rewritings: Sequence[Rewriting]
    # In alphabetical order.
    needles: Sequence[str]
    is_decoding: bool
    # A text without this is not looked through.
    sign: str = ""

    def spans(self, text: str) -> Iterator[Span]:
        """Yield where needles are in `text`."""
        if self.sign not in text:
            return
        seen = reduce(rewrite, self.rewritings, text)
        found = [needle for needle in self.needles if needle in seen]
        if not found:
            return
        view = self._view(text)
        for needle in found:
            for begin in _places(view.text, needle):
                yield view.starts[begin], view.ends[begin + len(needle) - 1]

    def open_from(self, text: str) -> int:
        """Return where a needle may begin that `text` cuts off; its length if there is none."""
        if self.sign not in text:
            return len(text)
        seen = reduce(rewrite, self.rewritings, text)
        for begin in range(max(0, len(seen) - self._longest + 1), len(seen)):
            if seen[begin] in self._firsts and self._begins_needle(seen[begin:]):
                return self._view(text).starts[begin]
        return len(text)

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self.needles))

    @cached_property
    def _firsts(self) -> frozenset[str]:
        return frozenset(needle[0] for needle in self.needles)

    def _begins_needle(self, text: str) -> bool:
        # Behind it in the order are the longer texts that begin with it.
        place = bisect_right(self.needles, text)
        return place < len(self.needles) and self.needles[place].startswith(text)

    def _view(self, text: str) -> View:
        return reduce(rewrite_view, self.rewritings, source_view(text))


def _parts(secret: str) -> Iterator[str]:
    """Yield a secret, itself without the line break that a file ends with, and its long lines."""
    for part in (secret, secret.rstrip("\r\n")):
        if part:
            yield part
    yield from (line for line in secret.splitlines() if len(line) >= _MIN_LINE_LENGTH)


def _searches(secrets: Iterable[str]) -> list[_Search]:
    exact: set[str] = set()
    across_blanks: set[str] = set()
    decoded: set[str] = set()
    for spelling in (spelling for secret in secrets for spelling in spellings(secret)):
        solid = rewrite(spelling, WITHOUT_BLANKS)
        if len(solid) < _MIN_LOOSE_LENGTH:
            exact.add(rewrite(spelling, WITHOUT_LINE_BREAKS))
        else:
            across_blanks.add(solid)
        plain = decode(spelling)
        if len(plain) >= _MIN_DECODED_LENGTH and len(spelling) >= _MIN_LOOSE_LENGTH:
            decoded.add(plain)
    return [
        _Search(rewritings, sorted(needles), is_decoding=is_decoding, sign=sign)
        for rewritings, needles, is_decoding, sign in (
            ([WITHOUT_LINE_BREAKS], exact, False, ""),
            ([WITHOUT_BLANKS], across_blanks, False, ""),
            (DECODING, decoded, True, ""),
            ([WITHOUT_CONTINUATIONS, *DECODING], decoded, True, CONTINUATION),
        )
        if needles
    ]


def _announced(secrets: Iterable[str]) -> re.Pattern[str] | None:
    longest_first = sorted(secrets, key=len, reverse=True)
    if not longest_first:
        return None
    return re.compile(rf"{_BEFORE_GUESSABLE}(?P<secret>{'|'.join(map(re.escape, longest_first))})(?!\w)")


def _places(text: str, needle: str) -> Iterator[int]:
    begin = text.find(needle)
    while begin >= 0:
        yield begin
        begin = text.find(needle, begin + len(needle))


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for first, last in sorted(spans):
        if merged and first < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def _replaced(text: str, spans: Iterable[Span]) -> str:
    pieces: list[str] = []
    end = 0
    for first, last in spans:
        pieces += (text[end:first], MASK)
        end = last
    return "".join([*pieces, text[end:]])


def _in_parts(text: str) -> Iterator[str]:
    for begin in range(0, len(text), _PART_LENGTH):
        yield text[begin : begin + _PART_LENGTH]
