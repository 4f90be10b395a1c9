"""Payloads of commands, answers and events for the AsyncAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel

from apidocs.json_schemas import Generator, Schemas
from broker.amqp.cloudevents import TYPE_PREFIX as COMMAND_PREFIX
from broker.amqp.cloudevents import CommandEvent
from messages.commands import Answer, CommandType
from messages.event_types import Dropped, Event, EventType, Snapshot
from messages.events import TYPE_PREFIX as EVENT_PREFIX
from messages.requests.base import Request
from messages.requests.group import GroupChange, GroupRequest
from messages.requests.strategy import PrestageCommand, StrategyCommand, VerbRequest
from messages.requests.subcloud import NewSubcloud, StagedRequest, SubcloudChange, UnstageRequest
from messages.requests.webhook import RedeliveryRequest, WebhookChange, WebhookRequest
from messages.schemas import (
    CreatedStrategy,
    Delivery,
    Group,
    PrestagedSubcloud,
    Strategy,
    Subcloud,
    TaggedWebhook,
    UnstagedSubcloud,
    Webhook,
)


class NoRequest(Request):
    """Nothing: type and subject tell all."""


@dataclass(frozen=True, kw_only=True)
class CommandDoc:
    """What is told of a type of command."""

    # The model that judges what is asked.
    request: type[BaseModel] = NoRequest
    # What its subject names; None: it has none.
    subject: Literal["subcloud", "group", "webhook"] | None = None
    # Whether something sealed comes along, and what.
    sealed: str = ""
    is_sealed_needed: bool = True
    # The type of the answer's body on success.
    answer: Any = None
    summary: str

    @property
    def needs_request(self) -> bool:
        """Tell whether anything must be said in the request."""
        return any(one.is_required() for one in self.request.model_fields.values())


_PASSWORD: Final = "The password of the sites' account, sealed by `prestager seal`."  # noqa: S105 - a sentence
_SECRET: Final = "The signing secret, sealed by `prestager seal`."  # noqa: S105 - a sentence

COMMANDS: Final[Mapping[CommandType, CommandDoc]] = {
    CommandType.STRATEGY_CREATE: CommandDoc(
        request=StrategyCommand, sealed=_PASSWORD, answer=CreatedStrategy, summary="Create a strategy."
    ),
    CommandType.STRATEGY_APPLY: CommandDoc(request=VerbRequest, answer=Strategy, summary="Start the strategy."),
    CommandType.STRATEGY_ABORT: CommandDoc(request=VerbRequest, answer=Strategy, summary="Start no more steps."),
    CommandType.STRATEGY_DELETE: CommandDoc(request=VerbRequest, answer=Strategy, summary="Make the strategy history."),
    CommandType.SUBCLOUD_ADD: CommandDoc(request=NewSubcloud, answer=Subcloud, summary="Add a subcloud."),
    CommandType.SUBCLOUD_UPDATE: CommandDoc(
        request=SubcloudChange, subject="subcloud", answer=Subcloud, summary="Change, manage or unmanage a subcloud."
    ),
    CommandType.SUBCLOUD_DELETE: CommandDoc(subject="subcloud", summary="Remove a subcloud."),
    CommandType.SUBCLOUD_PRESTAGE: CommandDoc(
        request=PrestageCommand,
        subject="subcloud",
        sealed=_PASSWORD,
        answer=PrestagedSubcloud,
        summary="Prestage one subcloud, without a strategy.",
    ),
    CommandType.SUBCLOUD_STAGED: CommandDoc(
        request=StagedRequest,
        subject="subcloud",
        answer=Subcloud,
        summary="Say that it is not known any more whether a release is staged on a subcloud.",
    ),
    CommandType.SUBCLOUD_UNSTAGE: CommandDoc(
        request=UnstageRequest,
        subject="subcloud",
        sealed=_PASSWORD,
        answer=UnstagedSubcloud,
        summary="Remove a staged release from a subcloud.",
    ),
    CommandType.GROUP_CREATE: CommandDoc(request=GroupRequest, answer=Group, summary="Create a group."),
    CommandType.GROUP_UPDATE: CommandDoc(request=GroupChange, subject="group", answer=Group, summary="Change a group."),
    CommandType.GROUP_DELETE: CommandDoc(subject="group", summary="Remove an empty group."),
    CommandType.WEBHOOK_CREATE: CommandDoc(
        request=WebhookRequest, sealed=_SECRET, answer=TaggedWebhook, summary="Create a webhook."
    ),
    CommandType.WEBHOOK_UPDATE: CommandDoc(
        request=WebhookChange,
        subject="webhook",
        sealed=_SECRET,
        is_sealed_needed=False,
        # With the tag if there is a new secret.
        answer=TaggedWebhook | Webhook,
        summary="Change a webhook.",
    ),
    CommandType.WEBHOOK_DELETE: CommandDoc(subject="webhook", summary="Remove a webhook."),
    CommandType.WEBHOOK_PING: CommandDoc(subject="webhook", answer=Delivery, summary="Have a test sent to a webhook."),
    CommandType.WEBHOOK_REDELIVER: CommandDoc(
        request=RedeliveryRequest, subject="webhook", answer=Delivery, summary="Have an event sent once more."
    ),
}


def command_payload(kind: CommandType, schemas: Schemas) -> dict[str, Any]:
    """Return the schema of a command: the envelope that the coordinator reads, with what the type says more."""
    told = COMMANDS[kind]
    envelope = CommandEvent.model_json_schema(schema_generator=Generator)
    (data,) = envelope.pop("$defs").values()
    properties = envelope["properties"]
    properties["type"] = {"const": COMMAND_PREFIX + kind}
    properties["time"]["description"] = "When it was asked for."
    properties["traceparent"]["description"] = "Where it was asked for in a trace (W3C)."
    if told.subject is None:
        del properties["subject"]
    else:
        properties["subject"] = {
            "type": "string",
            "maxLength": 255,
            "description": f"Name or id of the {told.subject}.",
        }
    properties["data"] = _data(told, data, schemas)
    required = [*envelope["required"], *(["subject"] if told.subject else [])]
    if told.needs_request or (told.sealed and told.is_sealed_needed):
        required.append("data")
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": True}


def _data(told: CommandDoc, data: dict[str, Any], schemas: Schemas) -> dict[str, Any]:
    properties = data["properties"]
    properties["request"] = schemas.of_model(told.request)
    properties["requested_by"]["description"] = "Only Prestager's own API says it."
    properties["origin"]["description"] = "Address that the API was called from; only Prestager's own API says it."
    # Said by Prestager's own API, and without meaning from anybody else.
    del properties["by_administrator"]
    properties["password_fault"]["description"] = (
        "Why there is nothing sealed; only Prestager's own API says it, and the command is refused."
    )
    if told.sealed:
        properties["sealed_password"] = {"type": "string", "description": told.sealed}
    else:
        del properties["sealed_password"], properties["password_fault"]
    found: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    if told.needs_request:
        found["required"] = ["request"]
    if told.sealed and told.is_sealed_needed:
        # Without either the command is refused.
        found["anyOf"] = [{"required": ["sealed_password"]}, {"required": ["password_fault"]}]
    return found


def answer_payload(kind: CommandType, schemas: Schemas) -> dict[str, Any]:
    """Return the schema of the answer: done with a body, or refused with a sentence."""
    told = COMMANDS[kind].answer
    done = {
        "status": {"const": 200},
        "body": {"type": "null"} if told is None else schemas.of_type(told),
        "detail": {"const": ""},
    }
    refused = {
        "status": {"type": "integer", "minimum": 400, "maximum": 599, "description": "As HTTP would answer."},
        "body": {"type": "null"},
        "detail": {"type": "string", "minLength": 1, "description": "What is wrong and what to do."},
    }
    keys = list(Answer.model_fields)
    return {
        "oneOf": [
            {"type": "object", "properties": properties, "required": keys, "additionalProperties": False}
            for properties in (done, refused)
        ]
    }


# What is told by the stream alone, by the name of the message.
STREAM_TYPES: Final[Mapping[str, Any]] = {"snapshot": Snapshot, "dropped": Dropped}


def event_payload(one: EventType, schemas: Schemas) -> dict[str, Any]:
    """Return the schema of an event: the CloudEvent, with what the type says more."""
    envelope = schemas.components[Event.__name__]
    number = r"[0-9]+" if one.subject in {"strategy", "step", "run"} else ".+"
    own = {
        "type": {"const": EVENT_PREFIX + one.name},
        "subject": {"type": "string", "pattern": f"^{one.subject}/{number}$"},
        "data": schemas.of_type(one.data),
    }
    return {"type": "object", "properties": {**envelope["properties"], **own}, "required": envelope["required"]}
