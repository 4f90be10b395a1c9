"""Body and signed headers of one webhook request."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from time import time

from db.encryption import Sealer
from db.errors import UnsealingError
from db.read_queries import Row
from messages.event_types import Event, WebhookPing
from messages.events import CONTENT_TYPE, cloud_event, event_source
from messages.webhook_secrets import key_of, signatures


def open_secrets(sealer: Sealer, webhook: Row) -> list[str]:
    """Return the signing secrets of a webhook: its own, and the one before while that is valid and can be opened.

    Raises:
        UnsealingError: The secret cannot be opened.

        ValueError: It is malformed.
    """
    secrets = [_opened(sealer, webhook["sealed"], webhook["bound_to"])]
    if webhook["old_counts"]:
        # A lost key may be the reason why the secret was changed.
        with suppress(UnsealingError, ValueError):
            secrets.append(_opened(sealer, webhook["old_sealed"], webhook["old_bound_to"]))
    return secrets


def _opened(sealer: Sealer, sealed: str, bound_to: str) -> str:
    secret = sealer.open(sealed, bound_to=bound_to)
    # Raises here for a malformed secret, which is not a failed try.
    key_of(secret)
    return secret


def signed_request(installation: str, webhook: Row, row: Row, secrets: Sequence[str]) -> tuple[dict[str, str], bytes]:
    """Return headers and body of a try to deliver `row`, a delivery with its event, signed as of now."""
    number = row["event_id"] if row["event"] is not None else f"ping-{row['id']}"
    # Without a full stop, which separates the signed parts.
    message_id = f"{installation}/{webhook['id']}/{number}"
    timestamp = int(time())
    body = json.dumps(_document(installation, webhook, row), separators=(",", ":")).encode()
    headers = {
        "Content-Type": CONTENT_TYPE,
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signatures(secrets, message_id, timestamp, body),
    }
    return headers, body


def _document(installation: str, webhook: Row, row: Row) -> Event:
    source = event_source(installation)
    if row["event"] is not None:
        return cloud_event(row["event"], source)
    ping = {"id": f"ping-{row['id']}", "type": row["type"], "subject": row["subject"], "at": row["created_at"]}
    return cloud_event({**ping, "data": WebhookPing(webhook=webhook["name"])}, source)
