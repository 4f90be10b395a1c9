"""What the tests of real playbook runs share: a supervisor on a private run root, and its results."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from runner.interface import PlaybookJob
from runner.processes import marked, templates
from runner.supervisor import Supervisor
from tests.integration.runner.forked_runs import Plain
from tests.integration.runner.run_watch import LOCAL_HOST_VARS, Results, Waiting
from tests.integration.runner.shared_supervisors import (
    STOP_GRACE_S,
    SharedSupervisor,
    SharedSupervisors,
    short_directory,
)
from tests.support.ssh_server import SshServer, ssh_server
from tests.support.waiting import PATIENCE_S

# Modules whose rules hold for runs that are forked and for runs that are started plainly; others try forked ones.
_BOTH_WAYS: Final = frozenset(
    {
        "test_dead_supervisor",
        "test_memory_dumps",
        "test_playbook_results",
        "test_run_cancel",
        "test_run_memory",
        "test_run_secrets",
        "test_run_stopping",
    }
)
# Many cases of what is made from Ansible's events, which are those of plain runs: see test_forked_playbooks, and others
# beside these that are tried both ways.
_FORKED_ALONE: Final = frozenset(
    {
        "test_broken_playbook_fails_with_ansibles_words",
        "test_failure_sentence_is_made_from_events",
        "test_playbook_that_did_nothing_fails",
        "test_playbook_that_did_something_succeeds",
    }
)
# Of these modules the tests that take the usual supervisor share it: to load Ansible for each takes most of their time.
_SHARING: Final = frozenset(
    {"test_playbook_results", "test_run_cancel", "test_run_stopping", "test_run_traces", "test_hostile_site"}
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try the promises about runs with preloaded Ansible and without it."""
    if metafunc.function.__name__ in _FORKED_ALONE:
        return
    if "preload" in metafunc.fixturenames and metafunc.module.__name__.rpartition(".")[2] in _BOTH_WAYS:
        metafunc.parametrize("preload", [True, False], ids=["preloaded", "plain"], indirect=True)


@pytest.fixture
def preload(request: pytest.FixtureRequest) -> bool:
    """Whether this test's runs are forked from a process that has loaded Ansible."""
    return getattr(request, "param", True)


@pytest.fixture(scope="session")
def shared_supervisors() -> Iterator[SharedSupervisors]:
    """The supervisors that tests share."""
    shared = SharedSupervisors()
    yield shared
    shared.close()


@pytest.fixture
def shared(request: pytest.FixtureRequest, preload: bool) -> SharedSupervisor | None:
    """The supervisor that this test shares with others; None: it has one of its own."""
    if "supervisor" not in request.fixturenames or request.module.__name__.rpartition(".")[2] not in _SHARING:
        return None
    found: SharedSupervisors = request.getfixturevalue("shared_supervisors")
    return found.get(preload=preload)


@pytest.fixture
def worker(shared: SharedSupervisor | None) -> str:
    """The worker name of this test's supervisor."""
    return shared.worker if shared is not None else f"test-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def run_root(shared: SharedSupervisor | None) -> Iterator[Path]:
    """A short path in memory, as in production: sockets are put below it."""
    if shared is not None:
        yield shared.run_root
        return
    with short_directory() as path:
        yield path


@pytest.fixture(scope="session")
def ssh_site() -> Iterator[SshServer]:
    """An SSH server; a machine that cannot host one fails the test and says what to install."""
    with ssh_server() as running:
        yield running


@pytest.fixture
def results() -> Results:
    """The results of this test's supervisor."""
    return Results()


@pytest.fixture
def make_supervisor(
    worker: str, run_root: Path, results: Results, preload: bool
) -> Iterator[Callable[..., Supervisor]]:
    """Makes started supervisors; in the end each must leave neither a process nor a file."""
    made: list[Supervisor] = []

    def make(**options: Any) -> Supervisor:
        supervisor = Supervisor(
            **{
                "slots": 4,
                "worker": worker,
                "on_finished": results,
                "run_root": run_root,
                "warm": 0,
                "preload": preload,
                **options,
            }
        )
        supervisor.start()
        made.append(supervisor)
        return supervisor

    yield make
    for supervisor in made:
        supervisor.stop()
    assert [*marked(worker), *templates(worker)] == []
    assert [path for path in run_root.glob("*") if path.is_dir()] == []


@pytest.fixture
def supervisor(
    request: pytest.FixtureRequest, shared: SharedSupervisor | None, results: Results, preload: bool
) -> Iterator[Supervisor]:
    """A started supervisor with usual settings, without warm children; in the end no run of the test is left."""
    if shared is None:
        make: Callable[..., Supervisor] = request.getfixturevalue("make_supervisor")
        yield make(stop_grace_s=STOP_GRACE_S)
        return
    lender: SharedSupervisors = request.getfixturevalue("shared_supervisors")
    with lender.lent(results, preload=preload):
        yield shared.supervisor


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., PlaybookJob]:
    """Makes a job of the text of a playbook; the host is `site1`, reached by the local connection."""

    def make(content: str, **fields: Any) -> PlaybookJob:
        path = tmp_path / f"playbook-{fields.get('run_id', 1)}.yml"
        path.write_text(content)
        defaults = {
            "run_id": 1,
            "playbook": path,
            "host": "site1",
            "host_vars": LOCAL_HOST_VARS,
            "secrets": {},
            "extra_vars": {},
            "deadline_s": PATIENCE_S,
        }
        return PlaybookJob(**{**defaults, **fields})

    return make


@pytest.fixture
def waiting(make_job: Callable[..., PlaybookJob], tmp_path: Path) -> Iterator[Waiting]:
    """A job that never ends by itself."""
    job = Waiting(make_job, tmp_path)
    yield job
    for process in job.processes():
        process.kill()


@pytest.fixture
def plain() -> Plain:
    """The plain starts of this test's supervisor."""
    return Plain()
