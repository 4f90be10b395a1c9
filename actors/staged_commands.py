"""Take back what is shown as staged on a subcloud, where it is not known any more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.desk import Desk
from actors.refusals import bad_request, not_found
from actors.requests import read_request
from db.inventory import change, find_subcloud, has_work
from db.schema import subclouds
from messages.commands import Command
from messages.event_types import SubcloudUpdated
from messages.requests.staged import StagedRequest
from messages.resource_types import Subcloud
from messages.resources import subcloud_resource
from statemachine.states import PrestageStatus
from statemachine.versions import names_release

# The columns that show what is staged on a subcloud, where nothing is known to be.
NOTHING_STAGED: Mapping[str, None] = {"prestage_status": None, "prestage_versions": None}


def forget_staged(desk: Desk, command: Command) -> Subcloud:
    """Show no longer that a release is staged on a subcloud; the site is not asked, and nothing is removed there.

    A subcloud that shows another release, or none, stays as it is, and so does one after a repeat.

    Raises:
        Refused: 404; 400 for a wrong field, and while the subcloud is being worked on.
    """
    subcloud = find_subcloud(desk.connection, command.subject or "")
    if subcloud is None:
        raise not_found("Subcloud not found")
    release = read_request(StagedRequest, command.data).release
    if has_work(desk.connection, subcloud["id"]):
        raise bad_request("Cannot change what is staged during an active operation.")
    if not is_staged(subcloud) or not names_release(subcloud["prestage_versions"] or "", release):
        return subcloud_resource(subcloud)
    changed = change(desk.connection, subclouds, subcloud["id"], {**NOTHING_STAGED, "updated_at": desk.at})
    fields = SubcloudUpdated(fields=sorted(NOTHING_STAGED))
    desk.journal.tell("subcloud.updated", f"subcloud/{subcloud['name']}", fields)
    return subcloud_resource(changed)


def is_staged(subcloud: Mapping[Any, Any]) -> bool:
    """Return whether a subcloud shows that a release is completely staged."""
    return bool(subcloud["prestage_status"] == PrestageStatus.COMPLETE)
