"""Eligibility of subclouds, and stages of eligible ones (contract 3.3.3, 4.3 and 8.1).

Each reason against a prestage or a removal is one sentence. Strategy create, the precheck phase and the prestage of one
subcloud share these functions, so that they never disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from statemachine.releases import is_older, names_release
from statemachine.states import ApplyType, Availability, FailureClass, ManagementState, StepState

# Deploy statuses that count as deployed: HEAD's two, and what the seed left there after a prestage (contract 4.4).
DEPLOYED: Final = frozenset({"complete", "sw-deploy-apply-strategy-failed", "prestage-failed", "prestage-complete"})

# The first release that sites take as a deployment of software.
_FIRST_FOR_SW_DEPLOY: Final = "24.09"

# How the sentences begin.
_SKIPPED: Final = "Prestage skipped"
_FAILED: Final = "Prestage failed"
_UNSTAGE_FAILED: Final = "Unstage failed"

CONTROLLER_UNKNOWN: Final = "Whether the system controller is being upgraded could not be told, so nothing was started."
DCMANAGER_UNKNOWN: Final = "Whether dcmanager works on the subclouds could not be told, so nothing was started."
CONTROLLER_UPGRADING: Final = (
    "Prestage failed 'SystemController': Prestage operations not allowed while system controller upgrade is in"
    " progress."
)


@dataclass(frozen=True, kw_only=True)
class SiteStatus:
    """Status of a subcloud as the database of the controller has it."""

    name: str
    availability_status: str
    management_state: str
    deploy_status: str
    # State of another step of this subcloud that has not ended, if any.
    busy_with: str | None = None


@dataclass(frozen=True, kw_only=True)
class SiteFacts:
    """Facts that an inspector read at the site."""

    # simplex, duplex or duplex-direct.
    system_mode: str
    # Address of the site's OAM interface, to which playbooks connect.
    oam_address: str
    # Whether an alarm is raised that affects management.
    management_affecting_alarms: bool
    software_version: str
    # Whether controller-0 is the active controller; None where it does not matter: only an installation of a duplex
    # site needs it.
    controller_0_active: bool | None = None
    # State of the site's own software deploy that is in transition; None: there is none, or no USM.
    deploy_in_transition: str | None = None


@dataclass(frozen=True, kw_only=True)
class EligibilityRules:
    """Settings of the operator that change which subclouds are eligible."""

    # Skip duplex sites, as the seed did.
    simplex_only: bool = True


@dataclass(frozen=True, kw_only=True)
class Ineligibility:
    """Reason against a prestage or a removal on a subcloud now.

    Attributes:
        skip: The subcloud is skipped and its step complete; otherwise the step fails.

        text: The sentence for the operator.

        failure_class: Kind of trouble, where it fails the step.
    """

    skip: bool
    text: str
    failure_class: FailureClass = FailureClass.CONTROLLER


def skipped(name: str, reason: str) -> Ineligibility:
    """Return a reason that skips a subcloud."""
    return Ineligibility(skip=True, text=f"{_SKIPPED} '{name}': {reason}")


def failed(name: str, reason: str, failure_class: FailureClass) -> Ineligibility:
    """Return a reason that fails a subcloud, with the kind of trouble that it is."""
    return Ineligibility(skip=False, text=f"{_FAILED} '{name}': {reason}", failure_class=failure_class)


def check_status(site: SiteStatus) -> Ineligibility | None:
    """Return the first reason, in the contract's order, in the status of a subcloud; None: it is eligible."""
    reason = _status_reason(site)
    return None if reason is None else skipped(site.name, reason)


def _status_reason(site: SiteStatus) -> str | None:
    if site.availability_status != Availability.ONLINE:
        return "Subcloud is offline."
    if site.management_state != ManagementState.MANAGED:
        return "Subcloud is not managed."
    if site.busy_with is not None:
        return _busy_reason(site.name, site.busy_with)
    if site.deploy_status not in DEPLOYED:
        return "Prestage operation is not allowed when subcloud deploy is in progress."
    return None


def _busy_reason(name: str, state: str) -> str:
    if state == StepState.INITIAL:
        return (
            f"Subcloud {name} has a step in a strategy that has not been worked on. "
            "Please wait for the strategy to end, or delete it, before running this operation."
        )
    if state == StepState.UNSTAGING:
        return (
            f"A staged release is being removed from subcloud {name}. "
            "Please wait until that finishes before running this operation."
        )
    return (
        f"Subcloud {name} current prestage_status is 'prestaging'. "
        "Please wait until it finishes before running this operation."
    )


