"""Answers about webhooks and their deliveries, as types."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field

# Pydantic cannot read those of `typing` before Python 3.12.
from typing_extensions import TypedDict

from messages.schemas import Count, ZonedMoment

Webhook = TypedDict(
    "Webhook",
    {
        "id": int,
        "name": str,
        "url": str,
        "types": Annotated[list[str], Field(description="Beginnings of the types of events; none: every type.")],
        "subcloud": Annotated[str | None, Field(description="The only subcloud whose events are sent.")],
        "enabled": bool,
        "disabled-at": ZonedMoment | None,
        "disabled-reason": str | None,
        "failing-since": Annotated[ZonedMoment | None, Field(description="Since when every try has failed.")],
        "old-secret-until": Annotated[
            ZonedMoment | None, Field(description="Until when deliveries are signed with the secret of before, too.")
        ],
        "created-at": ZonedMoment,
        "updated-at": ZonedMoment | None,
    },
)
_Counted = TypedDict(
    "_Counted", {"open-deliveries": Annotated[int, Field(ge=0, description="Deliveries that are to be tried.")]}
)
_Tagged = TypedDict(
    "_Tagged", {"secret-tag": Annotated[str, Field(description="Tells one sealed secret from another.")]}
)


class CountedWebhook(Webhook, _Counted):
    """A webhook as it is shown."""


class TaggedWebhook(Webhook, _Tagged):
    """A webhook whose secret has just been stored, as the coordinator answers."""


class WebhookCreated(Webhook):
    """A webhook that was created or changed."""

    secret: NotRequired[
        Annotated[str | None, Field(description="The secret that was made: shown this once; null on a repeat.")]
    ]
    note: NotRequired[Annotated[str, Field(description="Why a secret that was made is not shown.")]]


Delivery = TypedDict(
    "Delivery",
    {
        "id": int,
        "webhook-id": int,
        "event-id": Annotated[int | None, Field(description="Number of the event; null for a ping, which is none.")],
        "type": str,
        "subject": str,
        "cause": Literal["event", "ping", "redelivery"],
        "state": Literal["pending", "delivered", "failed"],
        "attempts": Count,
        "next-attempt-at": ZonedMoment | None,
        "status": Annotated[int | None, Field(description="HTTP status of the last answer.")],
        "error": Annotated[str | None, Field(description="Why the last try failed.")],
        "duration-s": Annotated[float | None, Field(description="Of the last try, in seconds.")],
        "attempted-at": ZonedMoment | None,
        "created-at": ZonedMoment,
        "finished-at": ZonedMoment | None,
    },
)
