"""CPU time of commands as a multiple of an empty Python program's, which a busy machine slows as much."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from statistics import median
from typing import Final

_ROUNDS: Final = 3


def cpu_s(*command: str, environment: Mapping[str, str] | None = None) -> float:
    """Run a command without output, and return the CPU time that it took, in seconds."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    try:
        pid = os.posix_spawn(
            command[0],
            command,
            os.environ if environment is None else environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, devnull, number) for number in (1, 2)],
        )
    finally:
        os.close(devnull)
    _, status, usage = os.wait4(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return usage.ru_utime + usage.ru_stime


def times_an_empty_program(*command: str, environment: Mapping[str, str] | None = None) -> float:
    """Return the median CPU time of a command, divided by that of `python -c pass`."""
    # In turns, so that a busy machine slows both.
    pairs = [(cpu_s(sys.executable, "-c", "pass"), cpu_s(*command, environment=environment)) for _ in range(_ROUNDS)]
    empty, full = (median(times) for times in zip(*pairs, strict=True))
    return full / empty
