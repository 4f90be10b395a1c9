"""What tests of several folders share, and which tests stay together in one of the processes that run them."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling

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


class _Grouped(LoadScopeScheduling):
    """Gives each process whole groups.

    `--dist loadgroup` would do; with pytest 9.2 that of pytest-xdist 3.8 silently groups nothing (its issue 1386).
    """

    def _split_scope(self, nodeid: str) -> str:
        return group_of(Path(__file__).parents[1] / nodeid.partition("::")[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """Keep together what shares something, with `--dist loadscope`: those folders, else each file."""
    return _Grouped(config, log) if config.getvalue("dist") == "loadscope" else None


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None]:
    """Have what takes minutes begin first."""
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
