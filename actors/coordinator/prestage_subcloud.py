"""Prestage one subcloud by itself: a step without a strategy (contract 4.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import RowMapping, insert

from actors.coordinator.context import CommandContext
from actors.coordinator.create_strategy import (
    controller_is_upgrading,
    dcmanager_operations,
    joined_notes,
    new_step,
    require_password,
    seal,
)
from actors.coordinator.errors import bad_request, not_found
from actors.coordinator.known_releases import require_release
from actors.coordinator.playbook_workers import require_playbooks
from actors.coordinator.validation import read_body, read_release
from db.inventory import candidates, change, find_subcloud, site_status
from db.schema import steps, subclouds
from messages.commands import Command
from messages.events import step_event_data
from messages.requests.base import unused_note
from messages.requests.strategy import PrestageCommand, PrestageRequest
from messages.schemas import PrestagedSubcloud
from messages.serializers import subcloud_resource
from sites.inspector import InspectionError
from statemachine.eligibility import (
    CONTROLLER_UPGRADING,
    Ineligibility,
    check_facts,
    check_release,
    check_status,
    unreachable,
)
from statemachine.site_operations import check_operation
from statemachine.states import PrestageStatus, StepState, StepType
from tracing.tracer import active_traceparent


def prestage_subcloud(context: CommandContext, command: Command) -> PrestagedSubcloud:
    """Start a prestage of the subcloud that the command names.

    Raises:
        CommandRefusedError: 404 or 400 with the contract's text for the first fault in its order, 422 where no worker
            can run the playbooks, or 503 where dcmanager or the controller is asked and does not answer; nothing was
            changed.
    """
    subcloud = find_subcloud(context.connection, command.subject or "")
    if subcloud is None:
        raise not_found("Subcloud not found")
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
    refusal = _judge(context, subcloud, release, request)
    if refusal is not None:
        raise bad_request(refusal.text)
    playbooks = require_playbooks(context, f"Prestage failed '{subcloud['name']}': ")
    step = new_step(context, subcloud["id"], subcloud["name"], release, force=request.force)
    add_standalone_step(context, command, {**step, "for_sw_deploy": request.for_sw_deploy})
    # From the answer on nobody may take the last result for this one's.
    values = {"prestage_status": PrestageStatus.PRESTAGING, "updated_at": context.at}
    changed = change(context.connection, subclouds, subcloud["id"], values)
    return {
        **subcloud_resource(changed),
        "prestage-software-version": release,
        "info_message": joined_notes(note, playbooks, unused_note(PrestageCommand, command.data)),
    }


def _judge(
    context: CommandContext, subcloud: RowMapping, release: str, request: PrestageRequest
) -> Ineligibility | None:
    """Judge as the precheck will; what has to be asked at the site itself is left to it."""
    name = subcloud["name"]
    (row,) = candidates(context.connection, subcloud_id=subcloud["id"])
    refusal = check_release(
        name, release, subcloud["software_version"], for_sw_deploy=request.for_sw_deploy
    ) or check_status(site_status(row))
    refusal = refusal or check_operation(name, dcmanager_operations(context).get(name))
    if refusal is not None:
        return refusal
    try:
        facts = context.inspector.known({**subcloud})
    except InspectionError as error:
        return unreachable(name, str(error))
    return None if facts is None else check_facts(name, facts, force=request.force, rules=context.rules.site)


def add_standalone_step(context: CommandContext, command: Command, values: Mapping[str, Any]) -> None:
    """Add a step without a strategy, from the columns in `values`, with the command's password."""
    step_id = context.connection.execute(
        insert(steps).values(**values, strategy_id=None, stage=1, trace=active_traceparent()).returning(steps.c.id)
    ).scalar_one()
    seal(context, command, step_id=step_id)
    about = step_event_data(strategy_id=None, subcloud=values["subcloud_name"], stage=1)
    kind = values.get("type", StepType.PRESTAGE)
    context.work.emit(f"step.{kind}.{StepState.INITIAL}", f"step/{step_id}", about)
