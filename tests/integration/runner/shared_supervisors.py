"""Supervisors that tests share, one for each set of options: whether its runs are forked, its Ansible, its limits."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from runner.interface import RunEnded
from runner.processes import marked, templates
from runner.supervisor import Supervisor
from tests.integration.runner.forked_runs import Plain
from tests.integration.runner.run_watch import Results, run_directories
from tests.support.waiting import wait_for

# Between TERM and KILL.
STOP_GRACE_S: Final = 2.0
_SLOTS: Final = 4


@contextmanager
def short_directory() -> Iterator[Path]:
    """Give a directory in memory whose path is short; it is gone afterwards."""
    path = Path(tempfile.mkdtemp(prefix="pt-", dir="/dev/shm"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


class SharedSupervisor:
    """A started supervisor without warm children.

    Attributes:
        worker: Its worker name.

        run_root: Where its runs have their directories.

        results: Takes the results of the test that has the supervisor.

        plain: Counts the children that could not be forked.
    """

    def __init__(self, run_root: Path, **options: Any) -> None:
        self.worker = f"test-{uuid.uuid4().hex[:8]}"
        self.run_root = run_root
        self.results = Results()
        self.plain = Plain()
        self.supervisor = Supervisor(
            slots=_SLOTS,
            worker=self.worker,
            on_finished=self._take,
            run_root=run_root,
            warm=0,
            stop_grace_s=STOP_GRACE_S,
            on_plain_start=self.plain,
            **options,
        )
        self.supervisor.start()

    def end_runs(self) -> None:
        """End the runs of a test that has failed in their middle, and wait until none is left."""
        for run_id in range(1, 100):
            self.supervisor.stop_run(run_id, "the test is over")
        wait_for(lambda: self.supervisor.free_slots == _SLOTS)

    def _take(self, result: RunEnded) -> None:
        self.results(result)


class SharedSupervisors:
    """Starts each supervisor when the first test needs it."""

    def __init__(self) -> None:
        self._places = ExitStack()
        self._made: dict[str, SharedSupervisor] = {}

    @contextmanager
    def lent(self, results: Results, **options: Any) -> Iterator[SharedSupervisor]:
        """Give a test the supervisor with these options; in the end no run of the test is left."""
        shared = self.get(**options)
        shared.results = results
        yield shared
        shared.end_runs()
        # A result is there a moment before the process that reported it has ended.
        wait_for(lambda: not marked(shared.worker) and not run_directories(shared.run_root, shared.worker))

    def get(self, **options: Any) -> SharedSupervisor:
        """Return the supervisor with these options of `Supervisor`."""
        key = repr(sorted(options.items()))
        if key not in self._made:
            run_root = self._places.enter_context(short_directory())
            self._made[key] = SharedSupervisor(run_root, **options)
        return self._made[key]

    def close(self) -> None:
        """Stop all of them; each must leave neither a process nor a file."""
        with self._places:
            for shared in self._made.values():
                shared.supervisor.stop()
                assert [*marked(shared.worker), *templates(shared.worker)] == []
                assert [path for path in shared.run_root.iterdir() if path.is_dir()] == []
