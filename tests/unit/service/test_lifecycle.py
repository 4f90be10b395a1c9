"""The parts of a process: started in order, drained and stopped in reverse, and which parts a process has."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from runner.fake import FakeRunner
from service.amqp_messaging import AmqpMessaging
from service.dramatiq_process import ProcessLife
from service.lifecycle import Lifecycle, Part, nothing
from service.process import _Service
from service.roles import ALL_ROLES, ProcessRole
from service.settings import Settings
from service.wiring import Process, build


@pytest.fixture
def heap() -> Iterator[None]:
    """Have the heap of the tests collected again afterwards."""
    yield
    gc.unfreeze()


WORKER_ENDS = ["worker.drain", "webhooks.drain", "worker.stop", "relay.stop", "webhooks.stop"]


class RecordedParts:
    """Fake parts a, b and c that record their calls; `failing` calls raise an error that names them."""

    def __init__(self, *failing: str) -> None:
        self.calls: list[str] = []
        self._failing = failing
        self.lifecycle = Lifecycle(
            [
                Part(
                    name=name,
                    start=self._call("start", name),
                    drain=self._call("drain", name),
                    stop=self._call("stop", name),
                )
                for name in "abc"
            ]
        )

    def _call(self, verb: str, name: str) -> Callable[[], None]:
        def call() -> None:
            self.calls.append(f"{verb} {name}")
            if f"{verb} {name}" in self._failing:
                raise ValueError(f"{verb} {name}")

        return call

    def take_calls(self) -> list[str]:
        """Return the calls since the last time."""
        calls, self.calls = self.calls, []
        return calls


def test_parts_stop_in_reverse() -> None:
    """Parts start in order; at the stop all are drained in reverse, and only then stopped in reverse."""
    parts = RecordedParts()

    parts.lifecycle.start()
    started = parts.take_calls()
    parts.lifecycle.stop()

    assert ["start a", "start b", "start c"] == started
    assert ["drain c", "drain b", "drain a", "stop c", "stop b", "stop a"] == parts.take_calls()


def test_a_stop_is_carried_out_once() -> None:
    """A second stop, and a stop of parts that were never started, do nothing."""
    parts = RecordedParts()
    parts.lifecycle.stop()
    parts.lifecycle.start()
    parts.lifecycle.stop()
    parts.take_calls()

    parts.lifecycle.stop()

    assert [] == parts.take_calls()


def test_a_failed_start_stops_what_was_started() -> None:
    """When a part fails to start, those before it are stopped in reverse, no other is, and the error is raised."""
    parts = RecordedParts("start c")

    with pytest.raises(ValueError, match="start c"):
        parts.lifecycle.start()

    assert ["start a", "start b", "start c", "drain b", "drain a", "stop b", "stop a"] == parts.take_calls()


def test_the_error_of_the_start_is_the_one_that_is_raised() -> None:
    """A part that fails to stop after a failed start is logged; the error of the start is raised."""
    parts = RecordedParts("start c", "stop b")

    with capture_logs() as logs, pytest.raises(ValueError, match="start c"):
        parts.lifecycle.start()

    assert ["service.not-stopped"] == [line["event"] for line in logs]
    assert "stop a" == parts.take_calls()[-1]


def test_a_failed_stop_keeps_no_other_part_running() -> None:
    """A part that fails to drain or to stop does not keep the others from their end; an error is raised after all."""
    parts = RecordedParts("drain c", "stop b")
    parts.lifecycle.start()
    parts.take_calls()

    with pytest.raises(ValueError, match="stop b"):
        parts.lifecycle.stop()

    assert ["drain c", "drain b", "drain a", "stop c", "stop b", "stop a"] == parts.take_calls()


def built(directory: Path, roles: frozenset[ProcessRole] = ALL_ROLES, **settings: Any) -> Process:
    """Return a process that is not started."""
    given = Settings(
        data_dir=directory,
        release="23.09",
        host_keys="ignore",
        deploy_dir=directory / "deploy",
        feed_dir=directory / "feed",
        **settings,
    )
    return build(given, roles, lambda done: FakeRunner(slots=1, on_finished=done))


def names(process: Process) -> list[str]:
    """Return the names of the parts, in their order."""
    process.database.close()
    if isinstance(process.messaging, AmqpMessaging):
        # Made with the publisher, closed by its stop.
        process.messaging._publisher._loop.close()
    return [part.name for part in process.lifecycle.parts]


COMMON = ["heartbeat", "webhooks", "outbox-relay", "worker", "dramatiq", "retention", "forecaster", "reconciler"]
BROKER = "amqp://u:p@127.0.0.1:9/"


def test_parts_without_a_broker(tmp_path: Path) -> None:
    """Without a broker the messages of the process before are forgotten first, before any part makes new ones."""
    assert ["unpublished", "runner", "recovery", *COMMON] == names(built(tmp_path))


def test_parts_over_a_broker(tmp_path: Path) -> None:
    """Over RabbitMQ the same parts follow the connection; the heartbeat follows the recovery, the worker the relay."""
    parts = names(built(tmp_path, broker_url=BROKER))

    assert ["publisher", "topology", "connection", "runner", "recovery", "events", *COMMON] == parts


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("api", ["publisher", "topology", "heartbeat", "outbox-relay", "dramatiq"]),
        (
            "coordinator",
            ["publisher", "topology", "events", *(name for name in COMMON if name != "worker")],
        ),
        (
            "worker",
            [
                "publisher",
                "topology",
                "connection",
                "runner",
                "recovery",
                "heartbeat",
                "outbox-relay",
                "worker",
                "dramatiq",
            ],
        ),
    ],
)
def test_parts_of_one_role(tmp_path: Path, role: str, expected: list[str]) -> None:
    """A process of one role has the parts of that role, in the same order."""
    assert expected == names(built(tmp_path, frozenset({ProcessRole(role)}), broker_url=BROKER))


def test_webhooks_end_beside_playbooks(tmp_path: Path) -> None:
    """A receiver that does not answer puts nothing off: webhooks are told to end first, and waited for last."""
    process = built(tmp_path)
    process.database.close()
    calls: list[str] = []

    def recorded(part: Part) -> Part:
        def call(verb: str) -> Callable[[], None]:
            return lambda: calls.append(f"{part.name.removeprefix('outbox-')}.{verb}")

        drain = nothing if part.drain is nothing else call("drain")
        return replace(part, start=nothing, drain=drain, stop=call("stop"))

    watched = {"worker", "webhooks", "outbox-relay"}
    lifecycle = Lifecycle([recorded(part) for part in process.lifecycle.parts if part.name in watched])
    lifecycle.start()
    lifecycle.stop()

    assert WORKER_ENDS == calls


async def test_a_second_signal_waits_for_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first signal has the parts stopped in order; a second one ends the process at once, with its status."""
    process = built(tmp_path)
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    service = _Service(process)

    service._signalled(signal.SIGTERM)
    first = [*ended]
    service._asked_to_stop_at -= 1.0
    service._signalled(signal.SIGTERM)
    await asyncio.to_thread(process.database.close)

    assert [] == first
    assert [128 + signal.SIGTERM] == ended


