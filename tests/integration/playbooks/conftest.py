"""Fixtures of the playbooks' tests: a site for each test, one SSH server for all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.playbooks.playbook_site import PlaybookSite, build_site
from tests.support.ssh_server import SshServer, ssh_server


@pytest.fixture
def site(tmp_path: Path) -> PlaybookSite:
    """Return a site that runs the previous release; nothing is prepared."""
    return build_site(tmp_path)


@pytest.fixture(scope="session")
def server() -> Iterator[SshServer]:
    """Return an SSH server; a machine that cannot host one fails the test and says what to install."""
    with ssh_server() as running:
        yield running
