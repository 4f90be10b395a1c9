"""A private RabbitMQ node on loopback, which a test may stop, kill, freeze and starve.

Needs no running service and touches none: node name, cookie, port mapper (epmd), ports, configuration and data are its
own, in a temporary directory, and are gone afterwards, also when the process of the test is killed.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.rabbitmq_console import RabbitmqConsole
from tests.support.server import Server, ServerUnavailableError, tail
from tests.support.tcp_proxy import HOST, free_port
from tests.support.waiting import wait_for

# The scripts behind Debian's wrappers, which insist on the user and the directories of the system's service.
_PROGRAMS = Path("/usr/lib/rabbitmq/bin")
_AMQP_GREETING = b"AMQP\x00\x00\x09\x01"
# The share of the machine's memory above which publishers are blocked: the server's default, and any use at all.
_WATERMARKS = {False: "0.4", True: "0"}
_LOOPBACK_ONLY = "-kernel inet_dist_use_interface {127,0,0,1}"
# Quorum queues count their messages only every so many milliseconds; the default of 5000 is long for a test.
_SERVER_ARGUMENTS = f"{_LOOPBACK_ONLY} -rabbit quorum_tick_interval 200"


@dataclass(frozen=True, kw_only=True)
class QueueState:
    """What the node says about one queue."""

    ready_count: int  # messages that wait for a consumer
    unacked_count: int  # messages that a consumer has and has not acknowledged
    consumer_count: int
    arguments: dict[str, Any]  # x-argument → value, as declared


class RabbitmqServer(Server):
    """A running node with one user, who is an administrator; `guest` does not exist.

    Attributes:
        port: For AMQP; all ports are the same for life, also while the node is down.
        management_port: For HTTP; None without the management plugin.
        user: Name of the user.
        password: Of the user.
        node: Erlang name of the node.
        data_dir: What the node keeps on disk: definitions, messages, the journals of quorum queues.
        log_dir: What the node says, and its crash dumps.

    Args:
        config: More lines for rabbitmq.conf, such as `consumer_timeout = 5000`, in milliseconds.
        management: Whether the management plugin runs; adds about two seconds to a start.

    Raises:
        ServerUnavailableError: RabbitMQ is not installed.

    """

    def __init__(self, config: str = "", *, management: bool = False) -> None:
        self._programs = _find_programs()
        super().__init__("prestager-rabbit-")
        self.port, self._distribution_port, self._epmd_port = free_port(), free_port(), free_port()
        self.management_port = free_port() if management else None
        self.user, self.password = f"test-{secrets.token_hex(4)}", secrets.token_urlsafe(16)
        self.node = f"prestager-test-{secrets.token_hex(4)}@localhost"
        self.data_dir, self.log_dir = self._root / "data", self._root / "log"
        self._log = self.log_dir / "server.log"
        self._console: RabbitmqConsole | None = None
        self._write_configuration(config)
        self._environment = self._make_environment()
        epmd = ["epmd", "-port", str(self._epmd_port), "-address", HOST]
        self._epmd = subprocess.Popen(epmd, stdin=subprocess.DEVNULL, env=self._environment, start_new_session=True)
        self._start_guarded(self._epmd.pid)

    @property
    def url(self) -> str:
        """Return the address with user and password, for the virtual host `/`."""
        return self.url_at(self.port)

    def url_at(self, port: int) -> str:
        """Return the address at another port: that of a proxy before the node."""
        return f"amqp://{self.user}:{self.password}@{HOST}:{port}/%2F"

    def start(self) -> None:
        """Start the node, which is down; returns when it greets clients, with all queues there."""
        command = [self._programs / "rabbitmq-server"]
        self._launch(command, self._log, cwd=self.log_dir, env=self._environment)

    def close(self) -> None:
        """End the node and its port mapper and remove all they have written; a second call does nothing."""
        self.kill()
        if self._console is not None:
            self._console.close()
            self._console = None
        self._epmd.kill()
        self._epmd.wait(self.deadline_s)
        super().close()

    def rabbitmqctl(self, *arguments: str) -> str:
        """Run an operator's command on the node; return what it prints.

        Takes about a second of one core; `console` answers at once.

        Raises:
            AssertionError: It failed.

        """
        command = [str(self._programs / "rabbitmqctl"), "--quiet", "--node", self.node, *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=self._environment)
        assert done.returncode == 0, f"rabbitmqctl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    @property
    def console(self) -> RabbitmqConsole:
        """Return what asks the node by Erlang expressions."""
        if self._console is None:
            self._console = RabbitmqConsole(self.node, _LOOPBACK_ONLY, self._environment)
        return self._console

    def queues(self, vhost: str = "/") -> dict[str, QueueState]:
        """Return the state of all queues of a virtual host, by name; counts of a quorum queue lag by 0.2 s."""
        return {row["name"]: _queue_state(row) for row in self.console.queues(vhost)}

    def settle(self) -> None:
        """Put the names of new quorum queues on disk, for which the node itself takes up to a second.

        A quorum queue that is younger when the node is killed is lost with its confirmed messages (3.10.8): a new,
        empty one takes its place, finds no leader, and lets clients wait for ever.
        """
        self.console.evaluate("[ok = dets:sync(Table) || Table <- dets:all()].")

    def set_memory_alarm(self, on: bool) -> None:
        """Raise the memory alarm, which blocks all connections that publish, or end it."""
        self.console.evaluate(f"vm_memory_monitor:set_vm_memory_high_watermark({_WATERMARKS[on]}).")
        wait_for(lambda: on == ("memory" in self.console.evaluate("rabbit_alarm:get_alarms().")), self.deadline_s)

    def serve_metrics(self, **settings: str) -> int:
        """Switch the Prometheus exporter on, until the node goes down; return its port.

        Args:
            settings: Of the plugin, as Erlang has them, such as `return_per_object_metrics="true"`.

        """
        port = free_port()
        for name, value in {"tcp_config": f'[{{ip, "{HOST}"}}, {{port, {port}}}]', **settings}.items():
            self.console.evaluate(
                f"ok = application:set_env(rabbitmq_prometheus, {name}, {value}, [{{persistent, true}}])."
            )
        plugins = self._root / "enabled_plugins"
        enabled = "[rabbitmq_management, rabbitmq_prometheus]" if self.management_port else "[rabbitmq_prometheus]"
        plugins.write_text(f"{enabled}.\n", encoding="ascii")
        self.console.evaluate(f'{{ok, _, _}} = rabbit_plugins:ensure("{plugins}").')
        return port

    def _write_configuration(self, config: str) -> None:
        for directory in (self.data_dir, self.log_dir):
            directory.mkdir()
        cookie = self._root / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16), encoding="ascii")
        cookie.chmod(0o400)
        # Instead of the one in /etc/rabbitmq, which is for the system's service.
        (self._root / "rabbitmq-env.conf").touch()
        plugins = "[rabbitmq_management]" if self.management_port else "[]"
        (self._root / "enabled_plugins").write_text(f"{plugins}.\n", encoding="ascii")
        lines = [
            f"listeners.tcp.1 = {HOST}:{self.port}",
            f"default_user = {self.user}",
            f"default_pass = {self.password}",
            "default_user_tags.administrator = true",
        ]
        if self.management_port:
            lines += [f"management.tcp.ip = {HOST}", f"management.tcp.port = {self.management_port}"]
        (self._root / "rabbitmq.conf").write_text("\n".join([*lines, config, ""]), encoding="utf-8")

    def _make_environment(self) -> dict[str, str]:
        # Nothing of this process's own settings for RabbitMQ or Erlang may leak in.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        return inherited | {
            "HOME": str(self._root),
            "ERL_CRASH_DUMP": str(self.log_dir / "erl_crash.dump"),
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_CONF_ENV_FILE": str(self._root / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(self._root / "rabbitmq.conf"),
            "RABBITMQ_CTL_ERL_ARGS": _LOOPBACK_ONLY,
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._root / "enabled_plugins"),
            "RABBITMQ_LOG_BASE": str(self.log_dir),
            "RABBITMQ_MNESIA_BASE": str(self.data_dir),
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_PID_FILE": str(self._root / "rabbit.pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _SERVER_ARGUMENTS,
            # Makes the start script become the server instead of its parent, so that signals reach the server itself.
            "detached": "1",
        }

    def _answers(self) -> bool:
        if self._epmd.poll() is not None:
            raise ServerUnavailableError(f"The port mapper ended while the server started.\n{tail(self._log)}")
        try:
            with socket.create_connection((HOST, self.port), timeout=self.deadline_s) as probe:
                probe.sendall(_AMQP_GREETING)
                return probe.recv(1) != b""
        except OSError:
            return False


class StrictRabbitmq(RabbitmqServer):
    """A node that takes a delivery back after 5 s instead of 30 minutes, and looks every second instead of minute."""

    def __init__(self) -> None:
        super().__init__("consumer_timeout = 5000")

    def _make_environment(self) -> dict[str, str]:
        environment = super()._make_environment()
        environment["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"] += " -rabbit channel_tick_interval 1000"
        return environment


def _queue_state(row: dict[str, Any]) -> QueueState:
    return QueueState(
        ready_count=row["messages_ready"],
        unacked_count=row["messages_unacknowledged"],
        consumer_count=row["consumers"],
        arguments=row["arguments"],
    )


def _find_programs() -> Path:
    program = shutil.which("rabbitmq-server", path=f"{_PROGRAMS}:/usr/sbin:{os.environ.get('PATH', '')}")
    if program is None or shutil.which("epmd") is None:
        raise ServerUnavailableError("Broker tests need a package of this machine: apt-get install rabbitmq-server")
    return Path(program).resolve().parent
