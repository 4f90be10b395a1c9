"""/v1.0/webhooks: webhooks and their deliveries. Not of dcmanager's API."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web
from sqlalchemy import Connection

from api.responses import database_response, encode, encode_list, encode_page
from api.send_command import UnsealedReason, send_command
from api.validation import not_found, path_number, path_ref, read_known, read_query, webhook_not_found
from db import webhook_deliveries as deliveries
from db.encryption import Sealer
from db.inventory import find
from db.read_queries import Row
from db.schema import webhooks
from db.webhooks import all_webhooks
from messages.commands import CommandType
from messages.errors import RequestError
from messages.process_serializers import delivery_resource, webhook_resource
from messages.requests.base import parse_request
from messages.requests.webhook import SECRET_KEY, DeliveryQuery, SecretRequest, WebhookBody, WebhookChangeBody
from messages.webhook_schemas import CountedWebhook
from messages.webhook_secrets import SEAL_TAG, make_secret, seal_tag

_SHOWN_ALREADY: Final = (
    "The secret was shown in the first answer to this command and is not shown again; PATCH the webhook with"
    ' {"rotate": true} to have a new one made.'
)


class _SigningSecret:
    """The signing secret of one request: given by the caller, or made here and shown in this one answer."""

    def __init__(self, given: Any, *, is_made: bool) -> None:
        self._is_made = is_made
        self._secret = make_secret() if is_made else given
        self._sealed: str | None = None

    def seal(self, sealer: Sealer, *, bound_to: str) -> tuple[str | None, UnsealedReason | None]:
        if self._secret is None:
            return None, None
        try:
            parse_request(SecretRequest, {SECRET_KEY: self._secret})
        except RequestError:
            return None, "undecodable"
        self._sealed = sealer.seal(self._secret, bound_to=bound_to)
        return self._sealed, None

    def reveal(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the answer with the secret that was made; a repeat gets the first answer, whose secret was another."""
        shown = {key: value for key, value in body.items() if key != SEAL_TAG}
        if not self._is_made or self._sealed is None:
            return shown
        if body.get(SEAL_TAG) == seal_tag(self._sealed):
            return {**shown, "secret": self._secret}
        return {**shown, "secret": None, "note": _SHOWN_ALREADY}


async def show_all(request: web.Request) -> web.Response:
    """Show every webhook, with the number of its open deliveries."""

    def parse_request(connection: Connection) -> bytes:
        rows = all_webhooks(connection)
        return encode_list("webhooks", _counted(connection, rows))

    return await database_response(request, parse_request)


async def show(request: web.Request) -> web.Response:
    """Show one webhook."""
    ref = path_ref(request, webhook_not_found())

    def parse_request(connection: Connection) -> bytes:
        (found,) = _counted(connection, [_found(connection, ref)])
        return encode(found)

    return await database_response(request, parse_request)


async def create(request: web.Request) -> web.Response:
    """Create a webhook; without a secret in the body one is made, and shown in the answer."""
    body = await read_known(request, WebhookBody)
    given = body.pop(SECRET_KEY, None)
    secret = _SigningSecret(given, is_made=given is None)
    return await send_command(request, CommandType.WEBHOOK_CREATE, data=body, secret=secret)


async def change(request: web.Request) -> web.Response:
    """Ask to change a webhook; with `rotate` a new secret is made, and shown in the answer."""
    ref = path_ref(request, webhook_not_found())
    body = await read_known(request, WebhookChangeBody)
    given = body.pop(SECRET_KEY, None)
    secret = _SigningSecret(given, is_made=given is None and body.get("rotate") is True)
    return await send_command(request, CommandType.WEBHOOK_UPDATE, subject=ref, data=body, secret=secret)


async def delete(request: web.Request) -> web.Response:
    """Ask to remove a webhook."""
    return await send_command(request, CommandType.WEBHOOK_DELETE, subject=path_ref(request, webhook_not_found()))


async def ping(request: web.Request) -> web.Response:
    """Ask for a test to be sent."""
    return await send_command(request, CommandType.WEBHOOK_PING, subject=path_ref(request, webhook_not_found()))


async def redeliver(request: web.Request) -> web.Response:
    """Ask for an event to be sent once more."""
    ref, data = path_ref(request, webhook_not_found()), {"delivery": _delivery_id(request)}
    return await send_command(request, CommandType.WEBHOOK_REDELIVER, subject=ref, data=data)


async def show_deliveries(request: web.Request) -> web.Response:
    """Show what was and is to be sent to a webhook, newest first, page by page; `state` narrows it."""
    ref, page = path_ref(request, webhook_not_found()), read_query(DeliveryQuery, request)

    def parse_request(connection: Connection) -> bytes:
        webhook_id = _found(connection, ref)["id"]
        rows = deliveries.deliveries_page(
            connection, webhook_id, state=page.state, before=page.marker, limit=page.limit
        )
        items = [encode(delivery_resource(row)) for row in rows]
        return encode_page(request, "deliveries", items, last=rows[-1]["id"] if rows else None, limit=page.limit)

    return await database_response(request, parse_request)


async def show_delivery(request: web.Request) -> web.Response:
    """Show one delivery."""
    ref, delivery_id = path_ref(request, webhook_not_found()), _delivery_id(request)

    def parse_request(connection: Connection) -> bytes:
        found = deliveries.find_delivery(connection, _found(connection, ref)["id"], delivery_id)
        if found is None:
            raise not_found("Delivery not found")
        return encode(delivery_resource(found))

    return await database_response(request, parse_request)


def _found(connection: Connection, ref: str) -> Row:
    row = find(connection, webhooks, ref)
    if row is None:
        raise webhook_not_found()
    return dict(row)


def _counted(connection: Connection, rows: list[Row]) -> list[CountedWebhook]:
    counts = deliveries.open_counts(connection, [row["id"] for row in rows])
    return [{**webhook_resource(row), "open-deliveries": counts.get(row["id"], 0)} for row in rows]


def _delivery_id(request: web.Request) -> int:
    return path_number(request, "id", not_found("Delivery not found"))
