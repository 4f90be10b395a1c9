"""Lines between a supervisor and its child: one JSON object per line in each direction.

The supervisor writes orders to the child's standard input and reads reports from its standard output. Secrets pass
here and nowhere else: never in arguments, environment, or logs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from runner.interface import PlaybookJob
from runner.progress import Progress, TaskEnd, TaskTime
from runner.ssh_arguments import KnownHost
from statemachine.problems import Failure
from statemachine.states import FailureClass, RunOutcome

# Longest line either side reads, in bytes; facts and output pieces are cut far below it.
LINE_LIMIT_BYTES = 8 * 1024 * 1024

# A child ends with this code when it gave up on its supervisor and could not report.
ABANDONED_EXIT_CODE = 3


@dataclass(frozen=True, kw_only=True)
class Ping:
    """Order: go on living; silence means that the supervisor is dead or frozen."""


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Order: stop the tree, asking politely for `grace_s` seconds, and report how far the playbook came."""

    grace_s: float


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """Report: the job arrived; from here on something may have happened on the site."""


@dataclass(frozen=True, kw_only=True)
class Announced:
    """Report: the bytes that the run brings to the site, as far as its tasks have announced them."""

    transfer_bytes: int


@dataclass(frozen=True, kw_only=True)
class Output:
    """Report: the next piece of the playbook's output, already masked."""

    text: str


@dataclass(frozen=True, kw_only=True)
class OutputPreview:
    """Report: for the live output, a piece of the output that is held back until the end; masked."""

    # Its place in all that the playbook printed; text is missing before it where there was too much.
    at_bytes: int
    text: str


@dataclass(frozen=True, kw_only=True)
class OutputTail:
    """Report: a piece of the end of the output, which was held back."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Ended:
    """Report: the last one; no process of the run but the child itself is left."""

    # As in `RunEnded`.
    outcome: RunOutcome
    # Empty on success; on failure a sentence; on a stop what was going on, or why the child stopped by itself.
    details: str
    facts: Mapping[str, Any]
    # Where something of the output is left out, and how much.
    left_out_at_bytes: int = 0
    left_out_bytes: int = 0
    # If the run is traced.
    tasks: Sequence[TaskTime] = ()
    # As in `RunEnded`.
    failure: Failure | None = None


# The job is the order to start; it is sent once, at most.
Order = PlaybookJob | Ping | Stop
Report = Accepted | Announced | Output | OutputPreview | Progress | OutputTail | Ended

_ORDERS: dict[str, type[Order]] = {"start": PlaybookJob, "ping": Ping, "stop": Stop}
_REPORTS: dict[str, type[Report]] = {
    "accepted": Accepted,
    "announced": Announced,
    "output": Output,
    "preview": OutputPreview,
    "progress": Progress,
    "tail": OutputTail,
    "ended": Ended,
}
_KINDS = {cls: kind for kind, cls in (*_ORDERS.items(), *_REPORTS.items())}


def encode(message: Order | Report) -> bytes:
    """Return `message` as one line, newline included. Mappings in it must hold JSON values only."""
    fields = {"kind": _KINDS[type(message)], **asdict(message)}
    return json.dumps(fields, ensure_ascii=True, default=_text_of_path).encode() + b"\n"


def _text_of_path(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no value of JSON")


def decode_order(line: bytes) -> Order:
    """Parse a line from the supervisor; ValueError or TypeError when it is none of the orders."""
    fields = json.loads(line)
    if fields.get("playbook") is not None:
        fields["playbook"] = Path(fields["playbook"])
    if fields.get("known_host") is not None:
        fields["known_host"] = KnownHost(**fields["known_host"])
    return _ORDERS[fields.pop("kind")](**fields)


def decode_report(line: bytes) -> Report:
    """Parse a line from the child; ValueError, KeyError or TypeError when it is none of the reports."""
    fields = json.loads(line)
    report = _REPORTS[fields.pop("kind")](**fields)
    if isinstance(report, Ended):
        tasks = tuple(TaskTime(**{**task, "result": TaskEnd(task["result"])}) for task in fields.get("tasks", ()))
        why = _failure(fields.get("failure"))
        return replace(report, outcome=RunOutcome(report.outcome), tasks=tasks, failure=why)
    return report


def _failure(fields: Mapping[str, str] | None) -> Failure | None:
    if fields is None:
        return None
    return Failure(failure_class=FailureClass(fields["failure_class"]), task=fields["task"], text=fields["text"])
