"""An installation over the private RabbitMQ: settings, outside users, queues to look into, a coordinator and worker."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker
from sqlalchemy import Select, func, select

from broker.amqp.publisher import Publisher
from broker.amqp.topology import QUEUES
from db.database import Database
from db.schema import strategies
from messages.queues import COMMANDS
from runner.fake import FakeRunner
from service.roles import ProcessRole
from service.settings import Settings
from service.wiring import Installation, build
from statemachine.host_keys import HostKeyPolicy
from tests.support.rabbitmq_server import RabbitmqServer
from tests.support.tcp_proxy import HOST
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[3]
END_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Prestager = Callable[..., Ended]


@dataclass
class AmqpInstallation:
    """One installation; see the module."""

    rabbitmq: RabbitmqServer
    vhost: str
    settings: Settings
    process: Installation | None = field(default=None)

    @property
    def url(self) -> str:
        """Return the broker's address with the administrator's password."""
        return self.url_of(self.rabbitmq.user, self.rabbitmq.password)

    def url_of(self, user: str, password: str) -> str:
        """Return the broker's address for a user."""
        return f"amqp://{user}:{password}@{HOST}:{self.rabbitmq.port}/{self.vhost}"

    def outsider(self, *, configure: str = "", write: str = "", read: str = "") -> str:
        """Return the broker's address for a new user with these rights only."""
        user, password = f"out-{secrets.token_hex(4)}", secrets.token_hex(12)
        self.rabbitmq.console.add_user(user, password)
        self.rabbitmq.console.permit(self.vhost, user, configure, write, read)
        return self.url_of(user, password)

    def start(self) -> None:
        """Start a coordinator and a worker whose playbooks do nothing; returns when commands are consumed."""
        roles = frozenset({ProcessRole.COORDINATOR, ProcessRole.WORKER})
        process = build(self.settings, roles, lambda done: FakeRunner(slots=4, on_finished=done))
        self.process = process
        process.actors.start(process.runner)
        wait_for(lambda: self._consumers(COMMANDS), END_S)

    def stop(self) -> None:
        """End both."""
        if self.process is not None:
            self.process.actors.stop()
            self.process.database.close()
            self.process = None

    @contextmanager
    def channel(self) -> Iterator[BlockingChannel]:
        """Give a channel of the administrator's that confirms."""
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            yield channel

    def declare(self) -> None:
        """Make what is missing of the topology."""
        publisher = Publisher(self.url, "test topology")
        publisher.start()
        publisher.declare()
        publisher.stop()

    def put(self, queue: str, body: bytes, **properties: Any) -> None:
        """Put a message into a queue."""
        with self.channel() as channel:
            channel.basic_publish("", queue, body, pika.BasicProperties(**properties), mandatory=True)

    def count(self, queue: str) -> int:
        """Return how many messages wait in a queue."""
        with self.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).method.message_count)

    def _consumers(self, queue: str) -> int:
        with suppress(ChannelClosedByBroker), self.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).method.consumer_count)
        return 0

    def await_count(self, queue: str, count: int) -> None:
        """Wait until so many messages wait in a queue."""
        wait_for(lambda: self.count(queue) == count, END_S)

    def purge(self) -> None:
        """Empty every queue."""
        with self.channel() as channel:
            for queue in QUEUES:
                channel.queue_purge(queue.name)

    def rows(self, table: Any) -> int:
        """Return how many rows a table has."""
        return int(self._ask(select(func.count()).select_from(table)))

    def strategy_state(self) -> str:
        """Return the state of the newest strategy."""
        return str(self._ask(select(strategies.c.state).order_by(strategies.c.id.desc()).limit(1)))

    def _ask(self, query: Select[Any]) -> Any:
        database = Database(self.settings.sqlalchemy_url)
        try:
            with database.read() as connection:
                return connection.execute(query).scalar_one()
        finally:
            database.close()

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of our commands."""
        given = {
            "DATA_DIR": self.settings.data_dir,
            "BROKER_URL": self.url,
            "RELEASE": self.settings.release,
            "DEPLOY_DIR": self.settings.deploy_dir,
            "FEED_DIR": self.settings.feed_dir,
            "WORKER_NAME": self.settings.worker_name,
            "SLOTS": self.settings.slots,
            "HOST_KEYS": self.settings.host_keys,
        }
        return {"PATH": os.environ["PATH"]} | {f"PRESTAGER_{name}": str(value) for name, value in given.items()}

    def send(self, url: str, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Run the example of a publisher; return its exit code and the answer."""
        done = subprocess.run(
            [sys.executable, ROOT / "examples" / "publish_command.py", *arguments],
            env={"PATH": os.environ["PATH"], "AMQP_URL": url},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)


def new_installation(rabbitmq: RabbitmqServer, directory: Path) -> AmqpInstallation:
    """Return an installation in a virtual host and a directory of its own, with its topology declared."""
    vhost = f"tools-{secrets.token_hex(4)}"
    rabbitmq.console.add_vhost(vhost, rabbitmq.user)
    for name in ("deploy", "feed"):
        (directory / name).mkdir()
    installation = AmqpInstallation(rabbitmq=rabbitmq, vhost=vhost, settings=Settings(data_dir=directory / "data"))
    installation.settings = Settings(
        data_dir=directory / "data",
        broker_url=installation.url,  # type: ignore[arg-type]
        release="23.09",
        host_keys=HostKeyPolicy.IGNORE,
        deploy_dir=directory / "deploy",
        feed_dir=directory / "feed",
        worker_name=vhost,
        slots=4,
        webhook_allow_networks="127.0.0.0/8",
    )
    installation.declare()
    return installation
