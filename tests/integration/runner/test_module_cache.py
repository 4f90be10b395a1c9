"""Modules that a run has built for its site are used by the next runs, and never stale."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.ansible_installation import AnsibleInstallation
from runner.interface import PlaybookJob
from runner.preload import preloaded_ansible
from runner.supervisor import Supervisor
from statemachine.states import RunOutcome
from tests.integration.runner.forked_runs import MakeSupervisor, template_of
from tests.integration.runner.run_watch import Results, text
from tests.support.waiting import wait_for

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
ANSWERING = """
- hosts: all
  gather_facts: false
  tasks:
    - {own: {}, register: asked}
    - {debug: {msg: "{{ asked.answer }}"}}
"""
IN_ROLE = """
- hosts: all
  gather_facts: false
  tasks:
    - {include_role: {name: "{{ name }}"}}
    - {debug: {msg: "{{ asked.answer }}"}}
"""
OWN = """\
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ours import ANSWER
AnsibleModule(argument_spec={}).exit_json(answer="greeting" + ANSWER)
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


def write(file: Path, content: str) -> None:
    """Write a file in place, with the times that it had: only its content tells that it is another."""
    file.parent.mkdir(parents=True, exist_ok=True)
    before = file.stat() if file.exists() else None
    file.write_text(content)
    if before is not None:
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_modules_are_built_once(
    supervisor: Supervisor, make_job: MakeJob, results: Results, run_root: Path, tmp_path: Path
) -> None:
    """The second run uses the modules that the first has built: Ansible's and those beside the playbook."""
    write(tmp_path / "library" / "own.py", OWN)
    write(tmp_path / "module_utils" / "ours.py", "ANSWER = 'one'\n")
    message(supervisor, results, make_job(LISTING))
    first = shared_modules(run_root)
    listing = message(supervisor, results, make_job(LISTING, run_id=2))

    assert {"ansible.legacy.own", "ansible.modules.command"} == {name.partition("-")[0] for name in first}
    assert first == shared_modules(run_root)
    assert all(f"{number} {name}" in listing for name, number in first.items())
    assert {0o700} == {path.stat().st_mode & 0o777 for path in [*run_root.glob("*/"), *run_root.glob("*/*/")]}


