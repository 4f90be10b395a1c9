"""Remove a staged release from a subcloud, or show it no longer where it is not known any more."""

from __future__ import annotations

from sqlalchemy import RowMapping

from actors.coordinator.context import CommandContext
from actors.coordinator.create_strategy import new_step, require_password
from actors.coordinator.errors import bad_request, not_found
from actors.coordinator.playbook_workers import require_playbooks
from actors.coordinator.prestage_subcloud import add_standalone_step
from actors.coordinator.validation import read_body
from db.inventory import candidates, change, find_subcloud, has_work, site_status
from db.schema import subclouds
from messages.commands import Command
from messages.event_types import SubcloudUpdated
from messages.requests.subcloud import StagedRequest, UnstageRequest
from messages.schemas import Subcloud, UnstagedSubcloud
from messages.serializers import subcloud_resource
from statemachine.eligibility import check_unstage
from statemachine.releases import NOTHING_STAGED, is_staged, names_release
from statemachine.states import StepType


def forget_staged(context: CommandContext, command: Command) -> Subcloud:
    """Show no longer that a release is staged on a subcloud; the site is not asked, and nothing is removed there.

    A subcloud that shows another release, or none, stays as it is, and so does one after a repeat.

    Raises:
        CommandRefusedError: 404; 400 for a wrong field, and while the subcloud is being worked on.
    """
    subcloud = _find(context, command)
    release = read_body(StagedRequest, command.data).release
    if has_work(context.connection, subcloud["id"]):
        raise bad_request("Cannot change what is staged during an active operation.")
    if not is_staged(subcloud) or not names_release(subcloud["prestage_versions"] or "", release):
        return subcloud_resource(subcloud)
    changed = change(context.connection, subclouds, subcloud["id"], {**NOTHING_STAGED, "updated_at": context.at})
    fields = SubcloudUpdated(fields=sorted(NOTHING_STAGED))
    context.work.emit("subcloud.updated", f"subcloud/{subcloud['name']}", fields)
    return subcloud_resource(changed)


def unstage_release(context: CommandContext, command: Command) -> UnstagedSubcloud:
    """Start the removal of a staged release from a site; it is shown as staged until the removal begins there.

    Raises:
        CommandRefusedError: 404; 400 for the first wrong field, while the subcloud is being worked on, or why it may
            not be done; 422 where no worker can run the playbooks.
    """
    subcloud = _find(context, command)
    require_password(command, missing="sysadmin_password is required.")
    release = read_body(UnstageRequest, command.data).release
    (row,) = candidates(context.connection, subcloud_id=subcloud["id"])
    refusal = check_unstage(site_status(row), release, subcloud["software_version"])
    if refusal is not None:
        raise bad_request(refusal.text)
    require_playbooks(context, f"Unstage failed '{subcloud['name']}': ")
    step = new_step(context, subcloud["id"], subcloud["name"], release, force=False)
    add_standalone_step(context, command, {**step, "type": StepType.UNSTAGE, "for_sw_deploy": False})
    return {**subcloud_resource(subcloud), "unstage-software-version": release}


def _find(context: CommandContext, command: Command) -> RowMapping:
    subcloud = find_subcloud(context.connection, command.subject or "")
    if subcloud is None:
        raise not_found("Subcloud not found")
    return subcloud
