"""Fixtures of the tests over SSH: one server for each file, a controller for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.sites.ssh_controller import SshController
from tests.support.ssh_server import SshServer, ssh_server


@pytest.fixture(scope="module")
def server() -> Iterator[SshServer]:
    """Give a real SSH server with one user who becomes root by password."""
    with ssh_server() as running:
        yield running


@pytest.fixture
def controller(tmp_path: Path, server: SshServer) -> Iterator[SshController]:
    """Give a running controller."""
    made = SshController(tmp_path, server)
    yield made
    made.service.end()
