"""A worker whose playbooks cannot be loaded starts none: its runs wait, and no site fails for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from db.heartbeats import all_processes
from db.schema import runs
from messages.commands import CommandType
from runner.fake import FakeRunEnd
from runner.interface import Outcome
from runner.playbook_readiness import PlaybookReadiness
from statemachine.states import StepState
from tests.integration.actors.embedded_rig import PACKAGES, PREPARE, Rig, Stage
from tests.support.waiting import wait_for

ON_ONE_STORE = pytest.mark.parametrize("store_kind", ["sqlite"], indirect=True)
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


def load_with(rig: Rig, loader: Loader) -> PlaybookReadiness:
    """Let the worker of an installation load its playbooks."""
    playbooks = rig.embedded.actors.worker.playbooks
    playbooks._loader = loader
    playbooks.check()
    return playbooks


def reported(rig: Rig) -> str | None:
    """Return what the process reports of its playbooks."""
    with rig.database.read() as connection:
        return all_processes(connection)[0]["playbooks_error"]


@ON_ONE_STORE
def test_runs_wait_while_the_set_is_broken(build: Callable[..., Rig], stage: Stage) -> None:
    """From a change of the files on no playbook begins before they were loaded; then the strategy goes to its end."""
    rig, loader = build(), Loader()
    rig.add_site("a")
    rig.add_site("b")
    playbooks = load_with(rig, loader)
    rig.create(cloud_name="a")
    loader.change(ERROR)
    wait_for(lambda: playbooks.obstacle() == ERROR)
    rig.verb("apply")
    wait_for(lambda: len(rig.rows(runs, state="queued", phase=StepState.PREPARE)) == 1)
    wait_for(lambda: reported(rig) == ERROR)
    refused = rig.ask(CommandType.SUBCLOUD_PRESTAGE, subject="b")
    played = [*stage.jobs]
    loader.change("")

    assert "complete" == rig.ending()
    assert ([], 422) == (played, refused.status)
    assert refused.detail.endswith(ERROR)
    wait_for(lambda: reported(rig) == "")


@ON_ONE_STORE
def test_a_set_that_breaks_under_a_run(build: Callable[..., Rig], stage: Stage) -> None:
    """A run that comes to no play because the set broke meanwhile waits for another try; it costs no attempt."""
    loader = Loader()

    def breaks(job: object) -> FakeRunEnd:
        stage.jobs.append(job)
        if len(stage.played("a")) != 2:
            return FakeRunEnd(delay_s=0.002)
        loader.change(ERROR)
        return FakeRunEnd(outcome=Outcome.FAILED, details="couldn't resolve module/action 'xml'", delay_s=0.6)

    stage.decide = breaks
    rig = build(max_attempts=1)
    rig.add_site("a")
    playbooks = load_with(rig, loader)
    rig.create()
    rig.verb("apply")
    wait_for(lambda: rig.rows(runs, outcome="drained"))
    wait_for(lambda: playbooks.obstacle() == ERROR)
    played = stage.played("a")
    loader.change("")

    assert "complete" == rig.ending()
    assert [PREPARE, PACKAGES] == played
    assert [PREPARE, PACKAGES, PACKAGES] == stage.played("a")[:3]


@ON_ONE_STORE
def test_a_failure_with_a_good_set_stands(build: Callable[..., Rig], stage: Stage) -> None:
    """A run that fails while its set was loaded a moment ago has failed, whether or not it came to a play."""
    rig = build()
    rig.add_site("a")
    load_with(rig, Loader())
    stage.end("a", PACKAGES, FakeRunEnd(outcome=Outcome.FAILED, details="no inventory", delay_s=0.002))

    assert "failed" == rig.run_strategy()
    assert [PREPARE, PACKAGES] == stage.played("a")
