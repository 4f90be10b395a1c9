"""Proofs: which content phases a retried step may pass, for an earlier run has brought the same content to the site.

A proof is judged when the strategy's own preparation has said what the controller has now. The last phase of a type is
never passed: its playbook looks at the site for what was passed before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from statemachine.states import IMAGES, PACKAGES, UNSTAGING, FailureClass, RunOutcome

# A run proves nothing any more when it is older, in seconds: seven days.
LONGEST_PROOF_S: Final = 7 * 24 * 3600.0
# Phases that bring content to a site, in their order.
CONTENT_PHASES: Final = (PACKAGES.state, IMAGES.state)


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteRun:
    """A run of any step of one site that a worker began."""

    id: int
    # A step state, see `StepState`.
    phase: str
    # See `RunOutcome`; None: it goes on.
    outcome: str | None
    # Release, from-version and reason of its step.
    release: str
    from_version: str | None
    for_sw_deploy: bool
    # Digest of the content that it brought; None: its playbook says none.
    content: str | None = None
    # See `FailureClass`; None: it did not fail.
    failure_class: str | None = None
    # Seconds since it was dispatched.
    age_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteRecord:
    """Runs that changed or read the content of a site, and doubts about it, for one step of the site."""

    # Runs of this site, in the order of their ids: all since the newest run of each content phase.
    runs: tuple[SiteRun, ...]
    # The newest run before something happened beside all runs, such as a forgotten host key; 0: nothing did.
    doubted_to: int = 0
    # What the step stages it for.
    for_sw_deploy: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class WantedContent:
    """Content that a step is to bring to its site.

    `digest` is what the controller has now; None: its playbooks say none.
    """

    release: str
    from_version: str | None
    digest: str | None


def proof_of(phase: str, wanted: WantedContent, record: SiteRecord) -> SiteRun | None:
    """Return the run that proves that a content phase may be passed; None: none does.

    It is the newest run of the phase at the site and succeeded, for the same release, from-version and reason, within
    seven days; its content is what the controller has now; and nothing has happened since that speaks against it.
    """
    newest = next((run for run in reversed(record.runs) if run.phase == phase), None)
    if newest is None or newest.outcome != RunOutcome.SUCCEEDED or newest.age_s > LONGEST_PROOF_S:
        return None
    is_same = (newest.release, newest.from_version, newest.for_sw_deploy) == (
        wanted.release,
        wanted.from_version,
        record.for_sw_deploy,
    )
    if not is_same or wanted.digest is None or newest.content != wanted.digest:
        return None
    if newest.id <= record.doubted_to or any(_voids(run, newest) for run in record.runs if run.id > newest.id):
        return None
    return newest


def may_prove(release: str, record: SiteRecord) -> bool:
    """Return whether a run of the site may turn out to be a proof, before the controller's content is known.

    Only then is a preparation worth while for a site that needs none otherwise.
    """
    newest = next((run for run in reversed(record.runs) if run.phase in CONTENT_PHASES[:-1]), None)
    return (
        newest is not None
        and newest.outcome == RunOutcome.SUCCEEDED
        and newest.release == release
        and newest.content is not None
        and newest.id > record.doubted_to
    )


def _voids(later: SiteRun, proof: SiteRun) -> bool:
    """Return whether a later run of the site speaks against a proof."""
    if later.phase == UNSTAGING.state or later.failure_class == FailureClass.PROOF:
        return True
    if later.from_version not in (None, proof.from_version):
        return True
    if later.phase not in CONTENT_PHASES:
        return False
    if later.release != proof.release:
        return True
    # A failure of a later phase says nothing of the content before it.
    is_earlier = CONTENT_PHASES.index(later.phase) < CONTENT_PHASES.index(proof.phase)
    return is_earlier and later.outcome != RunOutcome.SUCCEEDED
