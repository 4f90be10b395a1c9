"""The listener of a process for those who watch it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import pytest
from aiohttp import ClientSession, web

from monitoring import http_server as listener_module
from monitoring.http_server import Health, create_monitor
from monitoring.metrics import ProcessMetrics

Ask = Callable[[str], Awaitable[tuple[int, str]]]


class Process:
    """What a process knows of itself; a test may change it."""

    def __init__(self) -> None:
        self.alive: Mapping[str, str | None] = {"loops": None}
        self.ready: Mapping[str, str | None] | Exception | None = {"database": None}
        self.started = True

    def health(self) -> Health:
        """Return it as the listener asks."""
        return Health(alive=lambda: self.alive, ready=self._ready, started=lambda: self.started)

    async def _ready(self) -> Mapping[str, str | None]:
        if self.ready is None:
            await asyncio.Event().wait()
        if isinstance(self.ready, Exception):
            raise self.ready
        assert self.ready is not None
        return self.ready


@pytest.fixture
def process() -> Process:
    """Give the process."""
    return Process()


@pytest.fixture
async def ask(process: Process) -> AsyncIterator[Ask]:
    """Give a function that asks the listener."""
    metrics = ProcessMetrics()
    metrics.command_answered("strategy.apply", 200)
    runner = web.AppRunner(create_monitor(metrics.registry, process.health()))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as session:

        async def ask(path: str) -> tuple[int, str]:
            async with session.get(path) as answer:
                return answer.status, await answer.text()

        yield ask
    await runner.cleanup()


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/startupz"])
async def test_all_is_well(ask: Ask, path: str) -> None:
    """A process that is well answers 200 to each question, with the result of each check."""
    status, text = await ask(path)

    assert (200, True) == (status, '"ok": true' in text)


async def test_what_is_wrong_is_said(ask: Ask, process: Process) -> None:
    """Each question is answered 503 with the sentence of what is wrong, and the others stay as they are."""
    process.alive = {"loops": "leases ended"}
    process.started = False
    process.ready = {"database": "cannot be read", "broker": None}

    assert (503, True) == ((answer := await ask("/livez"))[0], "leases ended" in answer[1])
    assert (503, True) == ((answer := await ask("/startupz"))[0], "still starting" in answer[1])
    status, text = await ask("/readyz")
    assert (503, True, True) == (status, "cannot be read" in text, '"broker": "ok"' in text)


@pytest.mark.parametrize("trouble", [None, RuntimeError("Li69nux*")])
async def test_a_check_that_breaks(
    ask: Ask, process: Process, trouble: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that never ends or breaks means: not ready; its error is not shown."""
    monkeypatch.setattr(listener_module, "_READINESS_S", 0.05)
    process.ready = trouble
    status, text = await ask("/readyz")

    assert (503, False) == (status, "Li69nux" in text)


async def test_metrics(ask: Ask) -> None:
    """Metrics come in the text form of Prometheus, with what runs here."""
    status, text = await ask("/metrics")

    assert 200 == status
    assert 'prestager_commands_total{status="200",type="strategy.apply"} 1.0' in text
    assert "prestager_build_info{" in text
    assert "process_cpu_seconds_total" in text
