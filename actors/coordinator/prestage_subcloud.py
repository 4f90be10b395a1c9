"""Prestage one subcloud by itself, remove a staged release from it, or forget one (contract 4.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import RowMapping, insert

from actors.coordinator.context import (
    CommandContext,
    controller_is_upgrading,
    dcmanager_operations,
    joined_notes,
    read_body,
    read_release,
    require_password,
    require_subcloud,
    seal,
    waiting_step,
)
from actors.coordinator.errors import bad_request
from actors.coordinator.worker_checks import require_playbooks, require_release
from db.inventory import candidates, change, has_work, site_status
from db.schema import steps, subclouds
from db.site_records import doubt
from db.staged import BEGINS_PRESTAGE
from messages.commands import Command
from messages.event_types import SubcloudUpdated, event_name
from messages.events import step_event_data
from messages.inventory_schemas import PrestagedSubcloud, Subcloud, UnstagedSubcloud
from messages.requests.base import unused_note
from messages.requests.strategy import PrestageCommand, PrestageRequest
from messages.requests.subcloud import StagedRequest, UnstageRequest
from messages.serializers import subcloud_resource
from sites.errors import InspectionError
from statemachine.eligibility import (
    CONTROLLER_UPGRADING,
    Ineligibility,
    check_facts,
    check_release,
    check_status,
    check_unstage,
    unreachable,
)
from statemachine.releases import NOTHING_STAGED, is_staged, names_release
from statemachine.site_operations import check_operation
from statemachine.states import StepState, StepType
from tracing.tracer import active_traceparent


def prestage_subcloud(context: CommandContext, command: Command) -> PrestagedSubcloud:
    """Start a prestage of the subcloud that the command names.

    Raises:
        CommandRefusedError: 404 or 400 with the contract's text for the first error in its order, 422 where no worker
            can run the playbooks, or 503 where dcmanager or the controller is asked and does not answer; nothing was
            changed.
    """
    subcloud = require_subcloud(context, command)
    require_password(command, missing="sysadmin_password is required.")
    request = read_body(PrestageRequest, command.data, whole=PrestageCommand)
    if controller_is_upgrading(context):
        raise bad_request(CONTROLLER_UPGRADING)
    release = read_release(command.data, context.rules.release)
    note = require_release(
        context,
        release,
        for_sw_deploy=request.for_sw_deploy,
        prefix=f"Prestage failed '{subcloud['name']}': ",
    )
    ineligibility = _check(context, subcloud, release, request)
    if ineligibility is not None:
        raise bad_request(ineligibility.text)
    playbooks = require_playbooks(context, f"Prestage failed '{subcloud['name']}': ")
    step = waiting_step(context, release, force=request.force) | {"for_sw_deploy": request.for_sw_deploy}
    _add_standalone_step(context, command, subcloud, step)
    # From the answer on, the last result must not be taken for this one's.
    values = {**BEGINS_PRESTAGE, "updated_at": context.at}
    changed = change(context.connection, subclouds, subcloud["id"], values)
    return {
        **subcloud_resource(changed),
        "prestage-software-version": release,
        "info_message": joined_notes(note, playbooks, unused_note(PrestageCommand, command.data)),
    }


def _check(
    context: CommandContext, subcloud: RowMapping, release: str, request: PrestageRequest
) -> Ineligibility | None:
    """Judge as the precheck will; what has to be asked at the site itself is left to it."""
    name = subcloud["name"]
    (row,) = candidates(context.connection, subcloud_id=subcloud["id"])
    ineligibility = check_release(
        name, release, subcloud["software_version"], for_sw_deploy=request.for_sw_deploy
    ) or check_status(site_status(row))
    ineligibility = ineligibility or check_operation(name, dcmanager_operations(context).get(name))
    if ineligibility is not None:
        return ineligibility
    try:
        facts = context.inspector.known({**subcloud})
    except InspectionError as error:
        return unreachable(name, str(error))
    return None if facts is None else check_facts(name, facts, force=request.force, rules=context.rules.site)


def _add_standalone_step(
    context: CommandContext, command: Command, subcloud: RowMapping, values: Mapping[str, Any]
) -> int:
    """Add a step of a subcloud without a strategy, from the columns in `values`, with the command's password.

    Return its id.
    """
    of_subcloud = {"subcloud_id": subcloud["id"], "subcloud_name": subcloud["name"]}
    statement = insert(steps).values(**of_subcloud, **values, strategy_id=None, stage=1, trace=active_traceparent())
    step_id: int = context.connection.execute(statement.returning(steps.c.id)).scalar_one()
    seal(context, command, step_id=step_id)
    about = step_event_data(strategy_id=None, subcloud=subcloud["name"], stage=1)
    kind = values.get("type", StepType.PRESTAGE)
    context.work.emit(event_name("step", kind, StepState.INITIAL), f"step/{step_id}", about)
    return step_id


def forget_staged(context: CommandContext, command: Command) -> Subcloud:
    """Show no longer that a release is staged on a subcloud; the site is not asked, and nothing is removed there.

    A subcloud that shows another release, or none, stays as it is, and so does one after a repeat; but no retry relies
    on what earlier runs have brought there.

    Raises:
        CommandRefusedError: 404; 400 for a wrong field, and while the subcloud is being worked on.
    """
    subcloud = require_subcloud(context, command)
    release = read_body(StagedRequest, command.data).release
    if has_work(context.connection, subcloud["id"]):
        raise bad_request("Cannot change what is staged during an active operation.")
    doubt(context.connection, [subcloud["id"]])
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
    subcloud = require_subcloud(context, command)
    require_password(command, missing="sysadmin_password is required.")
    release = read_body(UnstageRequest, command.data).release
    (row,) = candidates(context.connection, subcloud_id=subcloud["id"])
    ineligibility = check_unstage(site_status(row), release, subcloud["software_version"])
    if ineligibility is not None:
        raise bad_request(ineligibility.text)
    require_playbooks(context, f"Unstage failed '{subcloud['name']}': ")
    step = waiting_step(context, release, force=False) | {"type": StepType.UNSTAGE, "for_sw_deploy": False}
    step_id = _add_standalone_step(context, command, subcloud, step)
    return {**subcloud_resource(subcloud), "unstage-software-version": release, "step-id": step_id}
