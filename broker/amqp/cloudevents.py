"""Commands as CloudEvents 1.0 in structured JSON: what foreign publishers and our API send. Pure.

The publishing user, `source` and `id` together are the id of a foreign publisher's command, so two publishers never
collide, nor does one with a caller over HTTP, and a repeat is known as one.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from broker.amqp.errors import MalformedCommandError
from broker.amqp.topology import MAX_BODY_BYTES, MAX_OWN_BODY_BYTES
from messages.command_specs import PUBLISHED_SPECS
from messages.commands import Command, CommandType
from messages.limits import TEXT_LENGTH, check_json
from messages.secret_names import without_secrets
from tracing.tracer import parse_traceparent

# Types are reverse-DNS names, as the specification advises; the routing key is what follows the prefix.
TYPE_PREFIX: Final = "io.prestager.command."
# Begins the ids of foreign publishers' commands. Those of our API begin with a quoted name, which holds no colon.
_FOREIGN: Final = "amqp:"
# What is kept of a message, beside what has a form of its own.
_KEPT: Final = frozenset({"id", "source", "subject", "request", "sealed_password", "requested_by", "origin"})
# The field of a subcloud that holds Ansible's connection variables.
_VARIABLES: Final = "connection"


class _CommandData(BaseModel):
    model_config = ConfigDict(extra="forbid")

    request: dict[str, Any] = Field(default_factory=dict)
    sealed_password: str | None = None
    password_fault: Literal["missing", "undecodable"] | None = None
    requested_by: str = Field("", max_length=TEXT_LENGTH)
    origin: str = Field("", max_length=TEXT_LENGTH)
    by_administrator: bool | None = None


class CommandEvent(BaseModel):
    """One command as it travels."""

    model_config = ConfigDict(extra="allow")

    specversion: Literal["1.0"]
    id: str = Field(min_length=1, max_length=200)
    source: str = Field(min_length=1, max_length=200)
    type: str = Field(max_length=100)
    subject: str | None = Field(None, max_length=TEXT_LENGTH)
    time: datetime | None = None
    # The distributed tracing extension; what is none in form is as if it were not there.
    traceparent: Annotated[str | None, BeforeValidator(parse_traceparent)] = None
    data: _CommandData = Field(default_factory=_CommandData)


def from_command(command: Command, source: str) -> bytes:
    """Return the CloudEvent that carries `command`."""
    event = CommandEvent(
        specversion="1.0",
        id=command.id,
        source=source,
        type=TYPE_PREFIX + command.type,
        subject=command.subject,
        time=command.created_at,
        traceparent=command.traceparent,
        data=_CommandData(
            request=command.data,
            sealed_password=command.sealed_password,
            password_fault=command.password_fault,
            requested_by=command.requested_by,
            origin=command.origin,
            by_administrator=command.by_administrator,
        ),
    )
    return event.model_dump_json(exclude_none=True).encode()


def to_command(body: bytes, own_source: str, *, is_ours: bool, user: str = "") -> Command:
    """Return the command that a CloudEvent carries.

    `own_source` is the source of our own API, whose ids are the commands' ids; another publisher's id is joined with
    its user and source, and the caller on record is that source. `is_ours` says whether our own user published it;
    `user` is the RabbitMQ user that published it, empty where the publisher did not have RabbitMQ vouch for it.

    Raises:
        MalformedCommandError: It carries none.
    """
    most_bytes = MAX_OWN_BODY_BYTES if is_ours else MAX_BODY_BYTES
    if len(body) > most_bytes:
        raise MalformedCommandError(f"the message is longer than {most_bytes} bytes")
    try:
        event = CommandEvent.model_validate_json(body)
        prefix, kind_name = event.type[: len(TYPE_PREFIX)], event.type[len(TYPE_PREFIX) :]
        # No command's name is empty, so a foreign type is none of ours.
        kind = CommandType(kind_name if prefix == TYPE_PREFIX else "")
    except (ValidationError, RecursionError) as error:
        raise MalformedCommandError(_describe(error)) from None
    except ValueError:
        raise MalformedCommandError(f"type is none of {TYPE_PREFIX}{{{','.join(CommandType)}}}") from None
    _check_storable(event)
    ours = event.source == own_source
    if ours and not is_ours:
        raise MalformedCommandError("source is that of this installation's own API; choose another one")
    if kind not in PUBLISHED_SPECS and not ours:
        raise MalformedCommandError(f"{kind} is a command over HTTP alone, whose callers are known")
    return Command(
        id=event.id if ours else _foreign_id(user, event.source, event.id),
        type=kind,
        subject=event.subject,
        data=_kept(event.data.request),
        sealed_password=event.data.sealed_password,
        password_fault=event.data.password_fault,
        requested_by=event.data.requested_by if ours else event.source,
        origin=event.data.origin if ours else "",
        user_id="" if ours else user,
        by_administrator=event.data.by_administrator if ours else None,
        traceparent=event.traceparent,
    )


def _foreign_id(user: str, source: str, event_id: str) -> str:
    # Both are quoted, so the first two slashes end them.
    command_id = f"{_FOREIGN}{quote(user, safe='')}/{quote(source, safe='')}/{event_id}"
    return command_id if len(command_id) <= TEXT_LENGTH else _FOREIGN + sha256(command_id.encode()).hexdigest()


def _kept(request: dict[str, Any]) -> dict[str, Any]:
    """Return a request without secrets, as the API passes it on.

    Those in connection variables stay: the coordinator refuses them by name, and without them it could not.
    """
    variables = {name: value for name, value in request.items() if name == _VARIABLES}
    return {**without_secrets(request), **variables}


def _check_storable(event: CommandEvent) -> None:
    """Raise for values that the API refuses too: the database cannot store them, so no repeat would ever succeed."""
    for name, value in (*event, *event.data):
        if name in _KEPT:
            try:
                check_json(value)
            except ValueError as error:
                raise MalformedCommandError(f"{name}: {error}") from None


def _describe(error: ValidationError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "the message is nested too deep"
    places = (
        ".".join(map(str, problem["loc"])) or "body" for problem in error.errors(include_input=False, include_url=False)
    )
    return "the message is no CloudEvent with a command: " + "; ".join(
        f"{place}: {problem['msg']}" for place, problem in zip(places, error.errors(include_input=False), strict=True)
    )
