"""The result of one check of `doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """Severity of a finding."""

    # As it should be, or not asked for.
    OK = "ok"
    # The service works; an operator should look.
    WARN = "warn"
    # The service does not work, or not for long.
    FAIL = "fail"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the report."""

    level: Level
    # What was looked at.
    subject: str
    # What is there, and unless that is right, what to do.
    text: str


def ok(subject: str, text: str) -> Finding:
    """Return a finding that asks for nothing."""
    return Finding(level=Level.OK, subject=subject, text=text)


def warn(subject: str, text: str) -> Finding:
    """Return a warning."""
    return Finding(level=Level.WARN, subject=subject, text=text)


def fail(subject: str, text: str) -> Finding:
    """Return a finding that keeps the service from working."""
    return Finding(level=Level.FAIL, subject=subject, text=text)
