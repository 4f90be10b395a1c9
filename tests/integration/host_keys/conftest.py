"""Fixtures of the tests of host keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.host_keys.ssh_sites import Prestager, SshServerThread, ssh_servers


@pytest.fixture
def servers() -> Iterator[SshServerThread]:
    """Give SSH servers."""
    with ssh_servers() as running:
        yield running


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Prestager]]:
    """Give a function that starts an installation; all are stopped in the end."""
    started: list[Prestager] = []

    def begin(**settings: Any) -> Prestager:
        directory = tmp_path / str(len(started))
        directory.mkdir()
        started.append(Prestager(directory, **settings))
        return started[-1]

    yield begin
    for one in started:
        one.stop()
