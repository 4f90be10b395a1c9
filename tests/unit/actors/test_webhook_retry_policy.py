"""What comes of a try, by its answer alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from db.webhook_deliveries import DeliveryState
from webhooks.retry_policy import PAUSES_S, Reply, decide, read_retry_after

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_taken(status: int) -> None:
    """Every 2xx means that it was taken."""
    decision = decide(Reply(status=status), 3, 0.5)

    assert (DeliveryState.DELIVERED, None, "", "") == (
        decision.state,
        decision.delay_s,
        decision.error,
        decision.disable,
    )


@pytest.mark.parametrize("status", [100, 199, 300, 302, 400, 401, 404, 408, 429, 500, 503, 599, 999, None])
def test_tried_again(status: int | None) -> None:
    """Everything else is tried again, no answer as well."""
    decision = decide(Reply(status=status, error="The receiver hung up."), 0, 0.0)

    assert (DeliveryState.PENDING, 5.0, "") == (decision.state, decision.delay_s, decision.disable)
    assert decision.error.endswith(".")


def test_pauses_grow() -> None:
    """Pauses grow from five seconds to eight hours; after a day it is given up."""
    pauses = [decide(Reply(status=500), attempts, 0.0).delay_s for attempts in range(len(PAUSES_S))]
    last = decide(Reply(status=500), len(PAUSES_S), 0.0)

    assert list(PAUSES_S) == pauses == sorted(PAUSES_S)
    assert 23 * 3600 < sum(PAUSES_S) <= 24 * 3600
    assert (DeliveryState.FAILED, None) == (last.state, last.delay_s)


def test_chance() -> None:
    """What failed together does not come again together: chance stretches a pause by up to a fifth."""
    assert [5.0, 5.5, 6.0] == [decide(Reply(status=500), 0, chance).delay_s for chance in (0.0, 0.5, 1.0)]


@pytest.mark.parametrize(("asked", "delay_s"), [(None, 5), (1, 5), (60, 60), (1e6, 3600)])
def test_patience(asked: float | None, delay_s: float) -> None:
    """What a receiver asks for counts when it is longer than our own pause, up to an hour."""
    assert delay_s == decide(Reply(status=429, retry_after_s=asked), 0, 0.0).delay_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("120", 120),
        (" 7 ", 7),
        ("9" * 400, 999999999),
        ("Sun, 22 Nov 2026 12:01:00 GMT", 60),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0),
        ("Mon, 01 Jan 99999999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 10000 00:00:00 GMT", None),
        ("soon", None),
        ("-5", None),
        ("\u0665", None),
        ("", None),
    ],
)
def test_retry_after(text: str | None, seconds: float | None) -> None:
    """Seconds and dates are read; what is neither says nothing."""
    assert seconds == read_retry_after(text, NOW)
