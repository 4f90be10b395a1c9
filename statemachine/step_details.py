"""The sentences that end up in a step's details (contract 7.2, 8.6, 8.8)."""

from __future__ import annotations

from typing import Final

from statemachine.states import StepState

# Longest text a step's details hold, in characters (contract 3.2, HEAD).
DETAILS_LENGTH: Final = 1000

_WORK: Final = {
    StepState.PREPARE: "Prestaging prepare",
    StepState.PACKAGES: "Prestaging packages",
    StepState.IMAGES: "Prestaging images",
    StepState.UNSTAGING: "Removing the staged release",
}


def phase_failed(phase: str, name: str, reason: str) -> str:
    """Return the details of a step that failed in `phase`.

    A playbook phase names the failed subcloud, where its full output is read, and the reason; precheck gives its
    reason alone, for it has no output.
    """
    work = _WORK.get(StepState(phase))
    if work is None:
        return shorten(f"{phase}: {reason}")
    log = f"/v1.0/sw-update-strategy/steps/{name}/log?phase={phase}"
    where = f"check individual log at {log} for detailed output."
    return shorten(f"{phase}: {work} failed for subcloud {name}, {where} {reason}".rstrip())


def earlier_preparation_failed() -> str:
    """Return the details of a step whose preparation another step had already seen fail."""
    return f"{StepState.PREPARE}: Aborted due to previous prestage-prepare failure"


def unmanaged(name: str) -> str:
    """Return the details of a step whose subcloud was unmanaged before it started."""
    return f"Subcloud {name} is unmanaged."


def lost_too_often(attempts: int) -> str:
    """Return the reason of a phase whose worker was lost at every attempt."""
    return f"The worker was lost during the run, {attempts} time(s) in all; no attempt is left."


def shorten(text: str) -> str:
    """Cut `text` to what a step's details hold, marking the cut with two dots as upstream does."""
    return text if len(text) <= DETAILS_LENGTH else text[: DETAILS_LENGTH - 2] + ".."
