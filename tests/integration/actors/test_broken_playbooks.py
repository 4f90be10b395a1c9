"""A worker whose playbooks cannot be loaded starts none: its runs wait, and no site fails for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from db.heartbeats import all_processes
from db.schema import runs
from messages.commands import CommandType
from playbook_sets.playbook_readiness import PlaybookReadiness
from runner.fake import FakeRunEnd
from statemachine.states import RunOutcome, StepState
from tests.support.fake_playbooks import PACKAGES, PREPARE, FakePlaybooks
from tests.support.installation import StartedInstallation
from tests.support.waiting import wait_for

ON_SQLITE = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
ERROR = "x.yml, line 3, needs the module xml."


class Loader:
    """Stands in for Ansible, which loads the set."""

    def __init__(self) -> None:
        self.version, self.error = "1", ""

    def fingerprint(self) -> str:
        return self.version

    def first_error(self, *, again: bool = False) -> str | None:
        return self.error or None

    def stop(self) -> None:
        pass

    def change(self, error: str) -> None:
        """Exchange the files of the set."""
        self.error, self.version = error, self.version + "+"


def load_with(installation: StartedInstallation, loader: Loader) -> PlaybookReadiness:
    """Let the worker of an installation load its playbooks."""
    playbooks = installation.process.worker.playbooks
    playbooks._loader = loader
    playbooks.check()
    return playbooks


def reported(installation: StartedInstallation) -> str | None:
    """Return what the process reports of its playbooks."""
    with installation.database.read() as connection:
        return all_processes(connection)[0]["playbooks_error"]


@ON_SQLITE
def test_runs_wait_while_the_set_is_broken(
    build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
) -> None:
    """From a change of the files on no playbook begins before they were loaded; then the strategy goes to its end."""
    installation, loader = build(), Loader()
    installation.add_site("a")
    installation.add_site("b")
    playbooks = load_with(installation, loader)
    installation.create(cloud_name="a")
    loader.change(ERROR)
    wait_for(lambda: playbooks.obstacle() == ERROR)
    installation.verb("apply")
    wait_for(lambda: len(installation.rows(runs, state="queued", phase=StepState.PREPARE)) == 1)
    wait_for(lambda: reported(installation) == ERROR)
    refused = installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="b")
    played = [*fake_playbooks.jobs]
    loader.change("")

    assert "complete" == installation.ending()
    assert ([], 422) == (played, refused.status)
    assert refused.detail.endswith(ERROR)
    wait_for(lambda: reported(installation) == "")


@ON_SQLITE
def test_a_set_that_breaks_under_a_run(
    build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
) -> None:
    """A run that comes to no play because the set broke meanwhile waits for another try; it costs no attempt."""
    loader = Loader()

    def breaks(job: object) -> FakeRunEnd:
        fake_playbooks.jobs.append(job)
        if len(fake_playbooks.played("a")) != 2:
            return FakeRunEnd(delay_s=0.002)
        loader.change(ERROR)
        return FakeRunEnd(outcome=RunOutcome.FAILED, details="couldn't resolve module/action 'xml'", delay_s=0.6)

    fake_playbooks.decide = breaks
    installation = build(max_attempts=1)
    installation.add_site("a")
    playbooks = load_with(installation, loader)
    installation.create()
    installation.verb("apply")
    wait_for(lambda: installation.rows(runs, outcome="drained"))
    wait_for(lambda: playbooks.obstacle() == ERROR)
    played = fake_playbooks.played("a")
    loader.change("")

    assert "complete" == installation.ending()
    assert [PREPARE, PACKAGES] == played
    assert [PREPARE, PACKAGES, PACKAGES] == fake_playbooks.played("a")[:3]


@ON_SQLITE
def test_a_failure_with_a_good_set_stands(
    build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
) -> None:
    """A run that fails while its set was loaded a moment ago has failed, whether or not it came to a play."""
    installation = build()
    installation.add_site("a")
    load_with(installation, Loader())
    fake_playbooks.end("a", PACKAGES, FakeRunEnd(outcome=RunOutcome.FAILED, details="no inventory", delay_s=0.002))

    assert "failed" == installation.run_strategy()
    assert [PREPARE, PACKAGES] == fake_playbooks.played("a")
