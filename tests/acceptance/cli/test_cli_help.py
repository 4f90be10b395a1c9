"""The CPU time that the help of `prestager` takes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.cpu_time import times_an_empty_program

PRESTAGER = Path(sys.executable).with_name("prestager")
# Wanted: 20 times an empty program. A busy machine may take half as much again.
WANTED = 20
MARGIN = 1.5


@pytest.mark.parametrize("arguments", [(), ("db", "upgrade")], ids=["all", "one command"])
def test_the_help_takes_little_more_than_python(arguments: tuple[str, ...]) -> None:
    """A help takes at most twenty times the CPU time of an empty Python program, that of a command too."""
    assert times_an_empty_program(str(PRESTAGER), *arguments, "--help") <= WANTED * MARGIN
