"""What a watcher hears of a real playbook while it goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from runner.interface import PlaybookJob
from runner.progress import Progress
from runner.supervisor import Supervisor
from statemachine.states import RunOutcome
from tests.integration.runner.run_watch import Results, text
from tests.support.waiting import wait_for

MakeJob = Callable[..., PlaybookJob]

SECRET = "S3cr3t-watched"

TWO_TASKS = """
- name: Stage
  hosts: all
  gather_facts: false
  tasks:
    - name: Tell
      debug:
        msg: "the first task says {{ ansible_become_pass }}"
    - name: "Wait for {{ ansible_become_pass }}"
      shell: "while [ ! -e {{ go_on }} ]; do sleep 0.05; done"
      changed_when: true
"""

# A whole head and more, then a line that whoever follows must see all the same.
MUCH = """
- hosts: all
  gather_facts: false
  tasks:
    - debug: {msg: "{{ 'x' * 700000 }}"}
    - debug: {msg: "{{ 'y' * 700000 }}"}
    - debug: {msg: "still here"}
    - shell: "while [ ! -e {{ go_on }} ]; do sleep 0.05; done"
"""


class Watch:
    """Puts what it hears together by its places."""

    def __init__(self, *, raises: bool = False) -> None:
        self.pieces: list[tuple[int, bytes]] = []
        self.progress: list[Progress] = []
        self.threads: set[str] = set()
        self._raises = raises

    def add_output(self, run_id: int, at_bytes: int, content: bytes) -> None:
        """Take a piece in."""
        self.threads.add(threading.current_thread().name)
        self.pieces.append((at_bytes, content))
        self._break()

    def set_progress(self, run_id: int, progress: Progress) -> None:
        """Take progress in."""
        self.progress.append(progress)
        self._break()

    def _break(self) -> None:
        if self._raises:
            raise RuntimeError("the watch broke")

    @property
    def text(self) -> bytes:
        """What was heard."""
        return b"".join(content for _, content in self.pieces)


def test_a_line_is_heard_while_the_next_task_runs(
    make_supervisor: Callable[..., Supervisor], make_job: MakeJob, results: Results, tmp_path: Path
) -> None:
    """What a task prints is heard before the next one ends, masked; progress tells the task and the counts."""
    go_on, watch = tmp_path / "go-on", Watch()
    supervisor = make_supervisor()
    supervisor.watch(watch)
    secrets = {"ansible_become_pass": SECRET}
    supervisor.submit(make_job(TWO_TASKS, secrets=secrets, extra_vars={"go_on": str(go_on)}))
    wait_for(lambda: b"the first task says ********" in watch.text)
    wait_for(lambda: watch.progress and watch.progress[-1].tasks == 2)
    meanwhile = watch.progress[-1]
    assert [] == results.all
    go_on.touch()
    result = results.wait()

    assert ("Stage", "Wait for ********", 1) == (meanwhile.play, meanwhile.task, meanwhile.results["ok"])
    assert {"ok": 2, "changed": 1} == {name: count for name, count in watch.progress[-1].results.items() if count}
    assert text(result) == watch.text.decode()
    assert SECRET not in f"{watch.text!r}{watch.progress}"
    assert {"supervisor"} == watch.threads


def test_what_comes_after_a_full_head_is_heard(
    make_supervisor: Callable[..., Supervisor], make_job: MakeJob, results: Results, tmp_path: Path
) -> None:
    """A playbook that has printed more than is passed on at once is still heard, at the places of the whole text."""
    go_on, watch = tmp_path / "go-on", Watch()
    supervisor = make_supervisor()
    supervisor.watch(watch)
    supervisor.submit(make_job(MUCH, extra_vars={"go_on": str(go_on)}))
    wait_for(lambda: b"still here" in watch.text)
    assert [] == results.all
    go_on.touch()
    result = results.wait()
    whole = text(result).encode()

    assert result.cut_at_bytes is None
    assert all(content == whole[at : at + len(content)] for at, content in watch.pieces)
    assert sorted(watch.pieces) == watch.pieces


def test_a_watch_that_breaks_harms_no_run(
    make_supervisor: Callable[..., Supervisor], make_job: MakeJob, results: Results, tmp_path: Path
) -> None:
    """What a watch raises is logged and the run ends as ever."""
    go_on = tmp_path / "go-on"
    go_on.touch()
    supervisor = make_supervisor()
    supervisor.watch(Watch(raises=True))
    supervisor.submit(make_job(TWO_TASKS, secrets={"ansible_become_pass": SECRET}, extra_vars={"go_on": str(go_on)}))
    result = results.wait()

    assert RunOutcome.SUCCEEDED is result.outcome
    assert "the first task says" in text(result)
