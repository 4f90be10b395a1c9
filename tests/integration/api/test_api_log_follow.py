"""Following the log of a step over HTTP: what is told, when it ends, and who is turned away."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import delete, insert, update

from api import step_log as follow_module
from api import step_log as followers_module
from api.context import SERVICES
from api.step_log import LOG_FOLLOWERS
from api.stream import serving as serving_module
from db.errors import DatabaseUnavailableError
from db.schema import live_outputs, preparations, run_outputs, runs, steps, strategies
from db.tokens import TokenStore
from tests.support import api_rows
from tests.support.served_api import ServedApi
from tests.support.waiting import PATIENCE_S, wait_for

BASE = "/v1.0/sw-update-strategy/steps"
PREPARE, PACKAGES, IMAGES = "prestage-prepare", "prestaging-packages", "prestaging-images"
DEADLINE_S = PATIENCE_S


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often."""
    monkeypatch.setattr(followers_module, "_PAUSE_S", 0.02)
    monkeypatch.setattr(follow_module, "_SHORTEST_PAUSE_S", 0.02)
    monkeypatch.setattr(follow_module, "_LONGEST_PAUSE_S", 0.02)


class Reader:
    """What somebody who follows reads, through the chunks."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self.status = 0
        self.headers: dict[str, str] = {}

    async def begin(self) -> None:
        """Read the head."""
        head = (await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), DEADLINE_S)).decode()
        first, *lines = head.strip().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    async def piece(self) -> str:
        """Return the next chunk; empty at the end."""
        size = int(await asyncio.wait_for(self._reader.readline(), DEADLINE_S), 16)
        return (await self._reader.readexactly(size + 2))[:-2].decode()

    async def until(self, end: str) -> str:
        """Return what comes up to `end`."""
        found = ""
        while not found.endswith(end):
            piece = await self.piece()
            assert piece, f"the log ended with {found!r}"
            found += piece
        return found

    async def rest(self) -> str:
        """Return what comes until the log ends."""
        found = ""
        while piece := await self.piece():
            found += piece
        return found


@asynccontextmanager
async def following(api: ServedApi, query: str = "", name: str = "a", path: str | None = None) -> AsyncIterator[Reader]:
    """Follow until the end of the block; `path` is that of another log than a step's."""
    reader, writer = await asyncio.open_connection(api.host, api.port)
    place = path or f"{BASE}/{name}/log"
    head = f"GET {place}?follow=1{query} HTTP/1.1\r\nHost: t\r\nX-Auth-Token: {api.token('reader')}\r\n"
    writer.write(f"{head}Connection: close\r\n\r\n".encode())
    made = Reader(reader)
    try:
        await made.begin()
        yield made
    finally:
        writer.close()


def at_work(api: ServedApi, phase: str = PACKAGES, *, said: bytes = b"", **run: Any) -> None:
    """Have the step of `a` work on a phase, by run 1."""
    api.insert(strategies, api_rows.strategy(1, state="applying"))
    api.insert(steps, api_rows.step(1, "a", strategy_id=1, state=phase, started_at=api_rows.STARTED))
    api.insert(runs, running(1, phase, **run))
    if said:
        say(api, 1, said)


def running(run_id: int, phase: str = PACKAGES, **values: Any) -> dict[str, Any]:
    """Return a run that goes on."""
    return api_rows.run(run_id, phase, **{"step_id": 1, "state": "running", "outcome": None, **values})


def say(api: ServedApi, run_id: int, content: bytes, at_bytes: int = 0) -> None:
    """Have a run print something."""
    api.insert(live_outputs, {"run_id": run_id, "end_bytes": at_bytes + len(content), "content": content})


def end_run(api: ServedApi, run_id: int, output: bytes | None, outcome: str = "succeeded", details: str = "") -> None:
    """End a run as its worker does; without an output as one that was lost."""
    with api.database.write() as connection:
        ended = {"state": "finished", "outcome": outcome, "details": details}
        connection.execute(update(runs).where(runs.c.id == run_id).values(**ended))
        if output is not None:
            connection.execute(delete(live_outputs).where(live_outputs.c.run_id == run_id))
            connection.execute(insert(run_outputs).values(run_id=run_id, content=zlib.compress(output)))


