"""Context of a command handler: its transaction, its validated request, and the steps that several handlers share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from http import HTTPStatus
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, RowMapping, insert

from actors.coordinator.errors import CommandRefusedError, bad_request, not_found
from db.heartbeats import living_processes
from db.inventory import declared_upgrading, find_subcloud
from db.read_queries import Row
from db.schema import secrets
from db.unit_of_work import UnitOfWork
from messages.commands import Command
from messages.errors import RequestError
from messages.requests.base import Request, parse_request, reject_unknown
from messages.requests.strategy import ReleaseRequest
from sites.inspector import Inspector
from statemachine.eligibility import CONTROLLER_UNKNOWN, DCMANAGER_UNKNOWN, EligibilityRules
from statemachine.site_operations import SiteOperation
from statemachine.snapshot import PlanLimits
from statemachine.states import StepState

_DCMANAGER_REMEDY: Final = (
    "See that dcmanager runs at PRESTAGER_DCMANAGER_URL (prestager doctor looks at it) and try again; without that"
    " setting it is not asked."
)
_DECODE_FAULT: Final = "Failed to decode subcloud sysadmin_password, verify the password is base64 encoded"


@dataclass(frozen=True, kw_only=True)
class CoordinatorRules:
    """Settings of the coordinator."""

    # The system controller's release (MM.mm); None: every request must name one.
    release: str | None
    site: EligibilityRules = field(default_factory=EligibilityRules)
    # Options of a rollout that count where request and group give none, by their names on the wire.
    rollout: Mapping[str, Any] = field(default_factory=dict)
    limits: PlanLimits = field(default_factory=PlanLimits)


@dataclass(frozen=True, kw_only=True)
class ControllerState:
    """Facts that were read at the system controller before the transaction began."""

    is_upgrading: bool = False
    # The releases that it has (MM.mm), oldest first; None: it was not asked, or does not list them.
    releases: tuple[str, ...] | None = None
    # Why it did not answer, for the operator.
    error: str | None = None
    # Operations of dcmanager that go on, by subcloud.
    operations: Mapping[str, SiteOperation] = field(default_factory=dict)
    # Why dcmanager did not answer, for the operator.
    operations_error: str | None = None


@dataclass(kw_only=True)
class CommandContext:
    """One command's transaction."""

    work: UnitOfWork
    rules: CoordinatorRules
    inspector: Inspector
    controller: ControllerState = field(default_factory=ControllerState)
    # Sentences about a change for the audit.
    notes: list[str] = field(default_factory=list)
    # Makes the body of the answer anew once the plan is carried out; None: the handler's body stays.
    planned_body: Callable[[], Any] | None = None

    @property
    def connection(self) -> Connection:
        """The connection, inside the command's transaction."""
        return self.work.connection

    @property
    def at(self) -> datetime:
        """The moment that rows are stamped with (UTC)."""
        return self.work.at

    @cached_property
    def living_processes(self) -> Sequence[Row]:
        """The processes that are alive, with what they reported; read once in a command."""
        return living_processes(self.connection)


_R = TypeVar("_R", bound=Request)


def read_request(model: type[_R], data: Mapping[str, Any]) -> _R:
    """Return the request.

    Raises:
        CommandRefusedError: 400 with the contract's text for the first error in its order.
    """
    try:
        return parse_request(model, data)
    except RequestError as error:
        raise bad_request(str(error)) from None


def read_body(model: type[_R], data: Mapping[str, Any], *, whole: type[Request] | None = None) -> _R:
    """Return the request of a body whose every name has to be known.

    Args:
        model: Takes the fields.

        data: The body.

        whole: Takes all fields of the body, where `model` takes a part of them.

    Raises:
        CommandRefusedError: 400 naming the first name that is not known; else as `read_request` does.
    """
    try:
        reject_unknown(whole or model, data)
    except RequestError as error:
        raise bad_request(str(error)) from None
    return read_request(model, data)


def read_release(data: Mapping[str, Any], default: str | None) -> str:
    """Return the release to stage.

    Raises:
        CommandRefusedError: 400; not of the form MM.mm, or none given and none configured.
    """
    requested = read_request(ReleaseRequest, data).release or default
    if requested is None:
        raise bad_request("release required: the system controller's own release is not configured (PRESTAGER_RELEASE)")
    return requested


def joined_notes(*notes: str | None) -> str | None:
    """Return the notes beside an answer, one a line; None without any."""
    return "\n".join(filter(None, notes)) or None


def require_password(command: Command, *, missing: str) -> None:
    """Refuse a command without a usable password.

    Raises:
        CommandRefusedError: 400; with the text `missing`, which differs between the verbs, when there is none.
    """
    if command.password_fault == "undecodable":  # noqa: S105 - a reason, no password
        raise bad_request(_DECODE_FAULT)
    if command.sealed_password is None:
        raise bad_request(missing)


def seal(
    context: CommandContext, command: Command, *, strategy_id: int | None = None, step_id: int | None = None
) -> None:
    """Keep the command's sealed password for its owner, whose end wipes it."""
    context.connection.execute(
        insert(secrets).values(
            strategy_id=strategy_id,
            step_id=step_id,
            sealed=command.sealed_password,
            bound_to=command.id,
            created_at=context.at,
        )
    )


def controller_is_upgrading(context: CommandContext) -> bool:
    """Tell whether the system controller is busy.

    Raises:
        CommandRefusedError: 503; it could not be read, and nothing is started.
    """
    if declared_upgrading(context.connection):
        return True
    if context.controller.error is not None:
        raise CommandRefusedError(HTTPStatus.SERVICE_UNAVAILABLE, f"{CONTROLLER_UNKNOWN} {context.controller.error}")
    return context.controller.is_upgrading


def dcmanager_operations(context: CommandContext) -> Mapping[str, SiteOperation]:
    """Return the operations of dcmanager that go on, by subcloud; none where it is not asked.

    Raises:
        CommandRefusedError: 503; they could not be read, and nothing is started.
    """
    error = context.controller.operations_error
    if error is not None:
        raise CommandRefusedError(HTTPStatus.SERVICE_UNAVAILABLE, f"{DCMANAGER_UNKNOWN} {error} {_DCMANAGER_REMEDY}")
    return context.controller.operations


def waiting_step(context: CommandContext, release: str, *, force: bool) -> dict[str, Any]:
    """Return the values of a step that waits, without its subcloud, strategy and stage."""
    return {
        "state": StepState.INITIAL,
        "details": "",
        "release": release,
        "force": force,
        "version": 1,
        "created_at": context.at,
    }


def require_subcloud(context: CommandContext, command: Command) -> RowMapping:
    """Return the subcloud that a command names.

    Raises:
        CommandRefusedError: 404.
    """
    subcloud = find_subcloud(context.connection, command.subject or "")
    if subcloud is None:
        raise not_found("Subcloud not found")
    return subcloud
