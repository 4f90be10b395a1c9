"""Time limits of a strategy's phases and sites, as its workers keep them (`rollout.timeouts`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update

from db.schema import runs, steps, strategies
from messages.commands import CommandType
from runner.fake import FakeRunEnd
from tests.support.fake_playbooks import IMAGES, PACKAGES, PREPARE, FakePlaybooks
from tests.support.installation import StartedInstallation
from tests.support.waiting import wait_for

LONG = FakeRunEnd(delay_s=300.0)


def run_with(
    build: Callable[..., StartedInstallation], playbooks: FakePlaybooks, timeouts: dict[str, float], **settings: Any
) -> StartedInstallation:
    """Run a strategy of one site with time limits to its end."""
    installation = build(playbooks=playbooks, **settings)
    installation.upload_image_list()
    installation.add_site("a")
    installation.create()
    with installation.database.write() as connection:
        connection.execute(update(strategies).values(rollout={"timeouts": timeouts}))
    installation.verb("apply")
    installation.ending()
    return installation


@pytest.mark.parametrize(
    ("playbook", "option", "sentence"),
    [
        (PREPARE, "prepare-s", "The limit of 1 s (prepare-s) was reached in prestage-prepare."),
        (PACKAGES, "packages-s", "The limit of 1 s (packages-s) was reached in prestaging-packages."),
        (IMAGES, "images-s", "The limit of 1 s (images-s) was reached in prestaging-images."),
        (IMAGES, "site-s", "The site's limit of 4 s (site-s) was reached in prestaging-images."),
    ],
)
def test_a_phase_ends_at_its_limit(
    build: Callable[..., StartedInstallation], playbook: str, option: str, sentence: str
) -> None:
    """A phase that passes its limit, or that of its site, fails, and the step's details say which limit it was."""
    playbooks = FakePlaybooks()
    playbooks.end("a", playbook, LONG)
    # The limit of the site is for its other phases too.
    installation = run_with(build, playbooks, {option: 4 if option == "site-s" else 1})

    assert "failed" == installation.state()
    assert installation.step("a")["details"].endswith(sentence)


@pytest.mark.parametrize(
    ("on_limit", "first", "details"),
    [
        ("abort", "complete", ""),
        ("cancel", "aborted", "cancelled in prestaging-packages by the strategy's limit of 1 s (strategy-s)"),
    ],
)
def test_a_strategy_ends_at_its_limit(
    build: Callable[..., StartedInstallation], on_limit: str, first: str, details: str
) -> None:
    """A strategy that passes its limit starts no further site; what runs ends by itself, or is stopped."""
    playbooks = FakePlaybooks()
    playbooks.end("a", PACKAGES, LONG if on_limit == "cancel" else FakeRunEnd(delay_s=2.0))
    installation = build(playbooks=playbooks)
    installation.upload_image_list()
    for name in "ab":
        installation.add_site(name)
    created = installation.create(**{"subcloud-apply-type": "serial"})
    assert 200 == created.status, created.detail
    installation.verb("apply")
    wait_for(lambda: PACKAGES in playbooks.played("a"))
    # Only now, that a busy machine has come so far before it.
    limits = {"timeouts": {"strategy-s": 1, "on-strategy-limit": on_limit}}
    changed = installation.ask(CommandType.STRATEGY_UPDATE, password=None, type="prestage", rollout=limits)
    assert 200 == changed.status, changed.detail

    assert "aborted" == installation.ending()
    assert (first, details) == (installation.step("a")["state"], installation.step("a")["details"])
    assert "aborted" == installation.step("b")["state"]
    shown = installation.verb("delete").body
    assert "The strategy's limit of 1 s (strategy-s) was reached." == shown["limit-reached"]


def test_a_limit_of_a_phase_replaces_its_setting(build: Callable[..., StartedInstallation]) -> None:
    """A phase with a limit of its own may take longer than its setting allows."""
    playbooks = FakePlaybooks()
    playbooks.end("a", PACKAGES, FakeRunEnd(delay_s=1.5))
    installation = run_with(build, playbooks, {"packages-s": 60}, packages_deadline_s=1)

    assert "complete" == installation.state()
    (job,) = [job for job in playbooks.jobs if job.playbook.stem == PACKAGES]
    assert (None, 60) == (job.deadline_s, job.limit_s)
    assert 60 == job.extra_vars["prestage_deadline_s"]


def test_runs_of_a_site_add_up(build: Callable[..., StartedInstallation]) -> None:
    """Times of a site's runs from claim to end add up in its step; later phases get what is left of `site-s`."""
    playbooks = FakePlaybooks()
    playbooks.end("a", PACKAGES, FakeRunEnd(delay_s=1.0))
    installation = run_with(build, playbooks, {"site-s": 50})
    (step,) = installation.rows(steps)
    limits = {job.playbook.stem: job.limit_s for job in playbooks.jobs}

    assert "complete" == installation.state()
    assert 1.0 <= step["worked_s"] < 20
    assert limits[PREPARE] is None
    assert limits[IMAGES] <= 49 < limits[PACKAGES] <= 50
    assert all(row["outcome"] == "succeeded" for row in installation.rows(runs))
