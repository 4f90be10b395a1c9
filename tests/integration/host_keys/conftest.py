"""Fixtures of the tests of host keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.host_keys.ssh_sites import SiteInstallation, SshServerThread, ssh_servers


@pytest.fixture
def servers() -> Iterator[SshServerThread]:
    """Give SSH servers."""
    with ssh_servers() as running:
        yield running


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., SiteInstallation]]:
    """Give a function that starts an installation; all are stopped in the end."""
    started: list[SiteInstallation] = []

    def begin(**settings: Any) -> SiteInstallation:
        directory = tmp_path / str(len(started))
        directory.mkdir()
        started.append(SiteInstallation(directory, **settings))
        return started[-1]

    yield begin
    for one in started:
        one.stop()
