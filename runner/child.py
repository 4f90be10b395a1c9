"""The small process that hosts one playbook run: `python -m runner.child`, started by the supervisor only.

It waits for a job with ansible-runner already imported, runs it in its private directory, reports, and ends. It ends
its whole tree on request, when the supervisor is gone, and when the playbook is over.
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runner.ansible_installation import set_environment
from runner.child_reporter import ReportSender
from runner.private_dir import PrivateDir
from runner.process_limits import adopt_orphans, forbid_memory_dumps, limit_memory
from runner.processes import RUN_OPTION
from runner.protocol import ABANDONED_EXIT_CODE, Accepted
from runner.watchdog import SupervisorWatchdog

if TYPE_CHECKING:
    # It imports Ansible's runner, which takes a third of a second.
    from runner.preload.run_process import LoadedAnsible

# A frozen supervisor that comes back should learn how the run ended; a dead one never reads it, in seconds.
_LAST_REPORT_S = 2.0


def main(arguments: Sequence[str] | None = None, loaded: LoadedAnsible | None = None) -> None:
    """Host one run; does not return.

    `arguments` are by default those of this process. With `loaded` this process was forked from one that has loaded
    Ansible.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--private-dir", type=Path, required=True)
    parser.add_argument("--silence-limit-s", type=float, required=True)
    # For those who look for the processes of runs; it is not read here.
    parser.add_argument(RUN_OPTION, required=True)
    parser.add_argument("--process-memory-bytes", type=int, required=True)
    parser.add_argument("--ansible-playbook", type=Path, required=True)
    options = parser.parse_args(arguments)
    forbid_memory_dumps()
    orders, reports = take_pipes()
    adopt_orphans()
    limit_memory(options.process_memory_bytes)
    if loaded is not None:
        _fork_playbook(loaded)
    host_run(PrivateDir(options.private_dir), orders, reports, options.ansible_playbook, options.silence_limit_s)
    # Not a normal exit: threads of libraries must not hold the process back.
    os._exit(0)


def _fork_playbook(loaded: LoadedAnsible) -> None:
    """Fork the process of the playbook, while this one has one thread, and have ansible-runner use it."""
    import ansible_runner.runner  # noqa: PLC0415

    from runner.preload.run_process import ForkedPexpect, RunProcess  # noqa: PLC0415

    ansible_runner.runner.pexpect = ForkedPexpect(RunProcess(loaded))


def host_run(place: PrivateDir, orders: int, reports: int, ansible_playbook: Path, silence_limit_s: float) -> None:
    """Wait for the job, run it, report; returns at once when there will be none."""
    reported = threading.Event()

    def leave() -> None:
        reported.wait(_LAST_REPORT_S)
        place.remove()
        os._exit(ABANDONED_EXIT_CODE)

    watchdog = SupervisorWatchdog(orders, silence_limit_s=silence_limit_s, on_abandoned=leave)
    watchdog.start()
    # A handler, not SIG_IGN: an ignored signal would stay ignored in ansible-playbook.
    signal.signal(signal.SIGTERM, lambda *_: watchdog.terminate())
    os.chdir(place.path)
    # Imported here, after the watchdog: this takes a third of a second, the better part of a start.
    import ansible_runner  # noqa: PLC0415

    from runner.playbook import PlaybookRun  # noqa: PLC0415

    job = watchdog.wait_for_job()
    if job is None:
        watchdog.returned.set()
        place.remove()
        return
    join_trace(job.traceparent)
    join_set(is_ours=job.is_ours)
    reporter = ReportSender(reports)
    reporter.send(Accepted())
    ended = PlaybookRun(job, place, watchdog, reporter, ansible_playbook).run(ansible_runner.run)
    place.remove()
    reporter.send(ended)
    reporter.close()
    reported.set()


def take_pipes() -> tuple[int, int]:
    """Move the pipes from the supervisor off standard input and output, where Ansible could find them.

    Returns:
        The descriptors for orders (read) and reports (write); neither is inherited by any process.
    """
    orders, reports = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    return orders, reports


def join_trace(traceparent: str | None) -> None:
    """Have the playbook of this process know where it is in a trace, by the name that Ansible's own callback reads.

    By the order to start and not when the child is made: that was before there was a run for it.
    """
    if traceparent is not None:
        os.environ["TRACEPARENT"] = traceparent


def join_set(*, is_ours: bool) -> None:
    """Have the playbook of this process run as its set needs it; known no sooner than the order to start."""
    os.environ.update(set_environment(is_ours=is_ours))


if __name__ == "__main__":
    main()
