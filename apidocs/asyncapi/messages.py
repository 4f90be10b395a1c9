"""Payloads of commands, answers and events for the AsyncAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from apidocs.json_schemas import Generator, Schemas
from broker.amqp.cloudevents import TYPE_PREFIX as COMMAND_PREFIX
from broker.amqp.cloudevents import CommandEvent
from messages.command_specs import COMMAND_SPECS, CommandSpec
from messages.commands import Answer, CommandType
from messages.event_types import Dropped, Event, EventType, SnapshotData
from messages.events import TYPE_PREFIX as EVENT_PREFIX


def command_payload(kind: CommandType, schemas: Schemas) -> dict[str, Any]:
    """Return the schema of a command: the envelope that the coordinator reads, with what the type says more."""
    told = COMMAND_SPECS[kind]
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


def _data(told: CommandSpec, data: dict[str, Any], schemas: Schemas) -> dict[str, Any]:
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
    told = COMMAND_SPECS[kind].answer
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
STREAM_TYPES: Final[Mapping[str, Any]] = {"snapshot": SnapshotData, "dropped": Dropped}


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
