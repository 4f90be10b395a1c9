"""Makes the demonstration content and this folder importable, and gives each test a site of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

for folder in (Path(__file__).resolve().parents[3], Path(__file__).resolve().parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from playbook_site import PlaybookSite, build_site  # noqa: E402

from tests.ssh_server import SshServer, ssh_server  # noqa: E402


@pytest.fixture
def site(tmp_path: Path) -> PlaybookSite:
    """Return a site that runs the previous release; nothing is prepared."""
    return build_site(tmp_path)


@pytest.fixture(scope="session")
def server() -> Iterator[SshServer]:
    """Return an SSH server; a machine that cannot host one fails the test and says what to install."""
    with ssh_server() as running:
        yield running
