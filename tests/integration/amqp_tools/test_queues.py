"""`prestager queues`: what waits, who takes it, and what that means."""

from __future__ import annotations

import socket

import pytest

from broker.amqp.topology import dead_letters_of
from broker.queue_states import State, verdict
from cli import queues_command
from messages.queues import COMMANDS, COORDINATOR, PRECHECKS, SUBCLOUDS
from tests.integration.amqp_tools.amqp_installation import AmqpInstallation, Prestager
from tests.support.tcp_proxy import HOST
from tests.support.waiting import wait_for


def lines(text: str) -> dict[str, list[str]]:
    """Return ready, consumers, workers, free slots and meaning by queue."""
    # Before it there may be lines of the log.
    head, *rows = text[text.index("QUEUE ") :].splitlines()
    begins = [head.index(name) for name in ("QUEUE", "READY", "CONSUMERS", "WORKERS", "FREE SLOTS", "MEANING")]
    cells = [[row[a:b].strip() for a, b in zip(begins, [*begins[1:], None], strict=True)] for row in rows]
    return {name: rest for name, *rest in cells}


def test_a_running_installation(running: AmqpInstallation, prestager: Prestager) -> None:
    """Every queue is shown with its consumers; dead letters are named with what to do."""
    running.host.purge()
    running.host.put(dead_letters_of(SUBCLOUDS), b"{}")

    def settled() -> dict[str, list[str]]:
        found = lines(prestager("queues").out)
        return found if all(found[name][1] == "1" for name in (COMMANDS, PRECHECKS, SUBCLOUDS)) else {}

    found = wait_for(settled)
    running.host.purge()

    name = running.settings.worker_name
    assert ["0", "1", "", "", "commands of callers, who wait"] == found[COMMANDS]
    assert [name, "4 of 4", "playbooks that wait for a slot"] == found[SUBCLOUDS][2:]
    assert ["1", "0", "", "", "look at them: prestager dead-letters list prestager.subclouds"] == found[
        dead_letters_of(SUBCLOUDS)
    ]


def test_draining_and_taking_again(running: AmqpInstallation, prestager: Prestager) -> None:
    """A worker that drains is named with the way back; undrained it takes again; an unknown one is not found."""
    name = running.settings.worker_name

    def found(column: int) -> str:
        return lines(prestager("queues").out)[SUBCLOUDS][column]

    wait_for(lambda: found(1) == "1")
    drained = prestager("drain", name)
    wait_for(lambda: found(1) == "0" and "draining" in found(2))
    explained, shown = found(4), prestager("workers").out
    undrained = [prestager("undrain", name), prestager("undrain", "--all")]
    wait_for(lambda: (found(1), found(2)) == ("1", name))
    unknown = prestager("undrain", f"{name}x")

    assert (0, ["RUNS", "LEFT", name, "0"]) == (drained.code, drained.out.split()[-4:])
    assert "prestager undrain NAME" in explained
    assert "draining" in shown
    assert [(0, ["RUNS", name, "0"])] * 2 == [(one.code, one.out.split()[-3:]) for one in undrained]
    assert (1, True) == (
        unknown.code,
        f"There is no worker '{name}x' among those that are alive: {name}" in unknown.err,
    )
    assert f"did you mean {name}?" in unknown.err


def test_nobody_runs(installation: AmqpInstallation, prestager: Prestager) -> None:
    """Where nobody takes what waits, it is said what to start."""
    installation.host.purge()
    found = lines(prestager("queues").out)

    assert ["0", "0"] == found[COMMANDS][:2]
    assert "prestager coordinator" in found[COMMANDS][4]
    assert ("none", True) == (found[SUBCLOUDS][2], "Start one: prestager worker" in found[SUBCLOUDS][4])


@pytest.mark.parametrize(
    ("queue", "state", "expected"),
    [
        (COMMANDS, None, "not made yet"),
        (COMMANDS, (51, 1), "more than usual"),
        (COORDINATOR, (3, 1), "results of runs"),
        (PRECHECKS, (3, 0), "no worker serves it"),
        (SUBCLOUDS, (400, 1), "playbooks that wait for a slot"),
        (SUBCLOUDS, (0, 0), "nobody takes them now"),
        (dead_letters_of(COMMANDS), (0, 0), "none, as it should"),
    ],
)
def test_what_it_means(queue: str, state: State, expected: str) -> None:
    """What a state means is said in words, and what to do where something is wrong."""
    assert expected in verdict(queue, state)


def test_a_broker_that_says_nothing(prestager: Prestager, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that never answers is told as one that is away."""
    monkeypatch.setattr(queues_command, "_TIMEOUT_S", 0.3)
    with socket.create_server((HOST, 0)) as silent:
        ended = prestager("queues", BROKER_URL=f"amqp://{HOST}:{silent.getsockname()[1]}/")

    assert (1, True) == (ended.code, "does not answer" in ended.err)


def test_without_a_broker(prestager: Prestager) -> None:
    """A broker that is away or not set is told, with what to do."""
    away = prestager("queues", BROKER_URL="amqp://127.0.0.1:1/")
    unset = prestager("queues", BROKER_URL="")

    assert (1, True) == (away.code, "127.0.0.1:1 takes no connection" in away.err)
    assert (1, True) == (unset.code, "PRESTAGER_BROKER_URL" in unset.err)
