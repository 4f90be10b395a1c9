"""Deadlines follow the bytes that a run brings to its site."""

from __future__ import annotations

from typing import Any

import pytest

from runner.interface import LONGEST_S, deadline_for
from runner.progress import AnnouncedBytes

GB = 1_000_000_000


@pytest.mark.parametrize(
    ("setting_s", "transfer_bytes", "rate", "expected_s"),
    [
        (3600, 0, 2, 3600),
        (60, 0, 2, 60),
        (3600, 1, 2, 3600),
        (3600, 750_000_000, 2, 3600),
        (3600, 750_000_250, 2, 3600.001),
        (3600, 20 * GB, 2, 80_600),
        (3600, 20 * GB, 1000, 3600),
        (60, 20 * GB, 1000, 760),
        (3600, 10**15, 2, LONGEST_S),
        (30 * 86400, 10**15, 2, 30 * 86400),
    ],
)
def test_the_deadline_follows_the_bytes(setting_s: float, transfer_bytes: int, rate: float, expected_s: float) -> None:
    """A run may take its setting, or 600 s and its bytes at the floor rate; announcements give 7 days at most."""
    assert pytest.approx(expected_s) == deadline_for(setting_s, transfer_bytes, rate)


def ok(result: Any) -> dict[str, Any]:
    """Return the event of a task that went well."""
    return {"event": "runner_on_ok", "event_data": {"res": result}}


def test_announcements_add_up() -> None:
    """Each task that announces bytes counts once."""
    announced = AnnouncedBytes()

    assert [True, True] == [announced.take(ok({"prestage_transfer_bytes": size})) for size in (5, 7)]
    assert 12 == announced.total


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"event": "runner_on_ok"},
        {"event": "runner_on_ok", "event_data": None},
        {"event": "runner_on_failed", "event_data": {"res": {"prestage_transfer_bytes": 5}}},
        ok(None),
        ok("x"),
        *(ok({"prestage_transfer_bytes": value}) for value in (None, True, 0, -1, 1.5, "5", [5])),
    ],
)
def test_what_is_no_announcement_changes_nothing(event: dict[str, Any]) -> None:
    """A site may answer anything: only a positive whole number counts."""
    announced = AnnouncedBytes()

    assert not announced.take(event)
    assert 0 == announced.total
