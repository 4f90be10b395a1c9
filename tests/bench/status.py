"""CPU of `prestager status` against a running service, as a multiple of `python -c pass`.

Run it with `make bench`, or alone: `python -m tests.bench.status`. The service is one process over SQLite; the
command is a process of its own each time, without any setting of the service.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.bench.goals import Goal, judge, show_machine
from tests.bench.measured_installation import EMBEDDED, measured_installation
from tests.support.cpu_time import times_an_empty_program
from tests.support.operator_shell import OperatorShell

SITES: Final = 5000
WIDTH: Final = 500
GOAL_TIMES: Final = 30.0
_PRESTAGER: Final = str(Path(sys.executable).with_name("prestager"))


def main(arguments: list[str]) -> int:
    """Measure, print the goal, and return the exit status."""
    parser = ArgumentParser(prog="python -m tests.bench.status", description="Measure the CPU of prestager status.")
    parser.add_argument("--sites", type=int, default=SITES, help="sites of the strategy (%(default)s)")
    chosen = parser.parse_args(arguments)
    show_machine()
    return judge(measure(chosen.sites))


def measure(sites: int) -> Iterator[Goal]:
    """Measure `prestager status` while a strategy over `sites` sites is there."""
    with measured_installation(EMBEDDED) as installation, TemporaryDirectory(prefix="prestager-bench-") as home:
        installation.add_sites(sites)
        installation.create_strategy(min(WIDTH, sites))
        shell = OperatorShell(Path(home), installation.url, installation.token)
        times = times_an_empty_program(_PRESTAGER, "status", environment=shell.environment)
        yield Goal(name=f"prestager status, {sites:,} sites", measured=times, limit=GOAL_TIMES, unit="x python -c pass")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
