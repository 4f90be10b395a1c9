"""One process of an installation whose playbooks only take time: `python -m tests.bench.timed_process up|worker`.

It is `prestager up` or `prestager worker` but for the runner. `TimedPlaybooks.VARIABLE` names a directory: there is
`durations.json`, the seconds of each playbook by site, and the process writes `journal`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

from monitoring.logging import configure_logs
from runner.fake import FakeRunEnd, FakeRunner
from runner.interface import OnFinished, PlaybookJob, RunEnded
from service.process import serve
from service.roles import ALL_ROLES, ProcessRole
from service.startup_checks import startable_settings

_ROLES: Final = {"up": ALL_ROLES, "worker": frozenset({ProcessRole.WORKER})}

Durations = Mapping[str, Mapping[str, float]]


class PlaybookTimes(NamedTuple):
    """One playbook of a site; times are those of the machine's monotonic clock, in seconds."""

    host: str
    playbook: str
    started_s: float
    ended_s: float


class TimedPlaybooks:
    """Playbooks that end after the seconds that `durations` has for their site and name, at once without an entry."""

    VARIABLE: Final = "BENCH_PLAYBOOKS_DIR"

    def __init__(self, directory: Path, slots: int) -> None:
        self._durations: Durations = json.loads((directory / "durations.json").read_text())
        self._slots = slots
        self._started: dict[int, tuple[str, str, float]] = {}
        # By lines: the journal is read while the process runs.
        self._journal = (directory / "journal").open("a", buffering=1)

    def runner(self, on_finished: OnFinished) -> FakeRunner:
        """Return the runner of these playbooks."""

        def finished(ended: RunEnded) -> None:
            now = monotonic()
            host, playbook, started_s = self._started.pop(ended.run_id)
            self._journal.write(f"{host} {playbook} {started_s} {now}\n")
            on_finished(ended)

        return FakeRunner(slots=self._slots, on_finished=finished, decide=self._decide)

    def _decide(self, job: PlaybookJob) -> FakeRunEnd:
        self._started[job.run_id] = (job.host, job.playbook.stem, monotonic())
        return FakeRunEnd(delay_s=self._durations.get(job.host, {}).get(job.playbook.stem, 0.0))


def write_durations(directory: Path, durations: Durations) -> None:
    """Write the seconds of playbooks by site, before the process starts."""
    directory.mkdir(exist_ok=True)
    (directory / "durations.json").write_text(json.dumps(durations))


def read_journal(directory: Path) -> list[PlaybookTimes]:
    """Return the playbooks that have ended, in the order of their ends."""
    lines = (directory / "journal").read_text().splitlines()
    return [PlaybookTimes(host, name, float(begin), float(end)) for host, name, begin, end in map(str.split, lines)]


def main(arguments: list[str]) -> None:
    """Run the process until it is told to end."""
    (kind,) = arguments
    settings = startable_settings()
    configure_logs(settings.log_format, settings.log_level)
    playbooks = TimedPlaybooks(Path(os.environ[TimedPlaybooks.VARIABLE]), settings.slots)
    serve(settings, _ROLES[kind], playbooks.runner)


if __name__ == "__main__":
    main(sys.argv[1:])
