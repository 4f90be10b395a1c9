"""A playbook in a forked process does what ansible-playbook does that is started anew."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
PLAYBOOKS = {
    "ok": "{debug: {msg: 'it sings {{ inventory_hostname }}'}}",
    "fails": "{fail: {msg: it broke}}",
    "undefined": "{debug: {msg: '{{ nothing.at.all }}'}}",
    "unreachable": "{ping: {}, vars: {ansible_connection: ssh, ansible_host: 127.0.0.1, ansible_port: 1}}",
    "waits": "{debug: {msg: it began}}, {command: sleep 5}",
}
CASES: dict[str, dict[str, Any]] = {
    "ok": {"arguments": ["ok.yml"]},
    "failed task": {"arguments": ["fails.yml"]},
    "undefined variable": {"arguments": ["undefined.yml"]},
    "unreachable site": {"arguments": ["unreachable.yml"]},
    "no YAML": {"arguments": ["broken.yml"]},
    "no such playbook": {"arguments": ["missing.yml"]},
    "no such option": {"arguments": ["--nonsense"]},
    "no arguments": {"arguments": []},
    "version": {"arguments": ["--version"]},
    "syntax check": {"arguments": ["--syntax-check", "ok.yml"]},
    "list of tasks": {"arguments": ["--list-tasks", "ok.yml"]},
    "limit without a match": {"arguments": ["--limit", "nothing", "ok.yml"]},
    "TERM": {"arguments": ["waits.yml"], "signal": "SIGTERM"},
    "INT": {"arguments": ["waits.yml"], "signal": "SIGINT"},
    "KILL": {"arguments": ["waits.yml"], "signal": "SIGKILL"},
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of each case, forked and plain, and the ids of tasks of further runs."""
    place = tmp_path_factory.mktemp("forked")
    for name, tasks in PLAYBOOKS.items():
        (place / f"{name}.yml").write_text(f"- hosts: all\n  gather_facts: false\n  tasks: [{tasks}]\n")
    (place / "broken.yml").write_text("- hosts: [\n")
    (place / "hosts.yml").write_text("all: {hosts: {site1: {ansible_connection: local}}}\n")
    (place / "runner").mkdir()
    cases = [
        {**case, "arguments": [*(["-i", "hosts.yml"] if case["arguments"] else []), *case["arguments"]]}
        for case in CASES.values()
    ]
    run = subprocess.run(
        [sys.executable, "-m", "tests.support.forked_playbooks", str(place), json.dumps(cases)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    answer: dict[str, Any] = json.loads(run.stdout)
    return {"cases": dict(zip(CASES, answer["cases"], strict=True)), "ids": answer["ids"]}


@pytest.mark.parametrize("case", CASES)
def test_a_forked_playbook_ends_and_prints_as_a_plain_one(outcomes: dict[str, Any], case: str) -> None:
    """Exit code, signal and every printed character are those of an ansible-playbook that is started anew."""
    forked, plain = outcomes["cases"][case]

    assert plain[:2] == forked[:2]
    assert _settled(plain[2]) == _settled(forked[2])


def _settled(text: str) -> str:
    """Return the text without the paths of temporary files."""
    return re.sub(r"tmp-\d+/\S+", "", text)


def test_forked_runs_have_ids_of_their_own(outcomes: dict[str, Any]) -> None:
    """No two runs that are forked from one process give a task the same id."""
    ids = [task for run in outcomes["ids"] for task in run]

    assert len(ids) >= len(outcomes["ids"])
    assert len(set(ids)) == len(ids)
