"""Create, change, delete and try webhooks."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from sqlalchemy import RowMapping, delete, select

from actors.coordinator.context import CommandContext, read_body
from actors.coordinator.errors import bad_request, not_found, unprocessable
from db.inventory import add, change, find, is_taken
from db.read_queries import newest_event_id
from db.schema import database_now, events, webhooks
from db.webhook_deliveries import Cause, DeliveryState, add_delivery, find_delivery, hurry, new_delivery
from db.webhooks import disable, lock, webhook_count
from messages.commands import Command
from messages.process_serializers import delivery_resource, webhook_resource
from messages.requests.base import Request
from messages.requests.webhook import (
    SECRET_FAULT,
    SECRET_IN_CLEAR,
    SECRET_KEY,
    SECRET_NEEDED,
    RedeliveryRequest,
    WebhookChange,
    WebhookRequest,
)
from messages.webhook_schemas import Delivery, TaggedWebhook, Webhook
from messages.webhook_secrets import seal_tag

# Each costs a look several times a second.
_MOST_WEBHOOKS: Final = 100
# How long the secret of before signs too, in seconds.
_OLD_SECRET_S: Final = 86400.0
_TAKEN: Final = "A webhook with this name already exists"

_R = TypeVar("_R", bound=Request)


def create_webhook(context: CommandContext, command: Command) -> TaggedWebhook:
    """Create a webhook; it gets what happens from now on.

    Raises:
        CommandRefusedError: 400 with the sentence for the first wrong field; 422 when there are too many.
    """
    wanted = _read(WebhookRequest, command)
    secret = _secret(command)
    if not secret:
        raise bad_request(SECRET_NEEDED)
    if is_taken(context.connection, webhooks, wanted.name):
        raise bad_request(_TAKEN)
    if webhook_count(context.connection) >= _MOST_WEBHOOKS:
        raise unprocessable(f"There are {_MOST_WEBHOOKS} webhooks already; delete one first")
    values = {
        **wanted.model_dump(),
        **secret,
        "disabled_at": None if wanted.enabled else context.at,
        "disabled_reason": "",
        "cursor": newest_event_id(context.connection),
        "created_at": context.at,
    }
    return _tagged(add(context.connection, webhooks, values))


def update_webhook(context: CommandContext, command: Command) -> Webhook:
    """Change a webhook; what is still to be sent goes out as it is then.

    Raises:
        CommandRefusedError: 404, or 400 with the sentence for the first error.
    """
    webhook = _found(context, command)
    wanted = _read(WebhookChange, command)
    secret = _secret(command)
    if wanted.rotate and not secret:
        raise bad_request(SECRET_NEEDED)
    given = wanted.model_dump(exclude_unset=True, exclude={"rotate"})
    if not given and not secret:
        raise bad_request("nothing to update")
    if "name" in given and is_taken(context.connection, webhooks, given["name"], but_id=webhook["id"]):
        raise bad_request(_TAKEN)
    is_enabled = given.pop("enabled", webhook["enabled"])
    values = {**given, **(_turned(webhook, secret) if secret else {}), "updated_at": context.at}
    if "url" in given:
        # What failed was another receiver.
        values["failing_since"] = None
    if is_enabled and not webhook["enabled"]:
        values |= _enabled(context)
    changed = change(context.connection, webhooks, webhook["id"], values)
    if webhook["enabled"] and not is_enabled:
        disable(context.work, webhook["id"], "")
        changed = _found(context, command.model_copy(update={"subject": str(webhook["id"])}))
    return _tagged(changed) if secret else webhook_resource(changed)


def delete_webhook(context: CommandContext, command: Command) -> None:
    """Remove a webhook with its secret and its log.

    Raises:
        CommandRefusedError: 404.
    """
    webhook = _found(context, command)
    context.connection.execute(delete(webhooks).where(webhooks.c.id == webhook["id"]))


def ping_webhook(context: CommandContext, command: Command) -> Delivery:
    """Have a test sent to one webhook, whatever its filters; return the delivery to watch.

    Raises:
        CommandRefusedError: 404; 422 for a webhook that is disabled.
    """
    webhook = _found_enabled(context, command)
    ping = {"id": None, "type": "webhook.ping", "subject": f"webhook/{webhook['name']}"}
    made = add_delivery(context.connection, new_delivery(webhook["id"], ping, Cause.PING, context.at))
    return delivery_resource(made)


def redeliver(context: CommandContext, command: Command) -> Delivery:
    """Have an event sent once more, under the same `webhook-id`; an open delivery is due at once instead.

    Raises:
        CommandRefusedError: 404; 400; 422 for a webhook that is disabled, or an event that is no longer kept.
    """
    webhook = _found_enabled(context, command)
    wanted = _read(RedeliveryRequest, command)
    found = find_delivery(context.connection, webhook["id"], wanted.delivery)
    if found is None:
        raise not_found("Delivery not found")
    if found["state"] == DeliveryState.PENDING:
        return delivery_resource(hurry(context.connection, found["id"]))
    if found["event_id"] is None:
        raise unprocessable("A ping is not sent again; send another one")
    event = context.connection.execute(select(events).where(events.c.id == found["event_id"])).mappings().one_or_none()
    if event is None:
        raise unprocessable(f"Event {found['event_id']} is no longer kept")
    again = new_delivery(webhook["id"], event, Cause.REDELIVERY, context.at)
    return delivery_resource(add_delivery(context.connection, again))


def _found(context: CommandContext, command: Command) -> RowMapping:
    webhook = find(context.connection, webhooks, command.subject or "")
    if webhook is None:
        raise not_found("Webhook not found")
    return webhook


def _found_enabled(context: CommandContext, command: Command) -> RowMapping:
    """Return an enabled webhook, which stays so until the transaction ends: nothing else is added to one."""
    lock(context.connection, [_found(context, command)["id"]])
    # A sender may have disabled it meanwhile, and ended what was open before this is added.
    webhook = _found(context, command)
    if not webhook["enabled"]:
        raise unprocessable(f"Webhook {webhook['name']} is disabled; enable it first")
    return webhook


def _read(model: type[_R], command: Command) -> _R:
    if SECRET_KEY in command.data:
        raise bad_request(SECRET_IN_CLEAR)
    return read_body(model, command.data)


def _secret(command: Command) -> dict[str, Any]:
    """Return the columns of the sealed secret that came along; none when there is none."""
    if command.password_fault == "undecodable":  # noqa: S105 - a reason, no password
        raise bad_request(SECRET_FAULT)
    if not command.sealed_password:
        return {}
    return {"sealed": command.sealed_password, "bound_to": command.id}


def _turned(webhook: RowMapping, secret: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of a new secret and the one before."""
    return {
        **secret,
        "old_sealed": webhook["sealed"],
        "old_bound_to": webhook["bound_to"],
        "old_until": database_now() + _OLD_SECRET_S,
    }


def _enabled(context: CommandContext) -> dict[str, Any]:
    """Return the columns of a webhook that is enabled: what happened meanwhile is not sent."""
    return {
        "enabled": True,
        "disabled_at": None,
        "disabled_reason": "",
        "failing_since": None,
        "cursor": newest_event_id(context.connection),
    }


def _tagged(webhook: RowMapping) -> TaggedWebhook:
    return {**webhook_resource(webhook), "secret-tag": seal_tag(webhook["sealed"])}
