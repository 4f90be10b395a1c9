"""Runs with the Ansible of Python 3.12 and later, which is another than that of 3.11.

The whole runner is in that Python, as it is in an installation there: a template process is of the program's own.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.waiting import PATIENCE_S

ROOT: Final = Path(__file__).parents[3]
# Made by bin/setup test where there is a Python 3.12 or later.
NEWER_PYTHON: Final = ROOT / ".venv-run" / "bin" / "python"
# Two runs of one playbook by a supervisor in the other Python.
PROGRAM: Final = """
import json, sys, threading, zlib
from pathlib import Path
from runner.interface import PlaybookJob
from runner.supervisor import Supervisor

playbook, run_root, worker = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
ended, plain, done = [], [], threading.Semaphore(0)

def finish(result):
    ended.append(result)
    done.release()

supervisor = Supervisor(
    slots=2, worker=worker, on_finished=finish, run_root=run_root, warm=0, on_plain_start=lambda: plain.append(1)
)
supervisor.start()
variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
for run_id in (1, 2):
    supervisor.submit(
        PlaybookJob(
            run_id=run_id, playbook=playbook, host="site1", host_vars=variables,
            secrets={"ansible_ssh_pass": "Li69nux*"}, extra_vars={"number": run_id}, deadline_s=120.0,
        )
    )
    assert done.acquire(timeout=float(sys.argv[4]))
shared = sorted({path.name.partition("-")[0] for path in run_root.glob("*/*/ansible*")})
supervisor.stop()
runs = [[one.outcome, one.details, zlib.decompress(one.output).decode()] for one in ended]
left = [one.name for one in run_root.iterdir() if one.is_dir()]
print(json.dumps({"runs": runs, "plain": len(plain), "shared": shared, "left": left}))
"""
PLAYBOOK: Final = """
- hosts: all
  gather_facts: false
  tasks:
    - {command: "echo {{ ansible_ssh_pass }} of {{ number }}", register: said}
    - {debug: {msg: "{{ said.stdout }} with {{ ansible_version.full }}"}}
    - {assert: {that: [number == 1], fail_msg: "it is the second"}}
"""


@pytest.mark.skipif(not NEWER_PYTHON.exists(), reason="no Python 3.12 or later was there at: bin/setup test")
def test_runs_are_forked_there_too(run_root: Path, worker: str, tmp_path: Path) -> None:
    """Runs end as they must, are forked, share what they have built, show no secret, and leave nothing behind."""
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(PLAYBOOK)
    arguments = [NEWER_PYTHON, "-c", PROGRAM, playbook, run_root, worker, str(PATIENCE_S)]

    done = subprocess.run(
        arguments, cwd=ROOT, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, capture_output=True, check=False
    )

    assert 0 == done.returncode, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    (first, said, output), (second, reason, _) = found.pop("runs")
    assert ("succeeded", "") == (first, said), output
    assert "******** of 1 with 2.2" in output
    assert "failed" == second
    assert "it is the second" in reason
    assert {"plain": 0, "shared": ["ansible.modules.command"], "left": []} == found
