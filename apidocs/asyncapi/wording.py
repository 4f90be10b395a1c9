"""Texts and servers of the AsyncAPI document. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

ABOUT: Final = """\
Stages a software release on many sites. What its HTTP API can change, a message can change too, and whatever happens \
can be listened to: on RabbitMQ, as Server-Sent Events, and by webhooks.

Commands and events are CloudEvents 1.0 in structured JSON. Each command is answered; the publisher's user, `source` \
and `id` name it, and a repeat is answered as the first time. The events are the same objects everywhere.

Prestager's own queues and its exchange `prestager.control` are internal: their messages may change in any release, \
and are not described here."""

_HOST: Final = {"host": {"default": "localhost", "description": "Where it is."}}

SERVERS: Final[dict[str, Any]] = {
    "broker": {
        "host": "{host}:5672",
        "protocol": "amqp",
        "protocolVersion": "0.9.1",
        "description": "RabbitMQ.",
        "variables": _HOST,
        "security": [{"$ref": "#/components/securitySchemes/user"}],
    },
    "api": {
        "host": "{host}",
        "protocol": "http",
        "description": "The HTTP API; docs/openapi.json describes all of it.",
        "variables": _HOST,
        "security": [{"$ref": "#/components/securitySchemes/token"}],
    },
}
SERVERS_SECURITY: Final = {
    "user": {"type": "userPassword", "description": "A user of RabbitMQ with rights at the exchange."},
    "token": {"type": "httpApiKey", "in": "header", "name": "X-Auth-Token"},
}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Server and address of a channel; None: they are known at run time only."""

    address: str | None = None
    server: str | None = None
    description: str


CHANNELS: Final = {
    "commands": Place(
        address="{type}",
        server="broker",
        description="The routing key is the command's type without `io.prestager.command.`; under another one it is"
        " refused. At most 64 KiB.",
    ),
    "answers": Place(
        server="broker",
        description="Where `replyTo` of the command leads, by the default exchange: direct reply-to, or a queue of the"
        " publisher's own.",
    ),
    "events": Place(
        address="{type}",
        server="broker",
        description="The routing key is the event's type without `io.prestager.event.`. Each comes at least once,"
        " after it was stored; bind a queue of your own.",
    ),
    "stream": Place(
        address="/v1.0/events",
        server="api",
        description="Server-Sent Events. The field `event` is the name of the message, `data` its payload, `id` the"
        " number to resume after with the header `Last-Event-ID`; `dropped` has none. A comment keeps the connection"
        " alive.",
    ),
    "webhooks": Place(
        description="The URL of each webhook: the payload is the body, signed with the headers of Standard Webhooks."
    ),
}

_TEXT: Final = {"type": "string"}
_TRACE: Final = {"type": "string", "description": "AMQP header: where the message is in a trace (W3C)."}
_MARK: Final = {"type": "string", "description": "Comes back with the answer."}

# Properties of the AMQP messages of commands and answers; `traceparent` is a header of them.
HEADERS: Final[dict[str, Any]] = {
    "command": {
        "type": "object",
        "properties": {
            "replyTo": {
                "type": "string",
                "pattern": r"^(amq\.rabbitmq\.reply-to(\..+)?|prestager\.replies\..+\.[^.]+)$",
                "description": "`amq.rabbitmq.reply-to`, or with `userId` a queue `prestager.replies.<userId>.<name>`,"
                " its name without dots; any other is refused. Without it there is no answer.",
            },
            "correlationId": _MARK,
            "expiration": {
                "type": "string",
                "pattern": "^[0-9]+$",
                "description": "Milliseconds; a command that nobody took by then never runs.",
            },
            "userId": {
                "type": "string",
                "description": "The publisher's user, for which RabbitMQ vouches. It is part of the command's id,"
                " beside source and id, and is in the audit; only Prestager's own user may use the source of its API.",
            },
            "messageId": _TEXT,
            "type": _TEXT,
            "appId": _TEXT,
            "traceparent": _TRACE,
        },
    },
    "answer": {
        "type": "object",
        "properties": {
            "correlationId": _MARK,
            "messageId": {"type": "string", "description": "Id of the command; empty if it was none."},
            "type": {"const": "answer"},
            "appId": {"const": "prestager"},
            "traceparent": _TRACE,
        },
    },
}