def end_step(api: ServedApi, state: str = "complete", details: str = "") -> None:
    """End the step."""
    with api.database.write() as connection:
        ended = {"state": state, "details": details, "finished_at": api_rows.STARTED}
        connection.execute(update(steps).where(steps.c.id == 1).values(**ended))


async def test_a_phase_of_the_step_before_a_removal(api: ServedApi) -> None:
    """A phase that only an earlier step has is told of that step, and the removal after it hides nothing."""
    at_work(api)
    end_run(api, 1, b"staged\n")
    end_step(api)
    api.insert(steps, api_rows.step(2, "a", type="unstage", state="unstaging", started_at=api_rows.STARTED))
    api.insert(runs, running(2, "unstaging", step_id=2))

    async with following(api, f"&phase={PACKAGES}") as log:
        assert "staged\n" in await log.rest()


async def test_what_there_is_then_what_comes(api: ServedApi) -> None:
    """A running phase is told from its beginning, then as it goes on; with its outcome, and the step's, it ends."""
    at_work(api, said=b"one\n")
    async with following(api) as log:
        first = await log.until("one\n")
        say(api, 1, b"two", at_bytes=4)
        second = await log.until("two")
        end_run(api, 1, b"one\ntwo three")
        third = await log.until("succeeded ===\n")
        end_step(api)
        last = await log.rest()

    assert (200, "text/plain; charset=utf-8", "no", "no-cache, no-transform", "chunked") == (
        log.status,
        *(log.headers[name] for name in ("content-type", "x-accel-buffering", "cache-control", "transfer-encoding")),
    )
    assert "=== prestaging-packages, attempt 1, running ===\none\n" == first
    assert "two" == second
    assert " three\n=== prestaging-packages, attempt 1, succeeded ===\n" == third
    assert "=== a: complete ===\n" == last


async def test_the_phases_of_a_step_one_after_the_other(api: ServedApi) -> None:
    """What has ended comes as in the log, attempts that came to nothing left out; then phase after phase."""
    at_work(api, IMAGES, attempt=2, said=b"images\n")
    api.insert(
        runs,
        api_rows.run(2, PACKAGES, step_id=1, outcome="drained"),
        api_rows.run(3, PACKAGES, step_id=1, attempt=2),
        api_rows.run(4, "prestage-precheck", step_id=1),
    )
    for run_id, content in ((2, b"left out"), (3, b"packages")):
        api.insert(run_outputs, {"run_id": run_id, "content": zlib.compress(content)})
    async with following(api) as log:
        begin = await log.until("images\n")
        end_run(api, 1, b"images\nbad\n", "failed", "no space left")
        end_step(api, "failed", "no space left")
        end = await log.rest()

    assert (
        "=== prestaging-packages, attempt 2, succeeded ===\npackages\n"
        "=== prestaging-images, attempt 2, running ===\nimages\n"
    ) == begin
    assert (
        "bad\n=== prestaging-images, attempt 2, failed: no space left ===\n=== a: failed: no space left ===\n"
    ) == end


async def test_one_phase_through_its_attempts(api: ServedApi) -> None:
    """One phase is told without a header; a lost attempt stays as it was, the next one follows; then it ends."""
    at_work(api, said=b"first")
    async with following(api, f"&phase={PACKAGES}") as log:
        first = await log.until("first")
        end_run(api, 1, None, "lost")
        lost = await log.until("lost ===\n")
        api.insert(runs, running(2, attempt=2))
        say(api, 2, b"second\n")
        second = await log.until("second\n")
        end_run(api, 2, b"second\n")
        last = await log.rest()

    assert "first" == first
    assert "\n=== prestaging-packages, attempt 1, lost ===\n" == lost
    assert "=== prestaging-packages, attempt 2, running ===\nsecond\n" == second
    assert "=== prestaging-packages, attempt 2, succeeded ===\n" == last


