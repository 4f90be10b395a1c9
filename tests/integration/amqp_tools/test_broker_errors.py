"""Errors of the broker in words for operators: from both libraries, and by what the commands and processes say."""

from __future__ import annotations

import gc
import logging
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from socket import create_server
from threading import Thread
from typing import Final

import pytest
import structlog
from aio_pika import Connection
from dramatiq.errors import ConnectionClosed
from structlog.testing import capture_logs

from broker.amqp.connection import short_connection
from broker.amqp.dramatiq_broker import PrestagerBroker
from broker.amqp.errors import BrokerUnavailableError, PublishError, explain_broker_error
from broker.amqp.publisher import Publisher
from broker.amqp.topology_check import TopologyCheck
from monitoring.logging import configure_logs
from tests.integration.amqp_tools.amqp_installation import AmqpInstallation, Prestager
from tests.support.server_certificates import make_certificate
from tests.support.tcp_proxy import HOST

NAMES: Final = ("Error:", "Exception", "AMQP", "Probable", "errno", "Errno", "_ssl", "Connector", "hunter2")

Url = Callable[[AmqpInstallation], str]


def with_password(installation: AmqpInstallation) -> str:
    """Return the address with a wrong password."""
    return installation.host.url_of(installation.host.server.user, "hunter2")


def with_vhost(installation: AmqpInstallation) -> str:
    """Return the address of a virtual host that is not there."""
    return f"amqp://{installation.host.server.user}:{installation.host.server.password}@{HOST}:{installation.host.server.port}/nowhere"


def without_rights(installation: AmqpInstallation) -> str:
    """Return the address for a user who may do nothing at the virtual host."""
    installation.host.server.console.add_user("rightless", "hunter2")
    return installation.host.url_of("rightless", "hunter2")


def over_tls(installation: AmqpInstallation) -> str:
    """Return the address with TLS at the port that has none."""
    return installation.host.url().replace("amqp://", "amqps://")


