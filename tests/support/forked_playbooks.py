"""Runs playbooks in processes forked from this one, which has loaded Ansible, and plainly; prints what came of each.

A process of its own, `python -m tests.support.forked_playbooks DIRECTORY CASES`, for it must have a single thread.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from time import sleep
from typing import Any

import ansible_runner.runner
import pexpect

from runner.ansible_installation import AnsibleInstallation
from runner.preload.ansible_state import prime
from runner.preload.run_process import ForkedPexpect, LoadedAnsible, RunProcess
from tests.support.waiting import PATIENCE_S

WAIT_S = PATIENCE_S


def main() -> None:
    """Run each case both ways; a case has arguments, or a signal for a playbook that waits."""
    directory, cases = Path(sys.argv[1]), json.loads(sys.argv[2])
    ansible = AnsibleInstallation()
    environment = ansible.environment(directory)
    os.environ.clear()
    os.environ.update(environment)
    prime()
    found = []
    for case in cases:
        own = {**environment, "ANSIBLE_LOCAL_TEMP": str(directory / f"tmp-{len(found)}")}
        spawns = (ForkedPexpect(RunProcess(_loaded(environment, directory))), pexpect)
        found.append([_run(module, ansible.program, case, directory, own) for module in spawns])
    ids = [_task_ids(ansible.program, directory, environment) for _ in range(4)]
    sys.stdout.write(json.dumps({"cases": found, "ids": ids}))


def _run(module: Any, program: Path, case: dict[str, Any], directory: Path, environment: dict[str, str]) -> list[Any]:
    run = module.spawn(
        str(program), case["arguments"], cwd=str(directory), env=environment, ignore_sighup=True, encoding="utf-8"
    )
    if "signal" in case:
        run.expect("it began", timeout=WAIT_S)
        sleep(0.2)
        os.kill(run.pid, signal.Signals[case["signal"]])
    run.expect(pexpect.EOF, timeout=WAIT_S)
    run.close()
    return [run.exitstatus, run.signalstatus, run.before]


def _task_ids(program: Path, directory: Path, environment: dict[str, str]) -> list[str]:
    """Return the ids of tasks in the events of a forked run."""
    ids: set[str] = set()

    def keep(event: dict[str, Any]) -> bool:
        ids.update(filter(None, [event.get("event_data", {}).get("task_uuid")]))
        return False

    ansible_runner.runner.pexpect = ForkedPexpect(RunProcess(_loaded(environment, directory)))
    ansible_runner.run(
        private_data_dir=str(directory / "runner"),
        binary=str(program),
        cmdline=str(directory / "ok.yml"),
        inventory=[str(directory / "hosts.yml")],
        quiet=True,
        event_handler=keep,
    )
    return sorted(ids)


def _loaded(environment: dict[str, str], directory: Path) -> LoadedAnsible:
    return LoadedAnsible(environment=environment, modules=directory, tries_pipelining=False)


if __name__ == "__main__":
    main()
