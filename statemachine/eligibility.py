"""Reasons why a subcloud may not be prestaged, one text each (contract 3.3.3 and 4.3).

The same functions serve strategy create, the precheck phase and the standalone prestage, so that the three never
disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from statemachine.releases import is_older, names_release
from statemachine.states import Availability, ManagementState, StepState

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
    """What the controller itself knows of a subcloud."""

    name: str
    availability_status: str
    management_state: str
    deploy_status: str
    # State of another step of this subcloud that has not ended, if any.
    busy_with: str | None = None


@dataclass(frozen=True, kw_only=True)
class SiteFacts:
    """What an inspector read at the site."""

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
class Rules:
    """What the operator allows beyond the default."""

    # Skip what is not simplex, as the seed did.
    simplex_only: bool = True


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a subcloud is not prestaged now.

    Attributes:
        skip: The subcloud is passed over and counts as done; otherwise it has failed.

        text: The sentence for the operator.
    """

    skip: bool
    text: str


def skipped(name: str, reason: str) -> Refusal:
    """Return the refusal that passes a subcloud over."""
    return Refusal(skip=True, text=f"{_SKIPPED} '{name}': {reason}")


def failed(name: str, reason: str) -> Refusal:
    """Return the refusal that fails a subcloud."""
    return Refusal(skip=False, text=f"{_FAILED} '{name}': {reason}")


def judge_status(site: SiteStatus) -> Refusal | None:
    """Judge what the controller knows; None means eligible. The first reason in the contract's order counts."""
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


def judge_unstage(site: SiteStatus, release: str, version: str) -> Refusal | None:
    """Judge whether a staged release may be removed from a site that runs `version`; None means that it may.

    What is not removed has failed: nothing is passed over.
    """
    reason = _status_reason(site) or _running_reason(release, version)
    return None if reason is None else Refusal(skip=False, text=f"{_UNSTAGE_FAILED} '{site.name}': {reason}")


def _running_reason(release: str, version: str) -> str | None:
    if not names_release(version, release):
        return None
    return f"The subcloud runs release {release}, which is never removed."


def judge_reason(release: str, *, for_sw_deploy: bool) -> str | None:
    """Return why a release cannot be staged for a deployment of software on any subcloud; None: it can."""
    if for_sw_deploy and is_older(release, _FIRST_FOR_SW_DEPLOY):
        return (
            "The requested software version is not supported, cannot prestage for software deploy. The first that is"
            f" supported is {_FIRST_FOR_SW_DEPLOY}."
        )
    return None


def judge_release(name: str, release: str, from_version: str, *, for_sw_deploy: bool) -> Refusal | None:
    """Refuse to deploy a release that is older than what the subcloud runs; it may be installed anew with it."""
    if for_sw_deploy and is_older(release, from_version):
        return failed(
            name,
            f"The requested software version ({release}) is lower than the current subcloud software version"
            f" ({from_version}).",
        )
    return None


def judge_facts(name: str, facts: SiteFacts, *, force: bool, rules: Rules) -> Refusal | None:
    """Judge what was read at the site; None means eligible.

    `force` passes over management-affecting alarms and nothing else (contract 8.10).
    """
    if rules.simplex_only and facts.system_mode != "simplex":
        return skipped(name, "Prestage operation is only accepted for a simplex subcloud.")
    if facts.controller_0_active is False:
        return skipped(name, "Prestage for install on duplex subclouds is only allowed when controller-0 is active.")
    in_transition = judge_deploy(name, facts)
    if in_transition is not None:
        return in_transition
    if facts.management_affecting_alarms and not force:
        return failed(
            name,
            "Subcloud has management affecting alarm(s). Please resolve the alarm condition(s) or use --force option"
            " and try again.",
        )
    return None


def judge_deploy(name: str, facts: SiteFacts) -> Refusal | None:
    """Pass a site over while its own software is being deployed, perhaps from what is staged."""
    if facts.deploy_in_transition is None:
        return None
    return skipped(
        name,
        f"Subcloud {name} current state of its own software deploy (USM) is '{facts.deploy_in_transition}'. "
        "Please wait until it finishes before running this operation.",
    )


def as_unstage(refusal: Refusal) -> Refusal:
    """Return the refusal of a removal for what passes a prestage over or fails it: nothing was removed."""
    reason = refusal.text.removeprefix(_SKIPPED).removeprefix(_FAILED)
    text = refusal.text if reason == refusal.text else f"{_UNSTAGE_FAILED}{reason}"
    return Refusal(skip=False, text=text)


def unreachable(name: str, cause: str = "") -> Refusal:
    """Return the refusal for a site whose facts could not be read; the contract's sentence first, then the cause."""
    text = "Failed to retrieve subcloud system mode and system health."
    return failed(name, f"{text} {cause}".rstrip())
