"""Signing secrets of webhooks and the signatures they make, after the Standard Webhooks specification 1.0. Pure.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence
from hashlib import sha256
from secrets import token_bytes
from typing import Final

# Makes a leaked secret easy to recognise for people and for scanners.
PREFIX: Final = "whsec_"
# Key of the tag, beside the webhook in an answer.
SEAL_TAG: Final = "secret-tag"
_MADE_BYTES: Final = 32
_LEAST_BYTES: Final = 24
_MOST_BYTES: Final = 64
_TAG_DIGITS: Final = 16


def make_secret() -> str:
    """Return a new secret."""
    return PREFIX + b64encode(token_bytes(_MADE_BYTES)).decode()


def key_of(secret: str) -> bytes:
    """Return the bytes that a secret signs with.

    Raises:
        ValueError: It is not `whsec_` and 24 to 64 bytes in base64. The text never repeats the value.
    """
    if not secret.startswith(PREFIX):
        raise ValueError("does not begin with whsec_")
    try:
        key = b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError:
        raise ValueError("is not base64 after whsec_") from None
    if not _LEAST_BYTES <= len(key) <= _MOST_BYTES:
        raise ValueError("does not have 24 to 64 bytes")
    return key


def signatures(secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of `webhook-signature`: one signature by each secret.

    Raises:
        ValueError: A secret is none.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    digests = (hmac.digest(key_of(secret), signed, "sha256") for secret in secrets)
    return " ".join(f"v1,{b64encode(digest).decode()}" for digest in digests)


def seal_tag(sealed: str) -> str:
    """Return a tag that differs for each sealed secret and reveals nothing of the secret.

    The coordinator answers with the tag of what it stored, so the API knows whether it was the secret that it made.
    """
    return sha256(sealed.encode()).hexdigest()[:_TAG_DIGITS]
