"""Each installation has a database, and a virtual host on the RabbitMQ that tests share, of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from cli.main import main
from tests.integration.amqp_tools.amqp_installation import AmqpInstallation, Ended, Prestager, new_installation
from tests.support.rabbitmq_server import RabbitmqServer
from tests.support.virtual_host import new_virtual_host


@pytest.fixture(scope="module")
def installation(rabbitmq: RabbitmqServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AmqpInstallation]:
    """Give an installation whose topology is declared and of which nothing runs."""
    with new_virtual_host(rabbitmq) as host:
        yield new_installation(host, tmp_path_factory.mktemp("installation"))


@pytest.fixture
def running(installation: AmqpInstallation) -> Iterator[AmqpInstallation]:
    """Give the installation with a coordinator and a worker whose playbooks do nothing."""
    installation.start()
    yield installation
    installation.stop()


@pytest.fixture
def prestager(
    installation: AmqpInstallation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Prestager:
    """Run `prestager` with arguments as the shell would, with the settings of the installation and given ones."""

    def run(*arguments: str, **settings: object) -> Ended:
        for name in [name for name in os.environ if name.startswith("PRESTAGER_")]:
            monkeypatch.delenv(name)
        for name, value in (
            installation.environment | {f"PRESTAGER_{name}": str(value) for name, value in settings.items()}
        ).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["prestager", *arguments])
        # It would hold for the whole process of the tests, which may not be able to take it back.
        monkeypatch.setattr("cli.main.forbid_memory_dumps", lambda: None)
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Ended(code=int(ended.value.code or 0), out=captured.out, err=captured.err)

    return run
