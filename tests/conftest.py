"""Lanes of the tests, fixtures that folders share, and the tests that stay together in one process."""

from __future__ import annotations

import gc
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.support.compiled_statements import share_compiled_statements
from tests.support.rabbitmq_server import RabbitmqServer

# Folders whose tests use one server, which takes seconds to start: they are run by one process, so that it starts once.
_TOGETHER: Final = {
    # One browser.
    "browser": "browser",
    "acceptance/distributed": "rabbitmq",
    "faults": "faults",
    # Apart from the others: all of them together would take longer than anything else.
    "integration/amqp": "amqp",
    "integration/amqp_tools": "rabbitmq",
    "integration/keystone": "keystone",
    "integration/takeover": "rabbitmq",
}


# Folders of the quick lane, `make test`: seconds of processor time a file. Single tests of others are marked `quick`.
_QUICK: Final = (
    "unit/",
    "property/",
    "integration/actors/",
    "integration/api/",
    "integration/db/",
    "integration/sysinv/",
)
# Files of these folders that take longer.
_NOT_QUICK: Final = frozenset(
    {
        "integration/actors/test_own_playbooks.py",
        "integration/actors/test_preview_agreement.py",
        "integration/actors/test_retried_sites.py",
        "integration/actors/test_strategy_endings.py",
        "integration/actors/test_sysinv_strategy.py",
        "integration/api/test_api_undecodable.py",
        "integration/db/test_db_first_start.py",
        "integration/db/test_db_loader.py",
        "integration/db/test_db_query_plans.py",
        "integration/db/test_db_unavailable.py",
        "property/test_forecast_calibration.py",
        # Each of its imports starts Ansible anew.
        "unit/cli/test_cli_import_surroundings.py",
    }
)

# In the quick lane the rules of the coordinator are tried on SQLite; what differs on PostgreSQL is marked `quick`.
_QUICK_ON_SQLITE: Final = "integration/actors/"

# They take minutes, so they begin first, and in this order: what is short fills the end.
_FIRST: Final = (
    "integration/amqp/",
    "faults",
    "acceptance/distributed",
    "browser",
    "integration/api_document",
    "integration/playbooks",
    "integration/keystone",
    "integration/runner/test_playbook_results",
    "integration/runner",
    "acceptance",
    "integration/host_keys",
    "integration/servers",
    "integration/takeover",
    # Of the quick lane.
    "integration/api",
    "integration/actors",
    "integration/db",
    "unit/cli",
)


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


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the choice of a lane."""
    parser.addoption("--lane", choices=("quick", "rest", "all"), help="the quick tests, all others, or both")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave what has no test of the quick lane unread in that lane: importing it takes each process seconds."""
    is_left_out = config.getoption("lane") == "quick" and not may_have_quick_tests(collection_path)
    return True if is_left_out else None


def may_have_quick_tests(path: Path) -> bool:
    """Return whether a file of tests, or a folder of them, may have tests of the quick lane."""
    return any(
        _is_quick_file(file) or "mark.quick" in file.read_text(encoding="utf-8")
        for file in (path.rglob("test_*.py") if path.is_dir() else [path])
    )


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
    """Keep the tests of the lane, and have what takes minutes begin first."""
    yield
    lane = config.getoption("lane")
    if lane in ("quick", "rest"):
        left_out = [item for item in items if is_quick(item) != (lane == "quick")]
        items[:] = [item for item in items if is_quick(item) == (lane == "quick")]
        config.hook.pytest_deselected(items=left_out)
    # Among those of one place in the list the order stays as it is: at random.
    items.sort(key=lambda item: place_of(item.path))


def place_of(path: Path) -> int:
    """Return the place of a file of tests in the order of their beginning."""
    inside = inside_tests(path)
    return next((place for place, begin in enumerate(_FIRST) if inside.startswith(begin)), len(_FIRST))


def inside_tests(path: Path) -> str:
    """Return the path of a file of tests from their folder."""
    return str(path.relative_to(Path(__file__).parent))


def is_quick(item: pytest.Item) -> bool:
    """Return whether a test belongs to the quick lane."""
    if item.get_closest_marker("quick") is not None:
        return True
    call = getattr(item, "callspec", None)
    is_second = call is not None and call.params.get("database_kind") == "postgresql"
    return _is_quick_file(item.path) and not (is_second and inside_tests(item.path).startswith(_QUICK_ON_SQLITE))


def _is_quick_file(path: Path) -> bool:
    inside = inside_tests(path)
    return inside.startswith(_QUICK) and inside not in _NOT_QUICK


def group_of(path: Path) -> str:
    """Return the group of a file of tests."""
    inside = inside_tests(path)
    return _TOGETHER.get(str(Path(inside).parent), inside)


def pytest_collection_finish() -> None:
    """Exempt all tests and modules from garbage collection: they stay to the end, and looking at all of them costs."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _statements_are_compiled_once() -> None:
    share_compiled_statements()


@pytest.fixture(scope="session", autouse=True)
def _no_signal_is_ignored() -> None:
    """Have what tests start know every signal, also where this run ignores some: in the background, or by nohup."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            # Unlike a signal that is ignored, a function is not inherited.
            signal.signal(number, lambda _number, _frame: None)


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitmqServer]:
    """Give the RabbitMQ that tests share; each has a virtual host of its own, and leaves the node running."""
    with RabbitmqServer() as server:
        yield server
