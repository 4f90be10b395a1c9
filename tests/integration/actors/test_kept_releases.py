"""What a worker says to our playbooks of the releases that stay on a site."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.integration.actors.embedded_rig import Rig, Stage

REMOVAL = ("prestage_keep_releases", "prestage_protected_releases")


@pytest.fixture
def store_kind() -> str:
    """Stay on SQLite: these are rules of the worker, not of the store."""
    return "sqlite"


def said(stage: Stage) -> list[list[object]]:
    """Return what each run was given of the removal, without repeats."""
    found: list[list[object]] = []
    for job in stage.jobs:
        given = [job.extra_vars[name] for name in REMOVAL if name in job.extra_vars]
        if given not in found:
            found.append(given)
    return found


def test_runs_get_the_number_and_the_open_releases(build: Callable[..., Rig], stage: Stage) -> None:
    """With the setting each run knows how many releases stay, and that the strategy's own is one of them."""
    rig = build(keep_releases=3)
    rig.add_site("a")

    assert "complete" == rig.run_strategy()
    assert [[3, ["23.09"]]] == said(stage)


def test_without_the_setting_nothing_is_said(build: Callable[..., Rig], stage: Stage) -> None:
    """The default removes nothing: runs are given neither variable."""
    rig = build()
    rig.add_site("a")

    assert "complete" == rig.run_strategy()
    assert [[]] == said(stage)
