"""Selectors, which choose subclouds by their labels, and the targets of a request.

A selector is a row of terms with commas between them, all of which must hold:

    region=eu, tier!=gold, uplink in (a,b), lab, !old
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from statemachine.eligibility import Ineligibility, skipped
from statemachine.errors import SelectorError

LABEL_KEY_FORM: Final = r"[a-z][a-z0-9./-]{0,62}"
LABEL_VALUE_FORM: Final = r"[A-Za-z0-9._-]{0,63}"
# Most labels of a subcloud.
MOST_LABELS: Final = 20
# Longest selector, in characters.
SELECTOR_LENGTH: Final = 4096

_KEY: Final = re.compile(LABEL_KEY_FORM)
_VALUE: Final = re.compile(LABEL_VALUE_FORM)
_BLANKS: Final = re.compile(r"[ \t]*")
# A longer word than a key or a value may be is shown as a whole.
_WORD: Final = re.compile(r"[^ \t,()!=]*")
_IN: Final = re.compile(r"in[ \t]*(?=\()")
# Enough of a word to find it again, in characters.
_MOST_SHOWN: Final = 64


class Operator(StrEnum):
    """Comparison of a term with its label."""

    EQUALS = "="
    DIFFERS = "!="
    IN = "in"
    PRESENT = "present"
    ABSENT = "absent"


@dataclass(frozen=True, kw_only=True)
class Term:
    """One condition on one label.

    Attributes:
        key: Key of the label.

        operator: How its value is looked at.

        values: One value for `=` and `!=`, one at least for `in`, none otherwise.
    """

    key: str
    operator: Operator
    values: frozenset[str] = field(default_factory=frozenset)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether a subcloud with these labels is meant; `!=` and `!` match where the label is missing."""
        match self.operator:
            case Operator.EQUALS | Operator.IN:
                return labels.get(self.key) in self.values
            case Operator.DIFFERS:
                return labels.get(self.key) not in self.values
            case Operator.PRESENT:
                return self.key in labels
            case Operator.ABSENT:
                return self.key not in labels


