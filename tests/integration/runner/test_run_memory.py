"""The memory of a run is bounded, whatever its site answers, and its report is not lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from runner.capacity import process_memory_bytes
from runner.interface import PlaybookJob
from runner.processes import marked
from runner.supervisor import Supervisor
from statemachine.states import RunOutcome
from tests.integration.runner.run_watch import Results, text

MIB = 1024 * 1024
LIMIT_BYTES = 256 * MIB
SAMPLE_S = 0.1

# Prints without building what it prints first: the module itself stays small, as one on a site that is not ours.
MODULE = """#!/usr/bin/python
# AnsibleModule
import sys
begin, piece, end = {begin!r}, {piece!r}, {end!r}
sys.stdout.write(begin)
for _ in range(48):
    sys.stdout.write(piece * (1024 * 1024 // len(piece)))
sys.stdout.write(end)
"""
PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - {name: Ask, loud: {}}
"""


class Peak:
    """The most memory that the processes of a worker's runs had together, in bytes."""

    def __init__(self, worker: str) -> None:
        self.total_bytes = 0
        self._worker = worker
        self._over = threading.Event()

    def watch(self) -> None:
        """Look again and again until the end."""
        while not self._over.wait(SAMPLE_S):
            self.total_bytes = max(self.total_bytes, sum(map(_pss_bytes, marked(self._worker))))

    def end(self) -> None:
        """Look no more."""
        self._over.set()


def _pss_bytes(process: psutil.Process) -> int:
    with suppress(psutil.Error, OSError):
        size: int = process.memory_full_info().pss
        return size
    return 0


@contextmanager
def peak_of(worker: str) -> Iterator[Peak]:
    """Watch the memory of a worker's runs meanwhile."""
    peak = Peak(worker)
    thread = threading.Thread(target=peak.watch)
    thread.start()
    try:
        yield peak
    finally:
        peak.end()
        thread.join()


@pytest.mark.parametrize(
    ("begin", "piece", "end"),
    [
        ('{"changed": false, "list": [[]', ",[]", "]}"),
        ('{"changed": false, "stdout": "', "abc\\n", '"}'),
        ('{"failed": true, "msg": "broken", "stdout": "', "a\\n", '"}'),
        ('{"a": [{}', ',{"a":"b"}', "]}"),
    ],
    ids=["list", "lines", "failure with lines", "mappings"],
)
def test_an_answer_without_end_fails_its_run_only(
    make_supervisor: Callable[..., Supervisor],
    make_job: Callable[..., PlaybookJob],
    results: Results,
    worker: str,
    tmp_path: Path,
    begin: str,
    piece: str,
    end: str,
) -> None:
    """48 MiB that unfold to gigabytes in Ansible fail with a sentence that says so, and the run keeps its output."""
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "loud.py").write_text(MODULE.format(begin=begin, piece=piece, end=end))
    supervisor = make_supervisor(process_memory=LIMIT_BYTES)
    with peak_of(worker) as peak:
        supervisor.submit(make_job(PLAYBOOK, run_id=1))
        supervisor.submit(make_job(PLAYBOOK.replace("loud", "ping"), run_id=2))
        loud, other = results.wait(1), results.wait(2)

    assert RunOutcome.FAILED is loud.outcome
    assert "task 'Ask' on site1: " in loud.details
    assert "came to its limit of 256 MiB of memory" in loud.details
    assert "PLAY RECAP" in text(loud)
    assert peak.total_bytes < 900 * MIB
    assert (RunOutcome.SUCCEEDED, "") == (other.outcome, other.details)


def test_a_large_answer_is_no_failure(
    make_supervisor: Callable[..., Supervisor],
    make_job: Callable[..., PlaybookJob],
    results: Results,
    tmp_path: Path,
) -> None:
    """An answer of some megabytes fits into the least that a process may have."""
    module = MODULE.format(begin='{"changed": false, "msg": "', piece="a", end='"}').replace("range(48)", "range(8)")
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "loud.py").write_text(module)
    make_supervisor(process_memory=process_memory_bytes(slots=1000)).submit(make_job(PLAYBOOK))
    result = results.wait()

    assert (RunOutcome.SUCCEEDED, "") == (result.outcome, result.details)
