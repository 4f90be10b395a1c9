"""Retry policy of webhook deliveries: delivered, tried again later, or given up. Pure: chance is an argument."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from db.webhook_deliveries import DeliveryState

# Pauses after each failed try, in seconds: ten more tries within a day, then it is given up.
PAUSES_S: Final = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 28800.0)
# The longest Retry-After that is obeyed, in seconds.
LONGEST_ASKED_S: Final = 3600.0
# By how much a pause is stretched at most, so that what failed together does not come again together.
_JITTER: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back of one try."""

    # None: no answer.
    status: int | None
    # Without an answer: a sentence that says why, and no URL or secret.
    fault: str = ""
    # What the receiver asks for, in seconds.
    retry_after_s: float | None = None
    took_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What comes of a try."""

    state: DeliveryState
    # None: not tried again.
    delay_s: float | None = None
    error: str = ""
    # Why nothing at all is sent to this webhook any more; empty: it goes on.
    disable: str = ""


def judge(reply: Reply, attempts: int, chance: float) -> Verdict:
    """Return what comes of the try after `attempts` others; `chance` is from 0 to 1."""
    if reply.status is not None and HTTPStatus(200) <= reply.status < HTTPStatus(300):
        return Verdict(state=DeliveryState.DELIVERED)
    error = reply.fault if reply.status is None else _sentence(reply.status)
    if reply.status == HTTPStatus.GONE:
        return Verdict(state=DeliveryState.FAILED, error=error, disable=error)
    if attempts >= len(PAUSES_S):
        return Verdict(state=DeliveryState.FAILED, error=f"{error} Given up after {attempts + 1} tries.")
    asked = min(reply.retry_after_s or 0.0, LONGEST_ASKED_S)
    delay = max(PAUSES_S[attempts], asked) * (1 + _JITTER * chance)
    return Verdict(state=DeliveryState.PENDING, delay_s=delay, error=error)


def _sentence(status: int) -> str:
    if status == HTTPStatus.GONE:
        return "The receiver answered 410: it wants nothing more."
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return f"The receiver answered {status}: redirects are not followed; set the url that it leads to."
    try:
        # Of our own list: nothing that a receiver says is kept.
        return f"The receiver answered {status} {HTTPStatus(status).phrase}."
    except ValueError:
        return f"The receiver answered {status}."


def read_retry_after(text: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for at `now`; None when it says nothing that can be read."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        # No int of a book.
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
