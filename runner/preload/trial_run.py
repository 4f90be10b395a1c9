"""Run one small playbook as forked runs go, before any is: a loaded Ansible that answers wrongly is not used."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import ansible_runner
import ansible_runner.runner
import pexpect

from runner.errors import TrialRunError
from runner.interface import PlaybookJob
from runner.inventory import write_job
from runner.playbook import runner_arguments
from runner.preload.run_process import ForkedPexpect, LoadedAnsible, RunProcess
from runner.private_dir import PrivateDir

_PLAYBOOK: Final = """\
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.debug:
        msg: "{{ inventory_hostname }} {{ verb }}"
"""
_GROUP_VARIABLES: Final = "verb: sings\n"
_EXPECTED: Final = (
    "PLAY [all] *********************************************************************",
    "TASK [ansible.builtin.debug] ***************************************************",
    "ok: [canary] => {",
    '    "msg": "canary sings"',
    "}",
    "PLAY RECAP *********************************************************************",
)
_RECAP: Final = "ok=1    changed=0    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0"
_EVENTS: Final = ["canary canary sings", "ok {'canary': 1}"]
# ansible-runner would wait for ever for a run that prints nothing and does not end, in seconds.
_DEADLINE_S: Final = 20


def write_trial(place: PrivateDir) -> tuple[PlaybookJob, list[str]]:
    """Write playbook, variables and inventory into `place`; return the job and the inventory."""
    path = place.path / "trial.yml"
    path.write_text(_PLAYBOOK, encoding="utf-8")
    (place.path / "group_vars").mkdir()
    (place.path / "group_vars" / "all.yml").write_text(_GROUP_VARIABLES, encoding="utf-8")
    job = PlaybookJob(
        run_id=0,
        playbook=path,
        host="canary",
        host_vars={"ansible_connection": "local"},
        secrets={},
        extra_vars={},
        deadline_s=_DEADLINE_S,
    )
    return job, write_job(job, place)


def try_run(  # noqa: PLR0913
    ansible: LoadedAnsible,
    place: PrivateDir,
    job: PlaybookJob,
    inventory: list[str],
    ansible_playbook: Path,
    *,
    given: Mapping[str, str],
    compares_text: bool,
) -> None:
    """Fork a run from this process, which has loaded `ansible`, and look at its events.

    `given` is the environment that children of this process get; this process's own is that of their playbooks. With
    `compares_text` what it prints must be as expected too, which it is not with every configuration file.

    Raises:
        TrialRunError: It is not what is expected.
    """
    printed: list[str] = []
    seen: list[str] = []

    def keep(event: Mapping[str, Any]) -> bool:
        seen.append(_essence(event))
        printed.extend(line.strip("\r\n") for line in str(event.get("stdout") or "").splitlines())
        return False

    ansible_runner.runner.pexpect = ForkedPexpect(RunProcess(ansible))
    try:
        _set_environment(given)
        arguments = runner_arguments(job, place, inventory, ansible_playbook)
        arguments["settings"] = {**arguments["settings"], "job_timeout": _DEADLINE_S}
        ended = ansible_runner.run(**arguments, event_handler=keep, cancel_callback=lambda: False)
    finally:
        _set_environment(ansible.environment)
        ansible_runner.runner.pexpect = pexpect
    lines = [line for line in printed if line]
    is_right = ended.rc == 0 and [text for text in seen if text] == _EVENTS
    if not is_right or (compares_text and not _is_expected(lines)):
        raise TrialRunError(f"the trial run ended with {ended.rc} and printed {lines}")


def _is_expected(lines: list[str]) -> bool:
    return len(lines) > 1 and tuple(lines[:-1]) == _EXPECTED and _RECAP in lines[-1]


def _essence(event: Mapping[str, Any]) -> str:
    """Return what must be right of an event; empty: nothing."""
    data = event.get("event_data") or {}
    match event.get("event"):
        case "runner_on_ok":
            return f"{data.get('host')} {(data.get('res') or {}).get('msg')}"
        case "playbook_on_stats":
            return f"ok {data.get('ok')}"
        case "runner_on_failed" | "runner_on_unreachable" as kind:
            return str(kind)
        case _:
            return ""


def _set_environment(environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
