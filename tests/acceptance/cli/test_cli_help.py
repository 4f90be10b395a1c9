"""The CPU time that the help of `prestager` takes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from statistics import median

PRESTAGER = Path(sys.executable).with_name("prestager")
ROUNDS = 5
# Wanted: 20 times an empty program. A busy machine may take half as much again.
WANTED = 20
MARGIN = 1.5


def cpu_s(*command: str) -> float:
    """Run a command without output, and return the CPU time that it took, in seconds."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    try:
        pid = os.posix_spawn(
            command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, devnull, number) for number in (1, 2)]
        )
    finally:
        os.close(devnull)
    _, status, usage = os.wait4(pid, 0)
    assert 0 == os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def test_the_help_takes_little_more_than_python() -> None:
    """`prestager --help` takes at most twenty times the CPU time of an empty Python program."""
    # In turns, so that a busy machine slows both.
    pairs = [(cpu_s(sys.executable, "-c", "pass"), cpu_s(str(PRESTAGER), "--help")) for _ in range(ROUNDS)]
    empty, with_help = (median(times) for times in zip(*pairs, strict=True))

    assert with_help <= WANTED * MARGIN * empty
