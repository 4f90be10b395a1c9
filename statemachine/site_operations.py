"""Operations of StarlingX on a subcloud, by the statuses of dcmanager and of the subcloud's USM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from statemachine.eligibility import Ineligibility, skipped

# Statuses of an operation that is in progress, by the key of dcmanager's subcloud; the first key in order counts.
# Source: starlingx/distcloud, dcmanager/common/consts.py. HEAD 8ae0182346: TRANSITORY_PRESTAGE_STATES,
# TRANSITORY_BACKUP_STATES, TRANSITORY_STATES, VIM_ORCHESTRATION_IN_PROGRESS_STATES, and rehome-pending of
# INVALID_DEPLOY_STATES_FOR_DELETE. 55a86904a3 (2022-03): what a prestage or an upgrade leaves in deploy-status.
IN_TRANSITION: Final[Mapping[str, frozenset[str]]] = {
    "prestage-status": frozenset({"prestaging"}),
    "backup-status": frozenset({"backing-up", "deleting-backup", "pre-backup", "validating"}),
    "deploy-status": frozenset(
        {
            "aborting-bootstrap",
            "aborting-config",
            "aborting-install",
            "bootstrapping",
            "configuring",
            "creating",
            "deploying",
            "enrolling",
            "initiating-enroll",
            "installing",
            "migrating-data",
            "not-deployed",
            "onsite-restoring",
            "pre-bootstrap",
            "pre-config",
            "pre-deploy",
            "pre-enroll",
            "pre-init-enroll",
            "pre-install",
            "pre-rehome",
            "pre-restore",
            "prestage-prepare",
            "prestaging-images",
            "prestaging-packages",
            "reconfiguring-network",
            "rehome-pending",
            "rehoming",
            "restoring",
            "sw-deploy-in-progress",
        }
    ),
}

# The first release that USM deploys on subclouds; dcmanager takes no older one for a software deploy.
FIRST_WITH_USM: Final = "24.09"

# States of a deploy of USM in which nothing happens until an operator acts: all others, and those that are unknown
# here, are in transition. "-done" is between two steps of one deploy. Source: starlingx/update 51560ae; dcmanager too
# stages again after a deploy that failed (sw-deploy-apply-strategy-failed).
USM_AT_REST: Final = frozenset(
    {
        "activate-failed",
        "activate-rollback-failed",
        "completed",
        "host-failed",
        "host-rollback-failed",
        "start-failed",
    }
)


@dataclass(frozen=True, kw_only=True)
class SiteOperation:
    """An operation that is in progress.

    Attributes:
        key: Of the status, such as `backup-status`.

        status: Its value, such as `backing-up`.
    """

    key: str
    status: str


def find_operation(statuses: Mapping[str, str | None]) -> SiteOperation | None:
    """Return the operation that is in progress by the statuses of one subcloud; None: there is none."""
    for key, in_transition in IN_TRANSITION.items():
        status = statuses.get(key)
        if status in in_transition:
            return SiteOperation(key=key, status=str(status))
    return None


def check_operation(name: str, operation: SiteOperation | None) -> Ineligibility | None:
    """Return a skip while dcmanager works on a subcloud; None: it is eligible."""
    if operation is None:
        return None
    return skipped(
        name,
        f"Subcloud {name} current {operation.key.replace('-', '_')} in dcmanager is '{operation.status}'. "
        "Please wait until it finishes before running this operation.",
    )
