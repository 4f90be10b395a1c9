"""A simulated fleet in this process, on free ports, for tests that need real SSH logins."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from simulator.rules import read_rule
from simulator.simulation import Fleet, FleetPlan, serve_fleet
from tests.support.waiting import PATIENCE_S

START_S = PATIENCE_S


@contextmanager
def simulated_fleet(directory: Path, *faults: str, count: int = 2, **plan: Any) -> Iterator[Fleet]:
    """Serve a fleet until the block ends; its password is in `directory`/password."""
    password = "Li69nux*$(x)"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "password").write_text(f"{password}\n")
    given: dict[str, Any] = {"release": "22.12", "target": "23.09", "free_ports": True, **plan}
    rules = [read_rule(fault) for fault in faults]
    server = _Server(
        FleetPlan(directory=directory / "fleet", site_count=count, rules=rules, **given),
        password,
        directory / "password",
    )
    server.start()
    try:
        yield server.fleet()
    finally:
        server.stop()


class _Server(threading.Thread):
    """Runs the fleet's event loop."""

    def __init__(self, plan: FleetPlan, password: str, password_file: Path) -> None:
        super().__init__(name="fleet")
        self._arguments = (plan, password, password_file)
        self._up = threading.Event()
        self._fleet: Fleet | None = None
        self._loop = asyncio.new_event_loop()
        self._stop_requested = asyncio.Event()

    def run(self) -> None:
        """Serve until a signal to stop."""
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        finally:
            self._up.set()

    async def _serve(self) -> None:
        async with serve_fleet(*self._arguments) as self._fleet:
            self._up.set()
            await self._stop_requested.wait()

    def fleet(self) -> Fleet:
        """Return the fleet once it listens."""
        assert self._up.wait(START_S)
        assert self._fleet is not None, "the fleet did not start"
        return self._fleet

    def stop(self) -> None:
        """Stop serving and wait for the end."""
        self._loop.call_soon_threadsafe(self._stop_requested.set)
        self.join()
