"""Modules of Ansible that a run has built for its site are used by the next runs of its playbook, and never stale."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from runner.interface import PlaybookJob
from runner.supervisor import Supervisor
from statemachine.states import RunOutcome
from tests.integration.runner.run_watch import Results, text

MakeJob = Callable[..., PlaybookJob]

LISTING = """
- hosts: all
  gather_facts: false
  tasks:
    - {command: echo hello}
    - {own: {}}
    - {debug: {msg: "{{ lookup('pipe', 'cd $ANSIBLE_LOCAL_TEMP; ls -i */ansiballz_cache/') }}"}}
"""
PING = """
- hosts: all
  gather_facts: false
  tasks:
    - {ping: {}, register: answer}
    - {debug: {msg: "{{ answer.ping }}"}}
"""
# What the module `ping` needs of it.
BASIC = """
class AnsibleModule:
    params = {"data": "of the set"}
    def __init__(self, **options):
        pass
    def exit_json(self, **result):
        print('{"ping": "of the set", "changed": false}')
        raise SystemExit(0)
"""


def message(supervisor: Supervisor, results: Results, job: PlaybookJob) -> str:
    """Run a job that succeeds and return the message that it ends with."""
    supervisor.submit(job)
    result = results.wait(job.run_id)
    assert (RunOutcome.SUCCEEDED, "") == (result.outcome, result.details), text(result)
    found: str = json.loads('"' + text(result).partition('"msg": "')[2].partition('"\n')[0] + '"')
    return found


def shared_modules(run_root: Path) -> dict[str, int]:
    """Return the shared modules with the numbers of their files."""
    return {path.name: path.stat().st_ino for path in run_root.glob("*/*/ansible*")}


def test_a_module_of_ansible_is_built_once(
    supervisor: Supervisor, make_job: MakeJob, results: Results, run_root: Path, tmp_path: Path
) -> None:
    """The second run of a playbook uses the module that the first has built; those of the set are its own affair."""
    place = tmp_path / "set"
    (place / "library").mkdir(parents=True)
    (place / "library" / "own.py").write_text(
        "from ansible.module_utils.basic import AnsibleModule\nAnsibleModule(argument_spec={}).exit_json()\n"
    )
    playbook = place / "playbook.yml"
    playbook.write_text(LISTING)
    message(supervisor, results, make_job(LISTING, playbook=playbook))
    first = shared_modules(run_root)
    listing = message(supervisor, results, make_job(LISTING, run_id=2, playbook=playbook))

    assert ["ansible.modules.command"] == [name.partition("-")[0] for name in first]
    assert first == shared_modules(run_root)
    assert all(f"{number} {name}" in listing for name, number in first.items())
    assert {0o700} == {path.stat().st_mode & 0o777 for path in [*run_root.glob("*/"), *run_root.glob("*/*/")]}


def test_shared_modules_are_never_stale(
    supervisor: Supervisor, make_job: MakeJob, results: Results, tmp_path: Path
) -> None:
    """What a set has put beside its playbooks is packed with modules from the next run on, and no longer than that."""
    place = tmp_path / "set"
    place.mkdir()
    playbook = place / "playbook.yml"
    playbook.write_text(PING)
    answers = []
    for run_id in range(1, 7):
        if run_id == 3:
            (place / "module_utils").mkdir()
            (place / "module_utils" / "basic.py").write_text(BASIC)
        if run_id == 5:
            shutil.rmtree(place / "module_utils")
        answers.append(message(supervisor, results, make_job(PING, run_id=run_id, playbook=playbook)))

    assert ["pong", "pong", "of the set", "of the set", "pong", "pong"] == answers
