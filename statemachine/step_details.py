"""Sentences in the details of steps (contract 7.2, 8.6, 8.8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from statemachine.states import PHASES, Phase, StepState

# Longest details of a step, in characters (contract 3.2, HEAD).
DETAILS_LENGTH: Final = 1000


def phase_failed(phase: str, name: str, reason: str, phases: Mapping[str, Phase] = PHASES) -> str:
    """Return the details of a step that failed in `phase`, one of `phases`.

    A playbook phase names the failed subcloud, where its full output is read, and the reason; precheck gives its
    reason alone, for it has no output.

    Raises:
        ValueError: `phase` is not one of `phases`.
    """
    if phase not in phases:
        raise ValueError(f"{phase!r} is not a phase")
    work = phases[phase].wording
    if not work:
        return shorten(f"{phase}: {reason}")
    where = f"check individual log at {log_path(name, phase)} for detailed output."
    return shorten(f"{phase}: {work} failed for subcloud {name}, {where} {reason}".rstrip())


def log_path(name: str, phase: str) -> str:
    """Return the path of the output of a phase at a subcloud."""
    return f"/v1.0/sw-update-strategy/steps/{name}/log?phase={phase}"


def earlier_preparation_failed() -> str:
    """Return the details of a step whose preparation another step had already seen fail."""
    return f"{StepState.PREPARE}: Aborted due to previous prestage-prepare failure"


def cancelled(state: str, caller: str | None) -> str:
    """Return the details of a step that was cancelled in `state`; None: the caller is not known."""
    where = "before it started" if state == StepState.INITIAL else f"in {state}"
    return shorten(f"cancelled {where}" + (f" by {caller}" if caller else ""))


def unmanaged(name: str) -> str:
    """Return the details of a step whose subcloud was unmanaged before it started."""
    return f"Subcloud {name} is unmanaged."


def lost_too_often(attempts: int) -> str:
    """Return the reason of a phase whose worker was lost at every attempt."""
    return f"The worker was lost during the run, {attempts} time(s) in all; no attempt is left."


def shorten(text: str) -> str:
    """Cut `text` to the longest details, marking the cut with two dots as upstream does."""
    return text if len(text) <= DETAILS_LENGTH else text[: DETAILS_LENGTH - 2] + ".."