async def test_a_waiting_step_is_waited_for(api: ServedApi) -> None:
    """A step that has not begun is waited for, though one of the past has a log; a preparation counts as its own."""
    api.insert(strategies, api_rows.strategy(1, state="applying"))
    api.insert(
        steps,
        api_rows.step(1, "a", strategy_id=1),
        api_rows.step(9, "a", state="complete", started_at=api_rows.STARTED, finished_at=api_rows.STARTED),
    )
    api.insert(runs, api_rows.run(9, PACKAGES, step_id=9))
    api.insert(run_outputs, {"run_id": 9, "content": zlib.compress(b"of the past")})
    async with following(api) as log:
        with api.database.write() as connection:
            begun = {"state": PREPARE, "started_at": api_rows.STARTED, "from_version": "21.12"}
            connection.execute(update(steps).where(steps.c.id == 1).values(**begun))
        api.insert(preparations, api_rows.preparation(1, strategy_id=1, state="running", opened_by_step_id=7))
        api.insert(runs, running(1, PREPARE, step_id=None, preparation_id=1))
        say(api, 1, b"prepares\n")

        assert "=== prestage-prepare, attempt 1, running ===\nprepares\n" == await log.until("prepares\n")


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("", "=== prestaging-packages, attempt 1, succeeded ===\nall of it\n=== a: complete ===\n"),
        (f"&phase={PACKAGES}", "all of it\n=== prestaging-packages, attempt 1, succeeded ===\n"),
        (f"&phase={IMAGES}", "=== a: complete ===\n"),
    ],
)
async def test_what_has_ended_is_told_and_that_is_all(api: ServedApi, query: str, told: str) -> None:
    """The log of a step that has ended is told at once, and the answer ends."""
    at_work(api)
    end_run(api, 1, b"all of it")
    end_step(api)
    async with following(api, query) as log:
        assert told == await log.rest()


@pytest.mark.parametrize(
    ("phase", "told"),
    [
        (PACKAGES, "packages\n=== prestaging-packages, attempt 1, succeeded ===\n"),
        (PREPARE, "=== a: prestaging-images ===\n"),
    ],
)
async def test_a_phase_that_is_past(api: ServedApi, phase: str, told: str) -> None:
    """A phase that the step has behind it is told to its end, or that it had no run, while the step goes on."""
    at_work(api, IMAGES)
    api.insert(runs, api_rows.run(2, PACKAGES, step_id=1))
    api.insert(run_outputs, {"run_id": 2, "content": zlib.compress(b"packages")})
    async with following(api, f"&phase={phase}") as log:
        assert told == await log.rest()


@pytest.mark.parametrize("what", [strategies, steps])
async def test_nothing_is_waited_for_that_never_comes(api: ServedApi, what: Any) -> None:
    """When the strategy of a waiting step is deleted, or the step is no longer kept, the answer ends."""
    api.insert(strategies, api_rows.strategy(1))
    api.insert(steps, api_rows.step(1, "a", strategy_id=1))
    async with following(api) as log:
        with api.database.write() as connection:
            if what is strategies:
                connection.execute(update(strategies).values(deleted_at=api_rows.CREATED))
            else:
                connection.execute(delete(steps))
        told = await log.rest()

    assert ("=== a: initial: its strategy was deleted ===\n" if what is strategies else "") == told


async def test_a_running_phase_is_shown_without_following(api: ServedApi) -> None:
    """Who does not follow gets what a running phase has printed so far, under a header that says so."""
    at_work(api, said=b"so far")

    assert "=== prestaging-packages, attempt 1, running ===\nso far\n" == (await api.send("GET", f"{BASE}/a/log")).text
    assert "so far" == (await api.send("GET", f"{BASE}/a/log?follow=0&phase={PACKAGES}")).text


