"""Runs one playbook through ansible-runner, inside the child process, and says how it ended."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shlex
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.child_reporter import ReportSender
from runner.errors import SiteAddressError
from runner.event_collector import EventCollector, HostWork
from runner.failure_text import FailedTask, joined, read_failures, sentence, with_remark
from runner.interface import PlaybookJob
from runner.inventory import write_job
from runner.machine_addresses import with_checked_address
from runner.masking import Masker
from runner.private_dir import PrivateDir
from runner.process_limits import memory_remark, take_reserve
from runner.processes import descendants, end_processes
from runner.progress import AnnouncedBytes, ProgressCounter, TaskTimes
from runner.protocol import Announced, Ended, Output, OutputTail
from runner.watchdog import SupervisorWatchdog
from statemachine.problems import Failure, failure
from statemachine.states import FailureClass, RunOutcome

# ansible-runner looks at the clock this often, in seconds; it bounds the wait when the end of output is not seen.
_EXPECT_TIMEOUT_S = 1

# A file system with less free space than this, in bytes, is what broke the run.
_FULL_BELOW_BYTES = 64 * 1024

# How long what a playbook left behind may take to end, in seconds.
_LEFTOVER_GRACE_S = 0.5


def runner_arguments(
    job: PlaybookJob, place: PrivateDir, inventory: list[str], ansible_playbook: Path
) -> dict[str, Any]:
    """Return the arguments for `ansible_runner.run` to run `ansible_playbook`, without the handlers.

    No timeout of ansible-runner is ever set: they use the wall clock and do not stop tasks. No `passwords`, no
    `extravars`, no `suppress_env_files`: those would put secrets into files we do not control or onto the command line.
    """
    return {
        "private_data_dir": str(place.path),
        # Not `playbook`: that would run the first `ansible-playbook` of PATH. This one may have another name.
        "binary": str(ansible_playbook),
        "cmdline": shlex.quote(str(job.playbook)),
        "inventory": inventory,
        "ident": "run",
        "quiet": True,
        "fact_cache_type": "memory",
        "settings": {"pexpect_timeout": _EXPECT_TIMEOUT_S, "suppress_output_file": True},
    }


class PlaybookRun:
    """One playbook from the job's arrival to its last report; everything happens in the main thread but the guard."""

    def __init__(
        self,
        job: PlaybookJob,
        place: PrivateDir,
        watchdog: SupervisorWatchdog,
        reporter: ReportSender,
        ansible_playbook: Path,
    ) -> None:
        self._job = job
        self._ansible_playbook = ansible_playbook
        self._place = place
        self._watchdog = watchdog
        self._masker = Masker(job.secrets.values(), public=[job.host, str(job.host_vars.get("ansible_user", ""))])
        self._reporter = reporter
        self._collector = EventCollector(self._masker, lambda text: reporter.send(Output(text=text)), reporter.preview)
        self._work = HostWork(job.host)
        self._progress = ProgressCounter(self._masker)
        self._announced = AnnouncedBytes()
        # Nobody asks for the times of a run that is not traced.
        self._times = TaskTimes(self._masker, time.time) if job.traceparent is not None else None
        self._guarded = False
        self._full = False

    def run(self, ansible_run: Callable[..., Any]) -> Ended:
        """Run the playbook with `ansible_runner.run`; never raises. Afterwards no process of it is left."""
        status, reason = "failed", ""
        try:
            job = self._job
            if job.checks_address:
                job = replace(job, host_vars=with_checked_address(job.host_vars))
            arguments = runner_arguments(job, self._place, write_job(job, self._place), self._ansible_playbook)
            if not self._watchdog.stopping.is_set():
                runner = ansible_run(**arguments, event_handler=self._on_event, cancel_callback=lambda: False)
                status, reason = runner.status, _exit_reason(runner.rc, self._ansible_playbook)
        except SiteAddressError as error:
            reason = str(error)
        # Whatever goes wrong in or around ansible-runner is a failed run with a text, never a lost one.
        except Exception as error:  # noqa: BLE001
            self._full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
            reason = f"the run broke off: {type(error).__name__}: {_first_line(error)}"
        finally:
            self._watchdog.returned.set()
            if self._watchdog.stopping.is_set():
                # What outlives ansible-playbook has the grace of the stop too.
                self._watchdog.stopped.wait()
            end_processes(descendants, grace_s=_LEFTOVER_GRACE_S)
        return self._ended(status, reason)

    def _on_event(self, event: dict[str, Any]) -> bool:
        """Take an event in; False keeps ansible-runner from writing it to disk."""
        if event.get("event") == "playbook_on_start":
            # Ansible has read its inventory by now; from here on the secrets are in memory only.
            self._place.secrets_file.unlink(missing_ok=True)
        if not self._guarded and event.get("pid"):
            self._guarded = True
            take_reserve()
            threading.Thread(target=self._guard_end, args=(event["pid"],), daemon=True).start()
        self._collector.take(event)
        self._work.take(event)
        if self._announced.take(event):
            self._reporter.send(Announced(transfer_bytes=self._announced.total))
        if self._progress.take(event):
            self._reporter.show(self._progress.now)
        if self._times is not None:
            self._times.take(event)
        return False

    def _guard_end(self, pid: int) -> None:
        """End the processes that outlive ansible-playbook.

        A background process that holds the terminal open would make ansible-runner wait for the end of output, then
        raise and lose the result.
        """
        with contextlib.suppress(OSError):
            descriptor = os.pidfd_open(pid)
            select.select([descriptor], [], [])
            os.close(descriptor)
        if not self._watchdog.returned.wait(_LEFTOVER_GRACE_S) and not self._watchdog.stopping.is_set():
            end_processes(descendants, grace_s=_LEFTOVER_GRACE_S)

    def _ended(self, status: str, reason: str) -> Ended:
        failed = read_failures(self._place.failures_file, self._masker, self._names())
        outcome, details = self._interpret(status, reason, failed)
        why = self._why(details, failed) if outcome is RunOutcome.FAILED else None
        self._reporter.settle()
        for piece in self._collector.finish():
            self._reporter.send(OutputTail(text=piece))
        at_bytes, left_out_bytes = self._collector.left_out
        return Ended(
            outcome=outcome,
            details=sentence(self._masker.text(details)),
            facts=self._collector.facts if outcome is RunOutcome.SUCCEEDED else {},
            left_out_at_bytes=at_bytes,
            left_out_bytes=left_out_bytes,
            tasks=self._times.finish() if self._times is not None else (),
            failure=why,
        )

    def _interpret(self, status: str, reason: str, failed: Sequence[FailedTask]) -> tuple[RunOutcome, str]:
        problem = self._work.problem
        if status == "successful" and self._collector.complete and not problem:
            return RunOutcome.SUCCEEDED, ""
        if self._watchdog.stopping.is_set():
            return RunOutcome.LOST, self._watchdog.cause or self._last_task()
        if self._is_full():
            return RunOutcome.FAILED, f"no space left in {self._place.path.parent}"
        if status == "successful":
            lost = "the end of the playbook was not seen: its last events were lost"
            return RunOutcome.FAILED, problem if self._collector.complete else lost
        # Each of the sentences is masked before it is cut.
        found = joined([one.sentence for one in failed]) or self._collector.startup_failure or reason
        remark = memory_remark(found)
        return RunOutcome.FAILED, with_remark(found, remark) if remark else found

    def _why(self, details: str, failed: Sequence[FailedTask]) -> Failure:
        """Return the failure of the first task that failed; without one what kept the playbook from its end."""
        if self._full:
            return failure(self._masker.text(details), failure_class=FailureClass.SPACE)
        if failed:
            return failed[0].failure
        kind = FailureClass.UNREACHABLE if self._work.is_unreachable else None
        return failure(self._masker.text(details), failure_class=kind, names=self._names())

    def _names(self) -> tuple[str, ...]:
        job = self._job
        return job.host, *(str(value) for name, value in job.host_vars.items() if name in _NAMING_VARIABLES)

    def _last_task(self) -> str:
        return f"task '{self._collector.task}' was running" if self._collector.task else "no task had started"

    def _is_full(self) -> bool:
        with contextlib.suppress(OSError):
            room = os.statvfs(self._place.path)
            self._full = self._full or room.f_bavail * room.f_frsize < _FULL_BELOW_BYTES
        return self._full


# Connection variables that name a site or its login user.
_NAMING_VARIABLES = frozenset({"ansible_host", "ansible_ssh_host", "ansible_user", "ansible_ssh_user"})

# What a shell and pexpect return for a program that is not there.
_NOT_FOUND = 127


def _exit_reason(code: int | None, ansible_playbook: Path) -> str:
    if code == 0:
        return ""
    if code is None:
        return "ansible-playbook was killed by a signal (the machine may be out of memory)"
    if code == _NOT_FOUND:
        return f"{ansible_playbook} is not there or cannot be run; PRESTAGER_ANSIBLE names another ansible-playbook"
    return f"ansible-playbook ended with code {code}"


def _first_line(error: Exception) -> str:
    # The text of pexpect's errors is a dump of its whole state; its first line says it all.
    return str(error).strip().split("\n", 1)[0]
