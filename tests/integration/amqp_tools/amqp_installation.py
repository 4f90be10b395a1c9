"""An installation over the private RabbitMQ: settings, outside users, queues to look into, a coordinator and worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Select, func, select

from db.database import Database
from db.schema import strategies
from messages.queues import COMMANDS
from service.roles import ProcessRole
from service.settings import Settings
from statemachine.host_keys import HostKeyPolicy
from tests.support.installation import Installation, StartedInstallation
from tests.support.virtual_host import VirtualHost
from tests.support.waiting import PATIENCE_S, wait_for

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Prestager = Callable[..., Ended]


@dataclass
class AmqpInstallation:
    """Settings and a virtual host; a coordinator and a worker are started and stopped."""

    host: VirtualHost
    settings: Settings
    process: StartedInstallation | None = field(default=None)

    def start(self) -> None:
        """Start a coordinator and a worker whose playbooks do nothing; returns when commands are consumed."""
        roles = frozenset({ProcessRole.COORDINATOR, ProcessRole.WORKER})
        self.process = Installation.over_rabbitmq(
            self.settings.data_dir, self.host.url(), roles=roles, slots=4, whole_settings=self.settings
        )
        wait_for(lambda: self.host.consumers(COMMANDS))

    def stop(self) -> None:
        """End both."""
        if self.process is not None:
            self.process.stop()
            self.process = None

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
            "BROKER_URL": self.host.url(),
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
            timeout=PATIENCE_S,
        )
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)


def new_installation(host: VirtualHost, directory: Path) -> AmqpInstallation:
    """Return an installation in a virtual host and a directory of its own."""
    for name in ("deploy", "feed"):
        (directory / name).mkdir()
    settings = Settings(
        data_dir=directory / "data",
        broker_url=host.url(),  # type: ignore[arg-type]
        release="23.09",
        host_keys=HostKeyPolicy.IGNORE,
        deploy_dir=directory / "deploy",
        feed_dir=directory / "feed",
        worker_name=host.name,
        slots=4,
        webhook_allow_networks="127.0.0.0/8",
    )
    return AmqpInstallation(host, settings)