def check_unstage(site: SiteStatus, release: str, version: str) -> Ineligibility | None:
    """Return the reason against removing a staged release from a site that runs `version`; None: it may be removed.

    A reason always fails the removal; a removal is never skipped.
    """
    status, running = _status_reason(site), _running_reason(release, version)
    reason = status or running
    if reason is None:
        return None
    kind = FailureClass.VERSION if status is None else FailureClass.CONTROLLER
    if site.availability_status != Availability.ONLINE:
        kind = FailureClass.UNREACHABLE
    return Ineligibility(skip=False, text=f"{_UNSTAGE_FAILED} '{site.name}': {reason}", failure_class=kind)


def _running_reason(release: str, version: str) -> str | None:
    if not names_release(version, release):
        return None
    return f"The subcloud runs release {release}, which is never removed."


def reason_against_sw_deploy(release: str, *, for_sw_deploy: bool) -> str | None:
    """Return why a release cannot be staged for a deployment of software on any subcloud; None: it can."""
    if for_sw_deploy and is_older(release, _FIRST_FOR_SW_DEPLOY):
        return (
            "The requested software version is not supported, cannot prestage for software deploy. The first that is"
            f" supported is {_FIRST_FOR_SW_DEPLOY}."
        )
    return None


def check_release(name: str, release: str, from_version: str, *, for_sw_deploy: bool) -> Ineligibility | None:
    """Return the reason against deploying a release that is older than the subcloud's; None: it is eligible.

    An older release may still be installed anew.
    """
    if for_sw_deploy and is_older(release, from_version):
        return failed(
            name,
            f"The requested software version ({release}) is lower than the current subcloud software version"
            f" ({from_version}).",
            FailureClass.VERSION,
        )
    return None


def check_facts(name: str, facts: SiteFacts, *, force: bool, rules: EligibilityRules) -> Ineligibility | None:
    """Return the first reason in the facts of the site; None: it is eligible.

    `force` passes over management-affecting alarms and nothing else (contract 8.10).
    """
    if rules.simplex_only and facts.system_mode != "simplex":
        return skipped(name, "Prestage operation is only accepted for a simplex subcloud.")
    if facts.controller_0_active is False:
        return skipped(name, "Prestage for install on duplex subclouds is only allowed when controller-0 is active.")
    in_transition = check_deploy(name, facts)
    if in_transition is not None:
        return in_transition
    if facts.management_affecting_alarms and not force:
        return failed(
            name,
            "Subcloud has management affecting alarm(s). Please resolve the alarm condition(s) or use --force option"
            " and try again.",
            FailureClass.ALARM,
        )
    return None


def check_deploy(name: str, facts: SiteFacts) -> Ineligibility | None:
    """Return a skip while the site deploys software by itself, perhaps the staged release; None: it is eligible."""
    if facts.deploy_in_transition is None:
        return None
    return skipped(
        name,
        f"Subcloud {name} current state of its own software deploy (USM) is '{facts.deploy_in_transition}'. "
        "Please wait until it finishes before running this operation.",
    )


def as_unstage(found: Ineligibility) -> Ineligibility:
    """Return the same reason for a removal, which fails where a prestage is skipped: nothing was removed."""
    reason = found.text.removeprefix(_SKIPPED).removeprefix(_FAILED)
    text = found.text if reason == found.text else f"{_UNSTAGE_FAILED}{reason}"
    return replace(found, skip=False, text=text)


def unreachable(name: str, cause: str = "") -> Ineligibility:
    """Return the reason of a site whose facts could not be read: the contract's sentence, then `cause`."""
    text = "Failed to retrieve subcloud system mode and system health."
    return failed(name, f"{text} {cause}".rstrip(), FailureClass.UNREACHABLE)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An eligible subcloud with the settings of its group."""

    subcloud_id: int
    group_id: int
    # The group's apply type; a strategy may override it for all groups.
    group_apply_type: str
    # Most subclouds of a stage, 1 to 500; a strategy may override it for all groups.
    group_max_parallel: int


def number_stages(
    candidates: Iterable[Candidate], *, apply_type: str | None = None, max_parallel: int | None = None
) -> Iterator[tuple[int, int]]:
    """Yield (subcloud id, stage) in the order of groups and, inside a group, of subclouds, both by id.

    Stages are contiguous from 1 and never span two groups. `apply_type` and `max_parallel` override every group's
    own values. A serial group has one subcloud per stage.
    """
    ordered = sorted(candidates, key=lambda candidate: (candidate.group_id, candidate.subcloud_id))
    stage = 0
    for _group, members in groupby(ordered, key=lambda candidate: candidate.group_id):
        for place, candidate in enumerate(members):
            serial = (apply_type or candidate.group_apply_type) == ApplyType.SERIAL
            width = 1 if serial else (max_parallel or candidate.group_max_parallel)
            if place % width == 0:
                stage += 1
            yield candidate.subcloud_id, stage
