"""What a worker says to our playbooks of the releases that stay on a site."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.fake_playbooks import FakePlaybooks
from tests.support.installation import StartedInstallation

REMOVAL = ("prestage_keep_releases", "prestage_protected_releases")


@pytest.fixture
def database_kind() -> str:
    """Stay on SQLite: these are rules of the worker, not of the database."""
    return "sqlite"


def said(fake_playbooks: FakePlaybooks) -> list[list[object]]:
    """Return what each run was given of the removal, without repeats."""
    found: list[list[object]] = []
    for job in fake_playbooks.jobs:
        given = [job.extra_vars[name] for name in REMOVAL if name in job.extra_vars]
        if given not in found:
            found.append(given)
    return found


def test_runs_get_the_number_and_the_open_releases(
    build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
) -> None:
    """With the setting each run knows how many releases stay, and that the strategy's own is one of them."""
    installation = build(keep_releases=3)
    installation.add_site("a")

    assert "complete" == installation.run_strategy()
    assert [[3, ["23.09"]]] == said(fake_playbooks)


def test_without_the_setting_nothing_is_said(
    build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
) -> None:
    """The default removes nothing: runs are given neither variable."""
    installation = build()
    installation.add_site("a")

    assert "complete" == installation.run_strategy()
    assert [[]] == said(fake_playbooks)
