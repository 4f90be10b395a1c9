"""Sentences about the failures that the callback has kept."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from runner.failure_text import read_failures
from runner.masking import Masker


def test_a_reason_that_is_part_of_a_secret(tmp_path: Path) -> None:
    """The reason is one line of what a task printed; no line of a secret that was wrapped over lines is told."""
    secret = "0123456789-abcdefghij" * 5
    printed = base64.encodebytes(secret.encode()).decode()
    file = tmp_path / "failures"
    result = {"cmd": "", "rc": 1, "stdout": printed}
    file.write_text(json.dumps([{"task": "T", "host": "h", "unreachable": False, "result": result}]))

    (found,) = read_failures(file, Masker([secret]))
    assert found.sentence == "task 'T' on h: command returned 1: ********"


def test_without_a_file(tmp_path: Path) -> None:
    """Where nothing failed there is no file."""
    assert [] == read_failures(tmp_path / "failures", Masker([]))
