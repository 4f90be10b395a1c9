"""Description of one route beyond its handler's docstring, models and types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from messages.requests.base import Request


@dataclass(frozen=True, kw_only=True)
class Body:
    """A body that a route takes in."""

    # Judges the body; its JSON Schema is what the document shows.
    model: type[Request]
    # What callers send, by a few words of what it is for; accepted by the model.
    examples: Mapping[str, Mapping[str, Any]]
    # Whether it may come as multipart/form-data too.
    is_form: bool = False
    # Of a form, the part that is a file, and what it holds.
    file: tuple[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Header:
    """A header that a route reads."""

    name: str
    description: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a route shows."""

    description: str
    # What `TypeAdapter` reads; text is `str`.
    type: Any = None
    media_type: str = "application/json"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One route. The handler's docstring describes it; path, method and roles are those of the route."""

    # Unique, words with dashes between: its title, and what generated clients call it.
    id: str
    tag: str
    shown: Shown
    # Status → when it is answered. What every route of its kind may answer is added: see `answers`.
    refusals: Mapping[int, str] = field(default_factory=dict)
    # Status → what is shown with it instead of an error page.
    also_shown: Mapping[int, Shown] = field(default_factory=dict)
    query: type[Request] | None = None
    headers: tuple[Header, ...] = ()
    body: Body | None = None
    # What `{ref}` of the path stands for, and an example.
    ref: tuple[str, str] | None = None
    # What `{id}` of the path, a number, stands for, and an example.
    number: tuple[str, int] | None = None
    # Carries a command to the coordinator.
    is_command: bool = False
    # Sentences beside the docstring, for readers of the document.
    notes: str = ""
