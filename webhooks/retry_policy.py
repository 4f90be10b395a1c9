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
# Largest part by which a pause is stretched, so that deliveries that failed together are not retried together.
_JITTER: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class Reply:
    """Result of one request."""

    # None: no answer.
    status: int | None
    # Without an answer: a sentence that says why, and no URL or secret.
    error: str = ""
    # Pause that the receiver asks for, in seconds.
    retry_after_s: float | None = None
    took_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class RetryDecision:
    """State of a delivery after a try, and when the next one is due."""

    state: DeliveryState
    # None: not tried again.
    delay_s: float | None = None
    error: str = ""
    # Reason to disable the webhook; empty: it stays enabled.
    disable: str = ""


def decide(reply: Reply, attempts: int, chance: float) -> RetryDecision:
    """Return the decision after a try that followed `attempts` others; `chance` is from 0 to 1."""
    if reply.status is not None and HTTPStatus(200) <= reply.status < HTTPStatus(300):
        return RetryDecision(state=DeliveryState.DELIVERED)
    error = reply.error if reply.status is None else _sentence(reply.status)
    if reply.status == HTTPStatus.GONE:
        return RetryDecision(state=DeliveryState.FAILED, error=error, disable=error)
    if attempts >= len(PAUSES_S):
        return RetryDecision(state=DeliveryState.FAILED, error=f"{error} Given up after {attempts + 1} tries.")
    asked = min(reply.retry_after_s or 0.0, LONGEST_ASKED_S)
    delay = max(PAUSES_S[attempts], asked) * (1 + _JITTER * chance)
    return RetryDecision(state=DeliveryState.PENDING, delay_s=delay, error=error)


def _sentence(status: int) -> str:
    if status == HTTPStatus.GONE:
        return "The receiver answered 410: it wants nothing more."
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return f"The receiver answered {status}: redirects are not followed; set the url that it leads to."
    try:
        # From Python's list: no text of a receiver is kept.
        return f"The receiver answered {status} {HTTPStatus(status).phrase}."
    except ValueError:
        return f"The receiver answered {status}."


def read_retry_after(text: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for at `now`; None when it cannot be read."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        # A longer number is cut: it is far over the limit already.
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
