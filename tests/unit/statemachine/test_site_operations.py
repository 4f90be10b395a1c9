"""Which statuses of a subcloud mean that StarlingX works on it."""

from __future__ import annotations

import pytest

from statemachine.eligibility import Ineligibility
from statemachine.site_operations import IN_TRANSITION, SiteOperation, check_operation, find_operation


@pytest.mark.parametrize(("key", "status"), [(key, status) for key, found in IN_TRANSITION.items() for status in found])
def test_each_status_in_transition_alone(key: str, status: str) -> None:
    """One status in transition is an operation, whatever the others are."""
    at_rest = {"prestage-status": "complete", "backup-status": "complete-local", "deploy-status": "complete"}

    assert SiteOperation(key=key, status=status) == find_operation({**at_rest, key: status})


@pytest.mark.parametrize(
    "statuses",
    [
        {},
        {"prestage-status": None, "backup-status": None, "deploy-status": None},
        {"prestage-status": "complete", "backup-status": "complete-central", "deploy-status": "complete"},
        {"prestage-status": "failed", "backup-status": "failed", "deploy-status": "install-failed"},
        {"backup-status": "unknown", "deploy-status": "sw-deploy-apply-strategy-failed"},
        {"deploy-status": "secondary"},
        {"deploy-status": "prestage-complete"},
        # A word counts under its own key alone.
        {"prestage-status": "installing", "backup-status": "prestaging", "deploy-status": "validating"},
    ],
)
def test_nothing_goes_on(statuses: dict[str, str | None]) -> None:
    """A status that is absent, at rest, failed or unknown is no operation."""
    assert find_operation(statuses) is None


def test_the_first_operation_counts() -> None:
    """Of several operations prestage counts before backup, and backup before deploy, as in dcmanager."""
    statuses: dict[str, str | None] = {
        "deploy-status": "installing",
        "backup-status": "backing-up",
        "prestage-status": "prestaging",
    }
    found = []
    for key in IN_TRANSITION:
        operation = find_operation(statuses)
        found.append(operation.key if operation else None)
        statuses[key] = "complete"

    assert ["prestage-status", "backup-status", "deploy-status"] == found


def test_a_subcloud_with_an_operation_is_skipped() -> None:
    """The refusal skips the subcloud and names status and value; without an operation there is none."""
    expected = Ineligibility(
        skip=True,
        text="Prestage skipped 'edge-1': Subcloud edge-1 current backup_status in dcmanager is 'backing-up'. "
        "Please wait until it finishes before running this operation.",
    )

    assert expected == check_operation("edge-1", SiteOperation(key="backup-status", status="backing-up"))
    assert check_operation("edge-1", None) is None
