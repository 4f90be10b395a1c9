"""The routes of webhooks and their deliveries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp.typedefs import Handler

from api import webhooks
from apidocs.openapi.operation import Body, DeliveryPage, Operation, Response, WebhookList
from messages.requests.webhook import DeliveryQuery, WebhookBody, WebhookChangeBody
from messages.webhook_schemas import CountedWebhook, Delivery, WebhookCreated

_TAG: Final = "Webhooks"
_WEBHOOK: Final = ("Name of the webhook, or its id.", "ops")
_DELIVERY: Final = ("Id of the delivery.", 1)
_NO_WEBHOOK: Final = {404: "There is no such webhook."}
_NO_DELIVERY: Final = {404: "There is no such webhook, or it has no such delivery."}
_WRONG: Final = {400: "The first field that is wrong, in the order of the fields; the name is taken."}
_ONCE: Final = "A secret that was made is shown in this one answer, and a repeat of the command does not show it again."

WEBHOOKS: Final[Mapping[Handler, Operation]] = {
    webhooks.show_all: Operation(
        id="list-webhooks",
        tag=_TAG,
        response=Response(description="The webhooks in the order of their ids.", type=WebhookList),
    ),
    webhooks.create: Operation(
        id="create-webhook",
        tag=_TAG,
        is_command=True,
        body=Body(
            model=WebhookBody,
            examples={
                "what failed": {
                    "name": "ops",
                    "url": "https://receiver.example/hook",
                    "types": ["step.prestage.failed", "strategy."],
                }
            },
        ),
        response=Response(description="The new webhook; it gets what happens from now on.", type=WebhookCreated),
        errors={**_WRONG, 422: "There are too many."},
        notes=_ONCE,
    ),
    webhooks.show: Operation(
        id="show-webhook",
        tag=_TAG,
        ref=_WEBHOOK,
        response=Response(description="The webhook.", type=CountedWebhook),
        errors=_NO_WEBHOOK,
    ),
    webhooks.change: Operation(
        id="change-webhook",
        tag=_TAG,
        is_command=True,
        ref=_WEBHOOK,
        body=Body(model=WebhookChangeBody, examples={"pause": {"enabled": False}, "a new secret": {"rotate": True}}),
        response=Response(description="The webhook as it is now.", type=WebhookCreated),
        errors={**_WRONG, **_NO_WEBHOOK},
        notes=_ONCE,
    ),
    webhooks.delete: Operation(
        id="delete-webhook",
        tag=_TAG,
        is_command=True,
        ref=_WEBHOOK,
        response=Response(description="It is gone, with its secret and its log.", type=None),
        errors=_NO_WEBHOOK,
    ),
    webhooks.ping: Operation(
        id="ping-webhook",
        tag=_TAG,
        is_command=True,
        ref=_WEBHOOK,
        response=Response(description="The delivery to watch.", type=Delivery),
        errors={**_NO_WEBHOOK, 422: "The webhook is disabled."},
    ),
    webhooks.show_deliveries: Operation(
        id="list-deliveries",
        tag=_TAG,
        ref=_WEBHOOK,
        query=DeliveryQuery,
        response=Response(description="A page of deliveries.", type=DeliveryPage),
        errors={400: "A parameter is wrong.", **_NO_WEBHOOK},
    ),
    webhooks.show_delivery: Operation(
        id="show-delivery",
        tag=_TAG,
        ref=_WEBHOOK,
        number=_DELIVERY,
        response=Response(description="The delivery.", type=Delivery),
        errors=_NO_DELIVERY,
    ),
    webhooks.redeliver: Operation(
        id="redeliver",
        tag=_TAG,
        is_command=True,
        ref=_WEBHOOK,
        number=_DELIVERY,
        response=Response(description="The delivery to watch.", type=Delivery),
        errors={
            **_NO_DELIVERY,
            422: "The webhook is disabled, it was a ping, or the event is no longer kept.",
        },
    ),
}
