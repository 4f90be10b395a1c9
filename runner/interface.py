"""Interface between worker and runner: jobs and results.

Written by the step actors, read by every runner. Holds values only: no process, no file, no database.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from runner.progress import Progress, TaskTime
from runner.ssh_arguments import KnownHost
from statemachine.problems import Failure
from statemachine.states import FailureClass, RunOutcome

# Floor of the rate of links to sites, in Mbit/s.
DEFAULT_FLOOR_RATE_MBIT_S: Final = 2.0
# Time of a run beside its transfer, in seconds.
_BESIDE_S: Final = 600.0
# Longest deadline that announced bytes can give, in seconds: a site may announce any number.
LONGEST_S: Final = 7 * 86400.0
_BITS: Final = 8
_MEGA: Final = 1_000_000


@dataclass(frozen=True, kw_only=True)
class PlaybookJob:
    """One playbook to run once, on one host."""

    # Id of the run, unique for the life of the database.
    run_id: int
    # Absolute path of the playbook.
    playbook: Path
    # Name of the only host of the inventory.
    host: str
    # Connection variables of the host; never a secret.
    host_vars: Mapping[str, Any]
    # Secret variables of the host (ansible_ssh_pass, ansible_become_pass); gone from disk once the playbook starts.
    secrets: Mapping[str, str] = field(repr=False)
    # Passed to the playbook as JSON; never a secret.
    extra_vars: Mapping[str, Any]
    # SSH keys of the host, which every ssh of the playbook to it must find; None: they are not checked.
    known_host: KnownHost | None = None
    # Longest time the playbook may take by its setting, in seconds of a monotonic clock; None: only `limit_s` counts.
    deadline_s: float | None
    # Longest time that nothing moves, in seconds of the same clock; None: there is none.
    limit_s: float | None = None
    # Sentence about a run that has reached it.
    limit_reason: str = ""
    # Slowest link to a site, in Mbit/s: what the playbook brings there moves its deadline by this.
    floor_rate_mbit_s: float = DEFAULT_FLOOR_RATE_MBIT_S
    # Of our set of playbooks. Facts that a site answers are in `ansible_facts` only there: a site cannot override the
    # playbook's own variables. In sets of others they become variables too, as is Ansible's default.
    is_ours: bool = False
    # Whether a caller or the site may have named the host, so that its address is judged when the run begins.
    checks_address: bool = False
    # Where the run is in a trace (W3C); with it the playbook's tasks are timed. None: they are not.
    traceparent: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunEnded:
    """Result of one job."""

    run_id: int
    # SUCCEEDED; FAILED by the playbook or its deadline; CANCELLED by an operator; LOST where the run was stopped for
    # another reason or its process died with the worker, which says nothing about the site.
    outcome: RunOutcome
    # One sentence for an operator, made from the run's own events; empty on success. Never holds a secret.
    details: str
    # Everything the playbook printed, zlib-compressed UTF-8, secrets masked.
    output: bytes
    # Values the playbook handed back by set_stats, and for precheck the facts of the site.
    facts: Mapping[str, Any]
    # Where something of the output is left out, by a line that says so, and how much.
    left_out_at_bytes: int = 0
    left_out_bytes: int = 0
    # Where the output ends though the playbook may have printed more, for the run's process ended without a report; a
    # watch may have got some of the rest. None: the output is whole.
    cut_at_bytes: int | None = None
    # The first tasks of the playbook, if it was traced.
    tasks: Sequence[TaskTime] = ()
    # Why it failed, with class and task; None: `details` say it alone.
    failure: Failure | None = None


@dataclass(frozen=True, kw_only=True)
class StopRequest:
    """Reason to stop one run, and how it is stopped."""

    # Outcome of the run unless its playbook ends before the request takes effect.
    outcome: RunOutcome
    # Beginning of the details of the result.
    reason: str
    # Seconds between TERM and KILL.
    grace_s: float
    # Longest time that the end of a critical section of the playbook is waited for, in seconds.
    critical_section_s: float = 0.0
    # Class of the failure that it makes of the run; None: it makes none.
    failure_class: FailureClass | None = None


def deadline_for(setting_s: float, transfer_bytes: int, floor_rate_mbit_s: float) -> float:
    """Return the longest time of a run in seconds: its setting, or more for many bytes over a slow link."""
    needed_s = _BESIDE_S + transfer_bytes * _BITS / (floor_rate_mbit_s * _MEGA) if transfer_bytes else 0.0
    return max(setting_s, min(needed_s, LONGEST_S))


class RunWatch(Protocol):
    """Takes progress and output of runs. Called from its thread, before a run's result: quick, never raises."""

    def add_output(self, run_id: int, at_bytes: int, content: bytes) -> None:
        """Take the next piece of the output of a run: UTF-8, masked, at its place in all that it printed.

        Of a run that prints very much, pieces are missing here that its output holds.
        """

    def set_progress(self, run_id: int, progress: Progress) -> None:
        """Take the progress of a run."""


class NullRunWatch:
    """Ignores everything."""

    def add_output(self, run_id: int, at_bytes: int, content: bytes) -> None:
        """Do nothing."""

    def set_progress(self, run_id: int, progress: Progress) -> None:
        """Do nothing."""


class Runner(Protocol):
    """Runs playbooks for one worker process; the supervisor is the real one."""

    @property
    def free_slots(self) -> int:
        """Number of jobs that `submit` still accepts."""

    def watch(self, watch: RunWatch) -> None:
        """Pass output and progress of runs to `watch`; called before `start`."""

    def start(self) -> None:
        """Remove the leftovers of an earlier process of this worker, then be ready for jobs."""

    def submit(self, job: PlaybookJob) -> None:
        """Start `job` and return at once; its result arrives at the callback given at construction.

        Raises:
            NoFreeSlotError: All slots are taken; nothing was started.
        """

    def stop_run(self, run_id: int, reason: str) -> None:
        """Stop the run's whole process tree; its result arrives as LOST. Unknown and ended runs are ignored."""

    def cancel(self, run_id: int, grace_s: float) -> None:
        """Stop the run's whole process tree for an operator; its result arrives as CANCELLED.

        A critical section of its playbook ends first, or lasts 600 s. Unknown and ended runs are ignored; repeating it
        does nothing.

        Args:
            run_id: Id of the run.

            grace_s: Seconds between TERM and KILL.
        """

    def stop(self) -> None:
        """Stop all runs and wait until no process of theirs is left. Repeating it does nothing."""


# Called from the runner's own thread, once per submitted job; must return quickly.
OnFinished = Callable[[RunEnded], None]
