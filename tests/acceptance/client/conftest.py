"""A service in a process of its own, local sites with playbooks that are done at once, and an operator's shell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.imported_sites import READY, import_sites_at
from tests.support.journal_playbooks import write_playbooks
from tests.support.operator_shell import OperatorShell
from tests.support.service_process import ServiceProcess

# The last one fails in its packages.
SITES = ("edge-1", "edge-2", "broken")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A running service; its sites are ready."""
    directory = tmp_path_factory.mktemp("service")
    write_playbooks(directory / "playbooks", seconds=0)
    (directory / "deploy" / "23.09").mkdir(parents=True)
    (directory / "journal").mkdir()
    service = ServiceProcess(
        directory,
        PLAYBOOKS_DIR=directory / "playbooks",
        DEPLOY_DIR=directory / "deploy",
        FEED_DIR=directory / "feed",
    )
    service.prepare()
    variables = {**READY, "ansible_connection": "local", "journal_dir": str(directory / "journal")}
    broken = variables | {"journal_dir": "/proc/nowhere"}
    import_sites_at(service.database_url, {name: broken if name == "broken" else variables for name in SITES})
    service.start()
    yield service
    service.end()


@pytest.fixture
def shell(service: ServiceProcess, tmp_path: Path) -> Iterator[OperatorShell]:
    """A shell that knows the service; the strategy that a test leaves is made history."""
    shell = OperatorShell(tmp_path, f"http://127.0.0.1:{service.port}", service.token)
    yield shell
    status, _ = service.get("/v1.0/sw-update-strategy")
    if status == 200:
        assert shell.strategy("delete", "--yes").code == 0
