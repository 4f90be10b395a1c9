"""Fixtures of the coordinator's tests: everything runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.fake_playbooks import FakePlaybooks
from tests.support.installation import Installation, StartedInstallation


@pytest.fixture
def installation(new_database_url: Callable[..., str]) -> Iterator[Installation]:
    """Give an installation whose controller runs 23.09."""
    installation = Installation.of_coordinator(new_database_url())
    yield installation
    installation.database.close()


@pytest.fixture
def fake_playbooks() -> FakePlaybooks:
    """Give what decides how playbooks end."""
    return FakePlaybooks()


@pytest.fixture
def build(
    tmp_path: Path, fake_playbooks: FakePlaybooks, new_database_url: Callable[..., str]
) -> Iterator[Callable[..., StartedInstallation]]:
    """Give a function that starts an installation, the same one again each time; all are stopped in the end."""
    started: list[StartedInstallation] = []
    database_url = new_database_url()

    def start(**options: object) -> StartedInstallation:
        given = {"playbooks": fake_playbooks, "database_url": database_url, **options}
        started.append(Installation.embedded(tmp_path, **given))
        return started[-1]

    yield start
    for installation in started:
        installation.stop()
