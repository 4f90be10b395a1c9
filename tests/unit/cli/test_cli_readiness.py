"""What the service tells those who started it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from service import readiness_reporter
from service.readiness_reporter import ReadinessReporter
from tests.support.waiting import wait_for


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    """Give the socket that systemd would listen on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        yield listening


async def test_systemd_is_told(listener: socket.socket) -> None:
    """Ready, alive, and at the end that it stops; children do not inherit whom to tell."""
    environment = {"NOTIFY_SOCKET": listener.getsockname()}
    told, stop = ReadinessReporter(None, environment), asyncio.Event()
    telling = asyncio.create_task(told.report_until(stop))
    first = [await asyncio.to_thread(listener.recv, 100) for _ in range(2)]
    stop.set()
    await telling

    assert [b"READY=1", b"WATCHDOG=1"] == first
    assert b"STOPPING=1" == listener.recv(100)
    assert {} == environment


async def test_the_file_lives_as_long_as_the_service_is_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed one left is removed; the file is there while ready, is renewed, and goes at the stop."""
    monkeypatch.setattr(readiness_reporter, "BEAT_S", 0.01)
    file, stop = tmp_path / "ready", asyncio.Event()
    file.touch()
    told = ReadinessReporter(file, {})
    assert not file.exists()

    telling = asyncio.create_task(told.report_until(stop))
    await asyncio.to_thread(wait_for, file.exists, 5)
    first = file.stat().st_mtime_ns
    await asyncio.to_thread(wait_for, lambda: file.stat().st_mtime_ns != first, 5)
    stop.set()
    await telling

    assert not file.exists()


async def test_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that cannot tell works all the same."""
    stop = asyncio.Event()
    stop.set()

    await ReadinessReporter(tmp_path / "none" / "ready", {"NOTIFY_SOCKET": "@nobody-listens-here"}).report_until(stop)
