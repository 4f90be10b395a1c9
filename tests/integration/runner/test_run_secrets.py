"""Secrets stay in memory: not on disk once the playbook runs, not in arguments, environments, or results."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from runner.interface import PlaybookJob
from runner.processes import marked
from runner.supervisor import Supervisor
from statemachine.states import RunOutcome
from tests.integration.runner.run_watch import Results, text
from tests.support.waiting import wait_for

MakeJob = Callable[..., PlaybookJob]

# No process of another test has it.
PART = f"S3cr3t-{uuid4().hex}"
SECRET = f"{PART}-{{{{ x }}}}-'\"-wörd"

HOLDING_PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - debug:
        msg: "the password is {{ ansible_become_pass }}"
    - shell: "touch {{ ready }}; while [ ! -e {{ go_on }} ]; do sleep 0.05; done; env"
      register: shell
    - set_stats:
        data:
          environment: "{{ shell.stdout_lines }}"
          password: "{{ ansible_become_pass }}"
          known: "{{ ansible_become_pass | length }}"
    - name: Tell
      fail:
        msg: "{{ ansible_become_pass }} was wrong"
      when: tell
"""


def readable_by_others() -> list[bytes]:
    """Return the arguments and environments of all processes but this one."""
    contents = []
    for place in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                if place.name != str(os.getpid()):
                    contents.append((place / name).read_bytes())
            except OSError:
                continue
    return contents


@pytest.mark.parametrize("tell", [False, True], ids=["success", "failure"])
def test_secrets_are_nowhere_while_the_playbook_runs(
    supervisor: Supervisor, make_job: MakeJob, results: Results, run_root: Path, tmp_path: Path, tell: bool
) -> None:
    """Once a task runs, a secret is in no file, argument or environment; results hide it; the playbook knows it."""
    ready, go_on = tmp_path / "ready", tmp_path / "go-on"
    extra_vars = {"ready": str(ready), "go_on": str(go_on), "tell": tell}
    supervisor.submit(make_job(HOLDING_PLAYBOOK, secrets={"ansible_become_pass": SECRET}, extra_vars=extra_vars))
    wait_for(ready.exists)
    files = [path.read_bytes() for path in run_root.rglob("*") if path.is_file()]
    modes = [path.stat().st_mode & 0o077 for path in run_root.glob("*/")]
    seen = readable_by_others()
    go_on.touch()
    result = results.wait()

    assert files != []
    assert all(PART.encode() not in content for content in [*files, *seen])
    assert {0} == set(modes)
    assert PART not in text(result)
    assert "the password is ********" in text(result)
    if tell:
        assert (RunOutcome.FAILED, "task 'Tell' on site1: ******** was wrong") == (result.outcome, result.details)
    else:
        assert (RunOutcome.SUCCEEDED, "********", len(SECRET)) == (
            result.outcome,
            result.facts["password"],
            result.facts["known"],
        )


def test_environment_is_small_and_explicit(
    supervisor: Supervisor,
    make_job: MakeJob,
    results: Results,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    worker: str,
) -> None:
    """Ansible gets the few variables it needs and nothing of the worker's environment."""
    monkeypatch.setenv("PRESTAGER_DATABASE_URL", "postgresql://prestager:hidden@db/prestager")
    monkeypatch.setenv("ANSIBLE_REMOTE_USER", "somebody")
    ready, go_on = tmp_path / "ready", tmp_path / "go-on"
    extra_vars = {"ready": str(ready), "go_on": str(go_on), "tell": False}
    supervisor.submit(make_job(HOLDING_PLAYBOOK, secrets={"ansible_become_pass": SECRET}, extra_vars=extra_vars))
    wait_for(ready.exists)
    environments = [process.environ() for process in marked(worker)]
    go_on.touch()
    results.wait()
    names = set().union(*environments)
    own = {
        "PATH",
        "LANG",
        "LC_ALL",
        "HOME",
        "TMPDIR",
        "PRESTAGER_RUN",
        "PRESTAGER_FAILURES_FILE",
        "PRESTAGER_CRITICAL_SECTION",
    }
    by_shell_and_runner = (
        "ANSIBLE_",
        "ORIGINAL_STDOUT_CALLBACK",
        "AWX_",
        "RUNNER_",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
        "LC_",
        "LANGUAGE",
    )

    assert len(environments) >= 3
    assert own <= names
    assert [] == [name for name in names - own if not name.startswith(by_shell_and_runner)]
    assert "ANSIBLE_REMOTE_USER" not in names
    assert all("hidden" not in value for environment in environments for value in environment.values())
