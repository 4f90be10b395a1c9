"""The AsyncAPI document, put together from topology, models and types. Pure, and the same every time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from apidocs.asyncapi.wording import ABOUT, CHANNELS, HEADERS, SERVERS, SERVERS_SECURITY
from apidocs.json_schemas import Generator, Schemas
from broker.amqp import topology
from broker.amqp.cloudevents import TYPE_PREFIX as COMMAND_PREFIX
from broker.amqp.cloudevents import CommandEvent
from messages.command_specs import PUBLISHED_SPECS, CommandSpec
from messages.commands import Answer, CommandType
from messages.event_types import EVENT_TYPES, PING, Dropped, Event, EventType, SnapshotData
from messages.events import CONTENT_TYPE
from messages.events import TYPE_PREFIX as EVENT_PREFIX
from messages.queues import COMMANDS as COMMANDS_EXCHANGE
from messages.requests.queries import EventsQuery

_BINDING: Final = "0.3.0"
# Data of messages that the stream alone has, by their names.
STREAM_TYPES: Final[Mapping[str, Any]] = {"snapshot": SnapshotData, "dropped": Dropped}
_EVENTS: Final = {one.name: f"event.{one.name}" for one in EVENT_TYPES}
# The messages of each channel by their names there; the command webhook.ping and the ping itself share theirs.
_MESSAGES_OF: Final[Mapping[str, Mapping[str, str]]] = {
    "commands": {str(kind): f"command.{kind}" for kind in PUBLISHED_SPECS},
    "answers": {str(kind): f"answer.{kind}" for kind in PUBLISHED_SPECS},
    "events": _EVENTS,
    "stream": {**{name: f"stream.{name}" for name in STREAM_TYPES}, **_EVENTS},
    "webhooks": {**_EVENTS, PING.name: f"event.{PING.name}"},
}


def document_text() -> str:
    """Return the document, to be read by people too."""
    return json.dumps(build_document(), indent=2, ensure_ascii=False) + "\n"


def build_document() -> dict[str, Any]:
    """Return the document."""
    types = [spec.answer for spec in PUBLISHED_SPECS.values() if spec.answer is not None]
    types += [one.data for one in (*EVENT_TYPES, PING)]
    schemas = Schemas([spec.request for spec in PUBLISHED_SPECS.values()], [*types, *STREAM_TYPES.values(), Event])
    messages = _messages(schemas)
    shown = {name: schema for name, schema in schemas.components.items() if name != Event.__name__}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Prestager",
            # That of the messages; the program's own changes more often than they do.
            "version": "1.0.0",
            "description": ABOUT,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": SERVERS,
        "channels": {name: _channel(name) for name in _MESSAGES_OF},
        "operations": _operations(),
        "components": {
            "schemas": dict(sorted(shown.items())),
            "messages": messages,
            "securitySchemes": SERVERS_SECURITY,
        },
    }


def _messages(schemas: Schemas) -> dict[str, Any]:
    found: dict[str, Any] = {}
    correlation = {"location": "$message.header#/correlationId"}
    for kind, spec in PUBLISHED_SPECS.items():
        found[f"command.{kind}"] = {
            **_message(kind, spec.summary, command_payload(kind, schemas)),
            "headers": HEADERS["command"],
            "correlationId": correlation,
        }
        found[f"answer.{kind}"] = {
            **_message("answer", f"What came of {kind}.", answer_payload(kind, schemas)),
            "contentType": "application/json",
            "headers": HEADERS["answer"],
            "correlationId": correlation,
        }
    for one in (*EVENT_TYPES, PING):
        found[f"event.{one.name}"] = _message(one.name, one.summary, event_payload(one, schemas))
    for name, told_type in STREAM_TYPES.items():
        payload = schemas.of_type(told_type)
        found[f"stream.{name}"] = {"name": name, "contentType": "application/json", "payload": payload}
    return found


def _message(kind: str, summary: str, payload: dict[str, Any]) -> dict[str, Any]:
    bindings = {"amqp": {"messageType": str(kind), "bindingVersion": _BINDING}}
    return {"name": str(kind), "summary": summary, "payload": payload, "bindings": bindings}


def _channel(name: str) -> dict[str, Any]:
    place = CHANNELS[name]
    found: dict[str, Any] = {
        "address": place.address,
        "description": place.description,
        "messages": {one: {"$ref": f"#/components/messages/{key}"} for one, key in _MESSAGES_OF[name].items()},
    }
    if place.server is not None:
        found["servers"] = [{"$ref": f"#/servers/{place.server}"}]
    exchange = {"commands": COMMANDS_EXCHANGE, "events": topology.EVENTS}.get(name)
    if exchange is not None:
        (spec,) = (one for one in topology.EXCHANGES if one.name == exchange)
        found["parameters"] = {
            "type": {"enum": list(_MESSAGES_OF[name]), "description": "The type without its prefix."}
        }
        bound = {"name": spec.name, "type": spec.kind, "durable": True, "autoDelete": False}
        found["bindings"] = {"amqp": {"is": "routingKey", "exchange": bound, "bindingVersion": _BINDING}}
    return found


def _operations() -> dict[str, Any]:
    publishing = {"deliveryMode": 2, "mandatory": True, "bindingVersion": _BINDING}
    query = EventsQuery.model_json_schema(schema_generator=Generator)
    found: dict[str, Any] = {
        kind: {
            **_operation("receive", "commands", [kind], spec.summary),
            "bindings": {"amqp": publishing},
            "reply": {
                "address": {"location": "$message.header#/replyTo"},
                "channel": {"$ref": "#/channels/answers"},
                "messages": [{"$ref": f"#/channels/answers/messages/{kind}"}],
            },
        }
        for kind, spec in PUBLISHED_SPECS.items()
    }
    found["tell"] = {
        **_operation("send", "events", _EVENTS, "Tell what happened."),
        "bindings": {"amqp": {"deliveryMode": 2, "mandatory": False, "bindingVersion": _BINDING}},
    }
    found["follow"] = {
        **_operation("send", "stream", _MESSAGES_OF["stream"], "Tell how things stand, then what happens."),
        "bindings": {"http": {"method": "GET", "query": query, "bindingVersion": _BINDING}},
    }
    found["deliver"] = {
        **_operation("send", "webhooks", _MESSAGES_OF["webhooks"], "Post what happened to a webhook."),
        "bindings": {"http": {"method": "POST", "bindingVersion": _BINDING}},
    }
    return found


def _operation(action: str, channel: str, messages: Iterable[str], summary: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages],
    }


def command_payload(kind: CommandType, schemas: Schemas) -> dict[str, Any]:
    """Return the schema of a command: the envelope that the coordinator reads, with what the type says more."""
    told = PUBLISHED_SPECS[kind]
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
    told = PUBLISHED_SPECS[kind].answer
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


def event_payload(one: EventType, schemas: Schemas) -> dict[str, Any]:
    """Return the schema of an event: the CloudEvent, with what the type says more."""
    envelope = schemas.components[Event.__name__]
    number = r"[0-9]+" if one.subject in {"strategy", "step", "run"} else ".+"
    subject = one.subject if one.other_subject is None else f"({one.subject}|{one.other_subject})"
    own = {
        "type": {"const": EVENT_PREFIX + one.name},
        "subject": {"type": "string", "pattern": f"^{subject}/{number}$"},
        "data": schemas.of_type(one.data),
    }
    return {"type": "object", "properties": {**envelope["properties"], **own}, "required": envelope["required"]}
