"""A virtual host for each file on the RabbitMQ that tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.installation import Installation, StartedInstallation
from tests.support.rabbitmq_server import RabbitmqServer
from tests.support.virtual_host import Requester, VirtualHost, new_virtual_host


@pytest.fixture(scope="module")
def shared_host(rabbitmq: RabbitmqServer) -> Iterator[VirtualHost]:
    """Give the virtual host of the file."""
    with new_virtual_host(rabbitmq) as host:
        yield host


@pytest.fixture
def host(shared_host: VirtualHost) -> VirtualHost:
    """Give the virtual host with our topology, all queues empty."""
    shared_host.clear()
    return shared_host


@pytest.fixture
def start(tmp_path: Path, host: VirtualHost) -> Iterator[Callable[..., StartedInstallation]]:
    """Give a function that starts a process of one installation; all are stopped in the end."""
    installations: list[StartedInstallation] = []

    def begin(**options: Any) -> StartedInstallation:
        installations.append(Installation.over_rabbitmq(tmp_path, options.pop("url", host.url()), **options))
        return installations[-1]

    yield begin
    for installation in installations:
        installation.stop()


@pytest.fixture
def requester(host: VirtualHost) -> Iterator[Requester]:
    """Give a foreign publisher."""
    made = Requester(host)
    yield made
    made.close()
