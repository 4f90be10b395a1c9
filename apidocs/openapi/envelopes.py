"""Types of responses that only the HTTP API has, around the objects of the wire."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from messages.schemas import (
    AuditEntry,
    CountedGroup,
    CountedWebhook,
    Delivery,
    HistoricStep,
    HistoricStrategy,
    ListedSubcloud,
    Step,
    Subcloud,
    Worker,
)

_Next = Annotated[str | None, Field(description="Path of the next page; null on the last.")]


class ErrorPage(TypedDict):
    """Why a request was not carried out."""

    code: Annotated[int, Field(description="The HTTP status.")]
    title: str
    description: Annotated[str, Field(description="What is wrong, for people; its words may change.")]


StepList = TypedDict("StepList", {"strategy-steps": list[Step]})


class SubcloudList(TypedDict):
    """Every subcloud."""

    subclouds: list[ListedSubcloud]


class GroupList(TypedDict):
    """Every group."""

    subcloud_groups: list[CountedGroup]


class GroupMembers(TypedDict):
    """The subclouds of one group."""

    subclouds: list[Subcloud]


class StrategyPage(TypedDict):
    """A page of past and present strategies, newest first."""

    strategies: list[HistoricStrategy]
    next: _Next


class StepPage(TypedDict):
    """A page of the steps of one strategy."""

    steps: list[HistoricStep]
    next: _Next


class AuditPage(TypedDict):
    """A page of the audit, newest first."""

    audit: list[AuditEntry]
    next: _Next


class WebhookList(TypedDict):
    """Every webhook."""

    webhooks: list[CountedWebhook]


class DeliveryPage(TypedDict):
    """A page of the deliveries of one webhook, newest first."""

    deliveries: list[Delivery]
    next: _Next


class WorkerList(TypedDict):
    """Every process of the installation."""

    workers: list[Worker]


class StreamMessage(TypedDict):
    """One message of the stream; comments between messages keep the connection alive."""

    id: NotRequired[Annotated[str, Field(description="Number of the event, to resume after.")]]
    event: Annotated[str, Field(description="`snapshot`, `dropped`, or the type of an event.")]
    data: Annotated[str, Field(description="JSON.", json_schema_extra={"contentMediaType": "application/json"})]


class VersionLink(TypedDict):
    """Where a version is."""

    rel: Literal["self"]
    href: str


class Version(TypedDict):
    """A version of this API."""

    status: Literal["CURRENT"]
    id: Literal["v1.0"]
    updated: str
    links: list[VersionLink]


class Versions(TypedDict):
    """Every version of this API."""

    versions: list[Version]


class Alive(TypedDict):
    """The process answers."""

    alive: Literal[True]


class Ready(TypedDict):
    """Whether the process can do its work."""

    ready: bool
    checks: Annotated[dict[str, str], Field(description="Each check: `ok`, or one sentence of what is wrong.")]


class Started(TypedDict):
    """Whether the process was ready once."""

    started: bool
