"""Events in the form of Server-Sent Events (WHATWG HTML, section 9.2). Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from messages.events import cloud_event, subclouds_of

# Nothing is told by it; it keeps the connection alive through proxies that close silent ones.
HEARTBEAT: Final = b": still here\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One event, ready to be sent to any number of listeners."""

    id: int
    type: str
    strategy_id: int | None
    subclouds: frozenset[str]
    content: bytes


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What a listener wants to hear; None: everything."""

    strategy_id: int | None = None
    subcloud: str | None = None
    # Beginning of an event's type, such as step.prestage.
    type: str | None = None

    @property
    def is_everything(self) -> bool:
        """Tell whether nothing is left out."""
        return self.strategy_id is None and self.subcloud is None and self.type is None

    def wants(self, frame: Frame) -> bool:
        """Tell whether an event passes."""
        return (
            (self.strategy_id is None or frame.strategy_id == self.strategy_id)
            and (self.subcloud is None or self.subcloud in frame.subclouds)
            and (self.type is None or frame.type.startswith(self.type))
        )


def event_frame(row: Mapping[Any, Any], source: str) -> Frame:
    """Return the frame of an event's row."""
    kind, _, name = row["subject"].partition("/")
    strategy = int(name) if kind == "strategy" else row["data"].get("strategy")
    return Frame(
        id=row["id"],
        type=row["type"],
        strategy_id=strategy,
        subclouds=subclouds_of(row),
        content=frame(row["type"], cloud_event(row, source), event_id=row["id"]),
    )


def frame(event: str, data: Mapping[str, Any], *, event_id: int | None = None) -> bytes:
    """Return one message of the stream; with `event_id` a listener resumes after it."""
    number = b"" if event_id is None else b"id: %d\n" % event_id
    return b"%sevent: %s\ndata: %s\n\n" % (number, event.encode(), json.dumps(data, separators=(",", ":")).encode())
