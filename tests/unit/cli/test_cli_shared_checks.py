"""Readiness checks are made once for all who ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Event, active_count

from service.readiness import SharedChecks


class Count:
    """A check that counts how often it is made."""

    def __init__(self, result: str | None = None) -> None:
        self.made = 0
        self.result = result

    def __call__(self) -> str | None:
        self.made += 1
        return self.result


async def _well() -> str | None:
    return None


async def test_all_share_one_look() -> None:
    """Those who ask at once, and within a second, get the same results; after it they are made anew."""
    now = [100.0]
    database, broker = Count(), Count("is away")
    checks = SharedChecks({"database": database, "broker": broker}, {"keystone": _well}, clock=lambda: now[0])
    found = await asyncio.gather(*(checks.results() for _ in range(50)))
    now[0] += 0.9
    found.append(await checks.results())
    now[0] += 0.2
    broker.result = None
    after = await checks.results()
    checks.close()

    assert all(one == {"database": None, "broker": "is away", "keystone": None} for one in found)
    assert {"database": None, "broker": None, "keystone": None} == after
    assert (2, 2) == (database.made, broker.made)


async def test_a_silent_check_is_made_once() -> None:
    """A check that says nothing is not begun again meanwhile, holds up no other, and counts when it is back."""
    over, silent = Event(), Count()

    def wait() -> str | None:
        silent.made += 1
        over.wait(20)
        return "was slow"

    checks = SharedChecks({"broker": wait, "database": Count()}, {}, patience_s=0.05, clock=_ticking())
    before = active_count()
    found = [await checks.results() for _ in range(5)]
    begun, threads = silent.made, active_count()
    over.set()
    last = await checks.results()
    checks.close()

    assert all(one == {"broker": "does not answer within 0.05 s", "database": None} for one in found)
    assert (1, True) == (begun, threads <= before + 2)
    assert {"broker": "was slow", "database": None} == last


def _ticking() -> Callable[[], float]:
    now = [0.0]

    def clock() -> float:
        now[0] += 10
        return now[0]

    return clock


async def test_a_check_that_breaks() -> None:
    """A check that raises is a fault of its own name, and tells nothing of the inside."""

    def broken() -> str | None:
        raise RuntimeError("postgresql://user:hidden@host")

    async def broken_too() -> str | None:
        raise RuntimeError("hidden")

    checks = SharedChecks({"database": broken}, {"keystone": broken_too})
    found = await checks.results()
    checks.close()

    sentence = "the check itself failed (RuntimeError)"
    assert {"database": sentence, "keystone": sentence} == found


async def test_one_who_leaves_ends_it_for_nobody() -> None:
    """Whoever hangs up while the checks are made takes the result from nobody."""
    over = Event()

    def wait() -> str | None:
        over.wait(20)
        return None

    checks = SharedChecks({"broker": wait}, {})
    leaving = asyncio.create_task(checks.results())
    staying = asyncio.create_task(checks.results())
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    over.set()

    assert {"broker": None} == await staying
    checks.close()