@dataclass(frozen=True, kw_only=True)
class Selector:
    """Terms that must all hold."""

    terms: tuple[Term, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether a subcloud with these labels, values by key, is meant."""
        return all(term.matches(labels) for term in self.terms)


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Subclouds that a request means.

    Attributes:
        group_id: The only group; None: any.

        named: Ids of the only subclouds; None: any.

        selector: Matches the labels of the subclouds; None: any.

        excluded: Ids of subclouds that are not meant, whatever else is said.

        excluding: Matches the labels of such subclouds; None: of none.
    """

    group_id: int | None = None
    named: frozenset[int] | None = None
    selector: Selector | None = None
    excluded: frozenset[int] = field(default_factory=frozenset)
    excluding: Selector | None = None

    def include(self, subcloud_id: int, group_id: int, labels: Mapping[str, str]) -> bool:
        """Return whether a subcloud is meant: one that is named always is, unless it is excluded."""
        if subcloud_id in self.excluded or (self.excluding is not None and self.excluding.matches(labels)):
            return False
        if self.named is not None:
            return subcloud_id in self.named
        return self._is_in_group(group_id) and self._is_selected(labels)

    def check(self, name: str, group_id: int, labels: Mapping[str, str]) -> Ineligibility | None:
        """Return why a subcloud that is meant cannot be taken: the group or the selector rule it out; None: it can."""
        if not self._is_in_group(group_id):
            return skipped(name, "Subcloud is not in the group that the request names.")
        if not self._is_selected(labels):
            return skipped(name, "Subcloud does not match the selector.")
        return None

    def _is_in_group(self, group_id: int) -> bool:
        return self.group_id is None or group_id == self.group_id

    def _is_selected(self, labels: Mapping[str, str]) -> bool:
        return self.selector is None or self.selector.matches(labels)


def parse_selector(text: str) -> Selector:
    """Return the selector that a text spells; blanks between its parts do not count.

    Raises:
        SelectorError: It cannot be read; the text says what is wrong, and at which character, counted from 1.
    """
    if len(text) > SELECTOR_LENGTH:
        raise SelectorError(f"a selector has at most {SELECTOR_LENGTH} characters, this one has {len(text)}")
    return _Reader(text).selector()


def key_fault(key: str) -> str | None:
    """Return why a text cannot be the key of a label; None: it can."""
    if _KEY.fullmatch(key):
        return None
    return (
        f"{_short(key)} is no key of a label: give a small letter, then small letters, digits, dots, dashes and"
        " slashes, at most 63 characters"
    )


def value_fault(value: str) -> str | None:
    """Return why a text cannot be the value of a label; None: it can."""
    if _VALUE.fullmatch(value):
        return None
    return (
        f"{_short(value)} is no value of a label: give letters, digits, dots, dashes and underscores, at most 63"
        " characters"
    )


def merge_labels(labels: Mapping[str, str], change: Mapping[str, str | None]) -> dict[str, str]:
    """Return labels after a change, in the order of their keys; a change to None removes the label.

    Raises:
        SelectorError: There would be more than `MOST_LABELS`.
    """
    merged = {key: value for key, value in sorted({**labels, **change}.items()) if value is not None}
    if len(merged) > MOST_LABELS:
        raise SelectorError(f"a subcloud has at most {MOST_LABELS} labels, these are {len(merged)}")
    return merged


class _Reader:
    """Reads a selector from its beginning to its end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def selector(self) -> Selector:
        terms = [self._term()]
        while not self._is_over():
            if not self._take(","):
                raise self._error(f"expected a comma before the next term, found {self._shown()}")
            terms.append(self._term())
        return Selector(terms=tuple(terms))

    def _term(self) -> Term:
        if self._take("!"):
            return Term(key=self._key(), operator=Operator.ABSENT)
        key = self._key()
        if self._take("!="):
            return Term(key=key, operator=Operator.DIFFERS, values=frozenset({self._value()}))
        if self._take("="):
            return Term(key=key, operator=Operator.EQUALS, values=frozenset({self._value()}))
        self._skip_blanks()
        found = _IN.match(self._text, self._at)
        if found is None:
            return Term(key=key, operator=Operator.PRESENT)
        self._at = found.end() + 1
        return Term(key=key, operator=Operator.IN, values=self._values())

    def _values(self) -> frozenset[str]:
        """Return the values up to the closing bracket; the opening one was read."""
        values = {self._value()}
        while self._take(","):
            values.add(self._value())
        if not self._take(")"):
            raise self._error(f"expected a comma or ')' after a value, found {self._shown()}")
        return frozenset(values)

    def _key(self) -> str:
        word = self._word()
        if not word:
            raise self._error(f"expected the key of a label, found {self._shown()}")
        self._refuse(key_fault(word))
        self._at += len(word)
        return word

    def _value(self) -> str:
        word = self._word()
        if not word:
            raise self._error(
                f"expected a value, found {self._shown()}; a key alone means that the label is there, with any value"
            )
        self._refuse(value_fault(word))
        self._at += len(word)
        return word

    def _word(self) -> str:
        """Return the next word, which is not taken yet; empty where there is none."""
        self._skip_blanks()
        found = _WORD.match(self._text, self._at)
        return found.group() if found else ""

    def _take(self, mark: str) -> bool:
        """Return whether a mark comes next, and go behind it if so."""
        self._skip_blanks()
        if not self._text.startswith(mark, self._at):
            return False
        self._at += len(mark)
        return True

    def _is_over(self) -> bool:
        self._skip_blanks()
        return self._at == len(self._text)

    def _skip_blanks(self) -> None:
        found = _BLANKS.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _shown(self) -> str:
        """Return what comes next, for an error."""
        if self._is_over():
            return "the end"
        word = self._word()
        return _short(word or self._text[self._at])

    def _refuse(self, fault: str | None) -> None:
        if fault is not None:
            raise self._error(fault)

    def _error(self, text: str) -> SelectorError:
        return SelectorError(f"at character {self._at + 1}: {text}")


def _short(word: str) -> str:
    return ascii(word if len(word) <= _MOST_SHOWN else f"{word[:_MOST_SHOWN]}..")
