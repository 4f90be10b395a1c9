"""What tests of several folders share, and which tests stay together in one of the processes that run them."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.rabbitmq_server import RabbitmqServer

# Folders whose tests use one server, which takes seconds to start: they are run by one process, so that it starts once.
_TOGETHER: Final = {
    "acceptance/distributed": "rabbitmq",
    "faults": "faults",
    "integration/amqp": "rabbitmq",
    "integration/amqp_tools": "rabbitmq",
    "integration/keystone": "keystone",
}


# They take minutes, so they begin first; what is short fills the end.
_FIRST: Final = ("faults", "acceptance", "integration/amqp", "integration/keystone", "integration/kit")


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None]:
    """Say for `--dist loadgroup` what stays together: those folders, else each file, for what its tests share."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group_of(item.path)))
    yield
    # In each half the order stays as it is: at random.
    items.sort(key=lambda item: not inside_tests(item.path).startswith(_FIRST))


def inside_tests(path: Path) -> str:
    """Return the path of a file of tests from their folder."""
    return str(path.relative_to(Path(__file__).parent))


def group_of(path: Path) -> str:
    """Return the group of a file of tests."""
    inside = inside_tests(path)
    return _TOGETHER.get(str(Path(inside).parent), inside)


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitmqServer]:
    """Give the RabbitMQ that tests share; each has a virtual host of its own, and leaves the node running."""
    with RabbitmqServer() as server:
        yield server