async def test_a_signal_that_is_repeated_at_once_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal and a wrapper may both send a signal: within half a second it is one request to stop in order."""
    process = built(tmp_path)
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    service = _Service(process)

    service._signalled(signal.SIGINT)
    service._signalled(signal.SIGTERM)
    await asyncio.to_thread(process.database.close)

    assert [] == ended


@pytest.mark.usefixtures("heap")
async def test_a_started_process_collects_only_what_came_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process made before it is ready is never looked at again by the garbage collector."""
    process = replace(built(tmp_path, listen="127.0.0.1:0"), lifecycle=Lifecycle([]))
    service = _Service(process)
    monkeypatch.setattr(service, "_listen_to_signals", service._stop.set)

    await service.run()
    frozen_count = gc.get_freeze_count()
    await asyncio.to_thread(process.database.close)

    assert frozen_count > len(gc.get_objects())


@pytest.mark.usefixtures("heap")
def test_a_process_of_dramatiq_collects_only_what_came_later(tmp_path: Path) -> None:
    """So it is under Dramatiq's own command."""
    process = replace(built(tmp_path), lifecycle=Lifecycle([]))
    process.database.close()

    ProcessLife(process).after_process_boot(process.messaging.broker)

    assert gc.get_freeze_count() > len(gc.get_objects())
