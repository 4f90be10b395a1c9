from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock
from urllib.request import Request, urlopen

import aio_pika
import pytest
from aio_pika import DeliveryMode, Message
from aio_pika.exceptions import ProbableAuthenticationError

from tests.support.rabbitmq_server import QueueState, RabbitmqServer
from tests.support.server import ServerUnavailableError
from tests.support.tcp_proxy import HOST
from tests.support.waiting import PATIENCE_S, wait_for

ROOT = Path(__file__).parents[3]
PERSISTENT = Message(b"prestage", delivery_mode=DeliveryMode.PERSISTENT)
QUORUM: dict[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": 5}
DIES = """
import os, signal
from tests.support.rabbitmq_server import RabbitmqServer
server = RabbitmqServer()
print(server.data_dir, server.port, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[RabbitmqServer]:
    with RabbitmqServer("consumer_timeout = 5000") as server:
        yield server


async def publish(url: str, queue: str, arguments: dict[str, Any]) -> None:
    """Declare a queue and publish one persistent message; returns when the node has confirmed it."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        await channel.declare_queue(queue, durable=True, arguments=arguments)
        await channel.default_exchange.publish(PERSISTENT, queue, mandatory=True)


async def fetch(url: str, queue: str) -> bytes:
    """Return the body of the first message of a queue, and acknowledge it."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        message = await (await channel.get_queue(queue)).get()
        await message.ack()
        return message.body


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def managed_node(server: RabbitmqServer) -> str:
    """Return the name that the management page gives the node."""
    login = b64encode(f"{server.user}:{server.password}".encode()).decode()
    page = f"http://{HOST}:{server.management_port}/api/overview"
    with urlopen(Request(page, headers={"Authorization": f"Basic {login}"}), timeout=30) as answer:
        return str(json.load(answer)["node"])


@pytest.mark.parametrize(
    "go_down_and_up", [lambda s: (s.kill(), s.start()), lambda s: s.restart()], ids=["kill", "stop"]
)
async def test_a_confirmed_message_survives(
    server: RabbitmqServer, go_down_and_up: Callable[[RabbitmqServer], object]
) -> None:
    """A persistent message that the node has confirmed is there after an ordered stop and after a crash."""
    await publish(server.url, "survives-classic", {})
    await publish(server.url, "survives-quorum", QUORUM)
    server.settle()
    go_down_and_up(server)

    bodies = [await fetch(server.url, "survives-classic"), await fetch(server.url, "survives-quorum")]
    assert [b"prestage"] * 2 == bodies


async def test_guest_is_unknown(server: RabbitmqServer) -> None:
    """The user that every node knows at first cannot log in."""
    with pytest.raises(ProbableAuthenticationError):
        await aio_pika.connect(f"amqp://guest:guest@{HOST}:{server.port}/")


def test_the_operator_sees_the_configuration(server: RabbitmqServer) -> None:
    """Lines of configuration that a test gives are in force."""
    answer = server.rabbitmqctl("eval", "application:get_env(rabbit, consumer_timeout).")

    assert "{ok,5000}" == answer.strip()


def test_an_operators_mistake_is_told(server: RabbitmqServer) -> None:
    """A command that fails fails the test, with what the node said."""
    with pytest.raises(AssertionError, match="no-such-command"):
        server.rabbitmqctl("no-such-command")


async def test_queues_tell_their_state(server: RabbitmqServer) -> None:
    """A queue shows what waits, what is being worked on, who listens and how it was declared."""
    await publish(server.url, "told", QUORUM)
    await publish(server.url, "told", QUORUM)
    async with await aio_pika.connect(server.url) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=1)
        await (await channel.get_queue("told")).consume(AsyncMock())

        expected = QueueState(ready_count=1, unacked_count=1, consumer_count=1, arguments=QUORUM)
        await asyncio.to_thread(wait_for, lambda: expected == server.queues()["told"], 30.0)


async def test_a_memory_alarm_blocks_publishers(server: RabbitmqServer) -> None:
    """While the alarm lasts nothing is confirmed; afterwards all is."""
    server.set_memory_alarm(True)
    publishing = asyncio.create_task(publish(server.url, "alarmed", {}))
    done, _ = await asyncio.wait([publishing], timeout=0.3)
    server.set_memory_alarm(False)
    await asyncio.wait_for(publishing, PATIENCE_S)

    assert not done


def test_a_frozen_node_keeps_silent(server: RabbitmqServer) -> None:
    """A frozen node accepts connections and answers nothing until it goes on."""
    server.pause()
    with socket.create_connection((HOST, server.port), timeout=0.2) as client:
        client.sendall(b"AMQP\x00\x00\x09\x01")
        with pytest.raises(TimeoutError):
            client.recv(1)
        server.resume()
        client.settimeout(30)

        assert b"\x01" == client.recv(1)


def test_nothing_is_left_after_an_exception() -> None:
    """A test that fails leaves neither files nor a node; while it ran, its management page answered."""
    with pytest.raises(ZeroDivisionError) as error, RabbitmqServer(management=True) as server:
        raise ZeroDivisionError(managed_node(server))

    assert server.node == str(error.value)
    assert not server.data_dir.parent.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, server.port))


def test_nothing_is_left_after_a_killed_test() -> None:
    """A test process that is killed leaves neither files nor a node."""
    done = subprocess.run([sys.executable, "-c", DIES], check=False, cwd=ROOT, capture_output=True, text=True)
    directory, port = done.stdout.split()

    assert -signal.SIGKILL == done.returncode
    wait_for(lambda: not Path(directory).parent.exists() and not listens(int(port)))


def test_a_machine_without_rabbitmq_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the package."""
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)

    with pytest.raises(ServerUnavailableError, match="apt-get install rabbitmq-server"):
        RabbitmqServer()