PROBLEMS: Final = {
    "password": (
        with_password,
        "refuses the user or its password",
        "Correct user and password in PRESTAGER_BROKER_URL",
    ),
    "vhost": (with_vhost, "virtual host", "rabbitmqctl add_vhost"),
    "rights": (without_rights, "virtual host", "set_permissions"),
    "port": (lambda _: f"amqp://u:hunter2@{HOST}:9/", "nothing listens at this port", "Start RabbitMQ"),
    "name": (lambda _: "amqp://u:hunter2@no-such-host.invalid/", "host name is not known", "Correct the host"),
    "tls": (over_tls, "does not speak TLS", "amqp:// in place of amqps://"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_what_is_wrong_and_what_to_do(installation: AmqpInstallation, name: str) -> None:
    """Both libraries' errors are one reason with one remedy, which name no class and no password."""
    url_of, reason, remedy = PROBLEMS[name]
    url = url_of(installation)
    publisher = Publisher(url, "test")
    publisher.start()
    try:
        with pytest.raises(PublishError) as published:
            publisher.declare()
    finally:
        publisher.stop()
    with pytest.raises(BrokerUnavailableError) as connected, short_connection(url, "test", timeout_s=5):
        pass

    for problem in (published.value.problem, connected.value.problem):
        assert problem is not None
        assert reason in problem.reason
        assert remedy in problem.remedy
    text = f"{published.value} {connected.value}"
    assert [] == [word for word in NAMES if word in text]


@pytest.fixture
def tls_port(tmp_path: Path) -> Iterator[int]:
    """Give a port that speaks TLS alone, with a certificate that nobody trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*make_certificate(tmp_path))
    with create_server((HOST, 0)) as listener:

        def serve() -> None:
            # Ends when the listener is closed.
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with suppress(OSError), context.wrap_socket(connection, server_side=True):
                        pass
                    connection.close()

        Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def test_a_port_for_tls(tls_port: int) -> None:
    """Without TLS at a port for it, the remedy is amqps; with it, an untrusted certificate is named as that."""
    found = {}
    for scheme in ("amqp", "amqps"):
        connection = short_connection(f"{scheme}://u:hunter2@{HOST}:{tls_port}/", "test", timeout_s=5)
        with pytest.raises(BrokerUnavailableError) as error, connection:
            pass
        found[scheme] = str(error.value)

    assert "ended the connection. See that RabbitMQ runs; where the port is for TLS, write amqps://" in found["amqp"]
    assert "shows a certificate that this machine does not trust" in found["amqps"]


@pytest.mark.parametrize("error", [ValueError("x"), RuntimeError()])
def test_what_nobody_foresaw(error: Exception) -> None:
    """Any other error means that the broker cannot be used, without the error's own words."""
    assert "cannot be used" == explain_broker_error(error).reason


@pytest.mark.parametrize(
    "command",
    [("queues",), ("drain", "--all"), ("dead-letters", "list"), ("dead-letters", "purge", "commands", "--yes")],
    ids=" ".join,
)
def test_commands(installation: AmqpInstallation, prestager: Prestager, command: tuple[str, ...]) -> None:
    """Each command that asks the broker ends with the same sentence, and nothing else, where the login is wrong."""
    ended = prestager(*command, BROKER_URL=with_password(installation))

    assert 1 == ended.code
    assert ended.err == (
        f"Error: The broker at {HOST}:{installation.host.server.port} refuses the user or its password. Correct user"
        " and password in PRESTAGER_BROKER_URL; guest may log in on RabbitMQ's own machine only.\n"
    )


def test_a_connection_that_failed_is_closed(installation: AmqpInstallation) -> None:
    """What a refused login leaves is closed, so that no other thread closes it, in an event loop that nobody ends."""
    publisher = Publisher(with_password(installation), "test")
    publisher.start()
    try:
        assert not publisher.connect()
        left = [one for one in gc.get_objects() if isinstance(one, Connection)]
        assert [one for one in left if not one.is_closed] == []
    finally:
        publisher.stop()


def test_the_log_of_a_process(installation: AmqpInstallation) -> None:
    """A process that waits for the broker logs reason and remedy once, and again each minute."""
    now = [0.0]
    publisher = Publisher(with_password(installation), "test")
    publisher.start()
    upkeep = TopologyCheck(publisher, lambda: now[0])
    try:
        with capture_logs() as logs:
            upkeep.check()
            upkeep.check()
            now[0] = 61.0
            upkeep.check()
    finally:
        publisher.stop()

    expected = {
        "event": "broker.not-ready",
        "fault": "the broker refuses the user or its password",
        "advice": "Correct user and password in PRESTAGER_BROKER_URL; guest may log in on RabbitMQ's own machine only.",
        "log_level": "warning",
    }
    assert [expected, expected] == logs


def test_the_log_of_consumers(
    installation: AmqpInstallation, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Dramatiq logs of a consumer is one line a minute in our words; the libraries below log nothing."""
    publisher = Publisher(with_password(installation), "test")
    publisher.start()
    broker = PrestagerBroker(with_password(installation), "test", publisher, lambda *_: lambda *_: None)
    before, configured = logging.getLogger().handlers[:], structlog.get_config()
    configure = structlog.configure
    # A logger that is kept would outlive this test.
    monkeypatch.setattr("structlog.configure", lambda **kept: configure(**kept | {"cache_logger_on_first_use": False}))
    try:
        configure_logs("json", "info")
        log = logging.getLogger("dramatiq.worker.ConsumerThread(prestager.commands)")
        for _ in range(2):
            with pytest.raises(ConnectionClosed) as closed:
                broker.consume("prestager.commands")
            log.critical("Consumer encountered a connection error: %s", closed.value)
    finally:
        publisher.stop()
        logging.basicConfig(handlers=before, force=True)
        configure(**configured)

    lines = capfd.readouterr().err.splitlines()
    assert 1 == len(lines)
    assert "connection error: the broker refuses the user or its password" in lines[0]
