"""An event as a CloudEvent: the same object on the events exchange and in the stream of the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from messages.event_types import Event, StepEventData

# A CloudEvent in structured JSON, over AMQP and to webhooks.
CONTENT_TYPE: Final = "application/cloudevents+json"
TYPE_PREFIX: Final = "io.prestager.event."


def event_source(installation: str) -> str:
    """Return the CloudEvents source of an installation, for its commands and events."""
    return f"/prestager/{installation}"


def cloud_event(row: Mapping[Any, Any], source: str) -> Event:
    """Return the document of an event's row; `source` is the CloudEvents source of the installation.

    Where traces are on it carries a traceparent (CloudEvents' distributed tracing extension).
    """
    trace = row.get("trace")
    event: Event = {
        "specversion": "1.0",
        "id": str(row["id"]),
        "source": source,
        "type": TYPE_PREFIX + row["type"],
        "subject": row["subject"],
        "time": row["at"].isoformat(),
        "datacontenttype": "application/json",
        "data": row["data"],
    }
    if trace:
        event["traceparent"] = trace
    return event


def step_event_data(*, strategy_id: int | None, subcloud: str, stage: int, details: str = "") -> StepEventData:
    """Return the data of an event of a step; a standalone prestage has no strategy."""
    data: StepEventData = {"strategy": strategy_id, "subcloud": subcloud, "stage": stage}
    if details:
        data["details"] = details
    return data


def subclouds_of(row: Mapping[Any, Any]) -> frozenset[str]:
    """Return the names of the subclouds that an event's row is about; of the abort of many steps, all of theirs."""
    kind, _, name = row["subject"].partition("/")
    steps = row["data"].get("steps")
    aborted = {one["subcloud"] for one in steps} if isinstance(steps, list) else set()
    named = {row["data"].get("subcloud"), name if kind == "subcloud" else None, *aborted} - {None}
    return frozenset(str(one) for one in named)


def subject_ids(subject: str) -> dict[str, int | str]:
    """Return what an event's subject names, as log lines call it: `step/7` is step 7."""
    kind, _, name = subject.partition("/")
    return {kind: int(name) if kind != "subcloud" and name.isdigit() else name}