def test_modules_outlive_a_template(
    make_supervisor: MakeSupervisor,
    make_job: MakeJob,
    results: Results,
    run_root: Path,
    tmp_path: Path,
    worker: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A template that is exchanged after its last fork, or was killed, leaves the modules to the next one."""
    monkeypatch.setattr(preloaded_ansible, "_MOST_FORKS", 1)
    write(tmp_path / "library" / "own.py", OWN)
    write(tmp_path / "module_utils" / "ours.py", "ANSWER = 'one'\n")
    supervisor = make_supervisor()
    message(supervisor, results, make_job(LISTING))
    first, pids = shared_modules(run_root), {template_of(worker).pid}
    for run_id in (2, 3):
        listing = message(supervisor, results, make_job(LISTING, run_id=run_id))

        pids.add(template_of(worker).pid)
        assert first == shared_modules(run_root)
        assert all(f"{number} {name}" in listing for name, number in first.items())
        template_of(worker).kill()
    assert len(pids) > 1


def test_modules_end_with_their_ansible(
    make_supervisor: MakeSupervisor, make_job: MakeJob, results: Results, run_root: Path, tmp_path: Path
) -> None:
    """After a change of ansible.cfg modules are built anew, and those of before are removed."""
    config = tmp_path / "ansible.cfg"
    config.write_text("[defaults]\ntimeout = 41\n")
    write(tmp_path / "library" / "own.py", OWN)
    write(tmp_path / "module_utils" / "ours.py", "ANSWER = 'one'\n")
    supervisor = make_supervisor(ansible=AnsibleInstallation(config=config))
    message(supervisor, results, make_job(LISTING))
    first = set(shared_modules(run_root).values())
    config.write_text("[defaults]\ntimeout = 42\n")
    run_ids = iter(range(2, 12))

    def has_exchanged() -> bool:
        # Children that were forked beforehand are of the template before.
        message(supervisor, results, make_job(LISTING, run_id=next(run_ids)))
        return first.isdisjoint(inodes := shared_modules(run_root).values()) and len(inodes) == len(first)

    wait_for(has_exchanged, 60)
    supervisor.stop()
    assert {} == shared_modules(run_root)


def test_a_byte_of_a_module_util_counts(
    supervisor: Supervisor, make_job: MakeJob, results: Results, tmp_path: Path
) -> None:
    """A module and its utils are those of now, though only one byte differs, and neither time nor size."""
    answers = []
    for run_id, (greeting, answer) in enumerate((("a", "1"), ("a", "2"), ("b", "2"), ("a", "1")), start=1):
        write(tmp_path / "library" / "own.py", OWN.replace("greeting", greeting))
        write(tmp_path / "module_utils" / "ours.py", f"ANSWER = '{answer}'\n")
        answers.append(message(supervisor, results, make_job(ANSWERING, run_id=run_id)))

    assert ["a1", "a2", "b2", "a1"] == answers


def test_modules_of_collections_are_never_stale(
    supervisor: Supervisor, make_job: MakeJob, results: Results, run_root: Path, tmp_path: Path
) -> None:
    """Modules of a collection are shared, unless they have imported from another one; both are those of now."""
    place = tmp_path / "collections" / "ansible_collections" / "own"
    util = "from ansible_collections.own.{}.plugins.module_utils.ours import ANSWER"
    answers = []
    for run_id, answer in enumerate(("1", "2"), start=1):
        write(place / "tools" / "plugins" / "module_utils" / "ours.py", f"ANSWER = '{answer}'\n")
        for name in ("tools", "others"):
            module = OWN.replace("from ansible.module_utils.ours import ANSWER", util.format("tools"))
            write(place / name / "plugins" / "modules" / "ask.py", module)
        for name in ("tools", "others"):
            job = make_job(ANSWERING.replace("own:", f"own.{name}.ask:"), run_id=2 * run_id + (name == "others"))
            answers.append(message(supervisor, results, job))

    assert ["greeting1", "greeting1", "greeting2", "greeting2"] == answers
    assert {"tools"} == {name.split(".")[2] for name in shared_modules(run_root) if name.startswith("ansible_coll")}


def test_roles_do_not_get_modules_of_each_other(
    supervisor: Supervisor, make_job: MakeJob, results: Results, tmp_path: Path
) -> None:
    """Where modules of two roles have one name, each role runs its own, with the utils of the roles that are loaded."""
    for name in ("first", "second"):
        write(tmp_path / "roles" / name / "library" / "own.py", OWN.replace("greeting", name))
        write(tmp_path / "roles" / name / "module_utils" / "ours.py", f"ANSWER = ' {name}'\n")
        write(tmp_path / "roles" / name / "tasks" / "main.yml", "- {own: {}, register: asked}\n")
    answers = [
        message(supervisor, results, make_job(IN_ROLE, run_id=run_id, extra_vars={"name": name}))
        for run_id, name in enumerate(("first", "second", "first"), start=1)
    ]

    assert ["first first", "second second", "first first"] == answers


def test_shared_modules_are_never_stale(
    supervisor: Supervisor, make_job: MakeJob, results: Results, tmp_path: Path
) -> None:
    """What a set has put beside its playbooks is packed with modules from the next run on, and no longer than that."""
    answers = []
    for run_id in range(1, 7):
        if run_id == 3:
            write(tmp_path / "module_utils" / "basic.py", BASIC)
        if run_id == 5:
            shutil.rmtree(tmp_path / "module_utils")
        answers.append(message(supervisor, results, make_job(PING, run_id=run_id)))

    assert ["pong", "pong", "of the set", "of the set", "pong", "pong"] == answers
