"""Sealed secrets: AES-GCM under one key from the configuration, each bound to the command it came with."""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_ID_DIGITS: Final = 16


class UnsealingError(Exception):
    """The sealed secret was made with another key, for another command, or was altered."""

    def __init__(self) -> None:
        super().__init__(
            "The stored password cannot be opened: PRESTAGER_SECRET_KEY is not the key it was sealed with."
            " Set the key of this installation, or create the strategy again."
        )


def key_id(key: bytes) -> str:
    """Return the id of a key: 16 hexadecimal digits of a digest, from which nothing of the key follows."""
    return sha256(b"prestager key id\0" + key).hexdigest()[:_ID_DIGITS]


class Sealer:
    """Seals and opens secrets; never logs, never shows its key.

    Raises:
        ValueError: At construction, when the key is not 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"the secret key has {len(key)} bytes, it needs {KEY_BYTES}")
        self._cipher = AESGCM(key)
        self._id = key_id(key)

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of the keys that secrets are opened with, the sealing one first."""
        return (self._id,)

    def seal(self, secret: str, *, bound_to: str) -> str:
        """Return the secret as base64 ciphertext that opens only with the same `bound_to`."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, secret.encode(), bound_to.encode())
        return b64encode(nonce + sealed).decode()

    def open(self, sealed: str, *, bound_to: str) -> str:
        """Return the secret.

        Raises:
            UnsealingError: Another key, another `bound_to`, or altered text.
        """
        try:
            raw = b64decode(sealed, validate=True)
            return self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], bound_to.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise UnsealingError from error
