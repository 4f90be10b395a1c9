"""Benchmarks run through with few sites, each with all of its goals."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Benchmarks have a command of their own, and so has this look at whether they run.
pytestmark = pytest.mark.e2e
_PATIENCE_S = 600.0


@pytest.mark.parametrize(
    ("command", "goals"),
    [
        # Both modes over both databases; the second fleet against the first one.
        (("passes", "--only-growth", "--fleets", "60", "90"), 4),
        # A list, one step, and five reads that a page repeats.
        (("reads", "--sites", "6", "--requests", "4"), 7),
        # Five commands with statistics and without, and six that hold or cancel on each database.
        (("commands", "--sizes", "20", "--held", "20"), 22),
        (("status", "--sites", "6"), 1),
    ],
    ids=["passes", "reads", "commands", "status"],
)
def test_a_benchmark_runs_through(command: tuple[str, ...], goals: int) -> None:
    """A benchmark ends by itself at any number of sites and prints a line for each goal, met or not."""
    name, *arguments = command

    done = subprocess.run(
        [sys.executable, "-m", f"tests.bench.{name}", *arguments],
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )

    lines = done.stdout.splitlines()
    assert sum("(goal: at most " in line for line in lines) == goals, done.stderr
    assert lines[-1].endswith(f" of {goals} goals met"), done.stderr
    assert done.returncode in {0, 1}, done.stderr
