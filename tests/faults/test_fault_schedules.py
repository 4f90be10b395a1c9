"""Lost, doubled and reordered messages do not show: seeded schedules without a broker, in virtual time."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.fault_installation import scaled

pytestmark = pytest.mark.faults

ROOT = Path(__file__).resolve().parents[2]
LONGEST_S = 60.0


def test_random_schedules_break_no_rule() -> None:
    """Schedules with losses, repeats and crashes, a hundred thousand of them in a minute, break no rule."""
    first = random.SystemRandom().randrange(10**9)
    count = scaled(4_000, 100_000)
    before = cpu_s()
    done = subprocess.run(
        [sys.executable, "-m", "tests.property.simulate", "--first", str(first), "--schedules", str(count)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=280,
    )
    # Of the processors, for the time on the clock depends on who else is at work.
    took_s = (cpu_s() - before) / len(os.sched_getaffinity(0))
    sys.stdout.write(f"--first {first}: {done.stdout}by the processors {took_s:.1f} s\n")

    assert done.returncode == 0, done.stderr[-4000:]
    assert f"{count} schedules" in done.stdout
    assert took_s < LONGEST_S


def cpu_s() -> float:
    """Return the processor time of all processes that this one started and that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
