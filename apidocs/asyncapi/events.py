"""Events, and what else is told over HTTP, as the document tells them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from apidocs.json_schemas import Schemas
from messages.event_types import Dropped, Event, EventType, Snapshot
from messages.events import TYPE_PREFIX

# What is told by the stream alone, by the name of the message.
STREAM_TYPES: Final[Mapping[str, Any]] = {"snapshot": Snapshot, "dropped": Dropped}


def event_payload(one: EventType, schemas: Schemas) -> dict[str, Any]:
    """Return the schema of an event: the CloudEvent, with what the type says more."""
    envelope = schemas.components[Event.__name__]
    number = r"[0-9]+" if one.subject in {"strategy", "step", "run"} else ".+"
    own = {
        "type": {"const": TYPE_PREFIX + one.name},
        "subject": {"type": "string", "pattern": f"^{one.subject}/{number}$"},
        "data": schemas.of_type(one.data),
    }
    return {"type": "object", "properties": {**envelope["properties"], **own}, "required": envelope["required"]}