async def test_who_hangs_up_makes_room(api: ServedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many follow at once; one who hangs up while nothing is printed gives his place back."""
    monkeypatch.setattr(followers_module, "_MOST", 1)
    at_work(api)
    async with following(api) as log:
        await log.until("running ===\n")
        turned_away = await api.send("GET", f"{BASE}/a/log?follow=1")
    await asyncio.to_thread(wait_for, lambda: api.app[LOG_FOLLOWERS].count == 0)

    assert (503, "5") == (turned_away.status, turned_away.headers["retry-after"])


async def test_a_slow_reader_is_dropped(api: ServedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """One who takes nothing in is dropped in bounded time."""
    monkeypatch.setattr(serving_module, "WRITE_S", 0.2)
    at_work(api)
    for place in range(16):
        say(api, 1, b"x" * 2**20, at_bytes=place * 2**20)
    async with following(api) as log:
        await asyncio.to_thread(wait_for, lambda: api.app[LOG_FOLLOWERS].count == 0)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError, ValueError)):
            await log.rest()


async def test_a_revoked_token_ends_it(api: ServedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Soon after its token was revoked a reader gets no more, and why."""
    monkeypatch.setattr(follow_module, "TOKEN_S", 0.05)
    at_work(api, said=b"half a line")
    async with following(api) as log:
        await log.until("line")
        TokenStore(api.database).revoke("reader")

        assert "\n=== the token is no longer valid ===\n" == await log.rest()


async def test_when_the_service_stops(api: ServedApi) -> None:
    """Readers are told that the service stops."""
    at_work(api)
    async with following(api) as log:
        await log.until("running ===\n")
        api.app[LOG_FOLLOWERS].close()

        assert "=== the service is stopping; follow again ===\n" == await log.rest()


@pytest.mark.parametrize("outcome", [None, "lost"])
async def test_a_database_that_is_away_is_waited_for(
    api: ServedApi, monkeypatch: pytest.MonkeyPatch, outcome: str | None
) -> None:
    """While the database does not answer a reader waits, for a run or for its next attempt, and then gets it, once."""
    at_work(api, said=b"one\n")
    if outcome:
        end_run(api, 1, None, outcome)
    async with following(api) as log:
        await log.until("one\n")
        with monkeypatch.context() as patch:
            failed = asyncio.Event()

            async def fail(_query: object) -> None:
                failed.set()
                raise DatabaseUnavailableError

            patch.setattr(api.app[SERVICES].reads, "run", fail)
            patch.setattr(api.app[LOG_FOLLOWERS], "_read", fail)
            await asyncio.wait_for(failed.wait(), DEADLINE_S)
            if outcome:
                api.insert(runs, running(2, attempt=2))
            say(api, 2 if outcome else 1, b"two", at_bytes=0 if outcome else 4)

        head = "=== prestaging-packages, attempt 2, running ===\n" if outcome else ""
        assert f"{head}two" == await log.until("two")


async def test_silence_is_broken(api: ServedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing is printed for long a line says so, for proxies close silent connections."""
    monkeypatch.setattr(follow_module, "_SILENCE_S", 0.05)
    at_work(api, said=b"half a line")
    async with following(api) as log:
        await log.until("line")

        assert "\n[... nothing new for 0.05 s ...]\n" == await log.piece()


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("nobody/log?follow=1", 404, "Strategy step not found"),
        ("a/log?follow=yes", 400, "follow must be 1 or 0"),
        ("a/log?follow=1&phase=x", 404, "Unknown phase 'x'"),
    ],
)
async def test_what_cannot_be_followed(api: ServedApi, path: str, status: int, detail: str) -> None:
    """What is not there, or asked for wrongly, is refused before anything is told."""
    api.insert(steps, api_rows.step(1, "a"))
    reply = await api.send("GET", f"{BASE}/{path}")

    assert status == reply.status
    assert reply.detail.startswith(detail)


async def test_one_run_is_followed_to_its_outcome(api: ServedApi) -> None:
    """A followed run is sent as it prints, from before a worker takes it until its outcome, and nothing of others."""
    at_work(api, said=b"", state="queued")
    async with following(api, path="/v1.0/runs/1/log") as reader:
        with api.database.write() as connection:
            connection.execute(update(runs).where(runs.c.id == 1).values(state="running"))
        say(api, 1, b"first\n")
        assert await reader.until("first\n") == "first\n"
        api.insert(runs, running(2, IMAGES))
        say(api, 2, b"of another run\n")
        say(api, 1, b"second", at_bytes=6)
        assert await reader.until("second") == "second"
        end_run(api, 1, b"first\nsecond", "failed", "no space")
        assert await reader.rest() == f"\n=== {PACKAGES}, attempt 1, failed: no space ===\n"


async def test_a_run_that_is_not_there_is_not_followed(api: ServedApi) -> None:
    """Following a run that is not known is 404."""
    async with following(api, path="/v1.0/runs/7/log") as reader:
        assert reader.status == 404
