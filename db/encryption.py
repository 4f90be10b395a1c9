"""Sealed secrets: AES-GCM, each bound to the command it came with, and marked with the id of its key.

A sealed text is `<key id>:<base64>`. Texts without an id, from before keys had ids, are tried with every key.
"""

from __future__ import annotations

import os
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from threading import Lock
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from db.errors import UnsealingError

KEY_BYTES: Final = 32
ID_DIGITS: Final = 16
_NONCE_BYTES: Final = 12
_MARKED: Final = re.compile(rf"([0-9a-f]{{{ID_DIGITS}}}):(.*)", re.DOTALL)

# Returns the keys anew when they have changed since they were asked for last, None when they have not.
ChangedKeys = Callable[[], Sequence[bytes] | None]


def key_id(key: bytes) -> str:
    """Return the id of a key: 16 hexadecimal digits of a digest, from which nothing of the key follows."""
    return sha256(b"prestager key id\0" + key).hexdigest()[:ID_DIGITS]


def sealed_with(sealed: str) -> str | None:
    """Return the id of the key that a text says it was sealed with; None for a text from before keys had ids."""
    marked = _MARKED.fullmatch(sealed)
    return None if marked is None else marked[1]


class Sealer:
    """Seals with the first of several keys and opens with all of them; never logs, never shows a key. Thread-safe.

    Args:
        keys: 32 bytes each, at least one.

        changed: is asked before every use whether the keys are other ones now.

    Raises:
        ValueError: At construction, when there is no key, or one is not 32 bytes.
    """

    def __init__(self, *keys: bytes, changed: ChangedKeys = lambda: None) -> None:
        self._changed = changed
        self._lock = Lock()
        # By the id of their keys, the sealing one first.
        self._ciphers = _ciphers(keys)

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of the keys, the sealing one first."""
        return tuple(self._current())

    def seal(self, secret: str, *, bound_to: str) -> str:
        """Return the secret as a ciphertext that opens only with the same `bound_to`."""
        used, cipher = next(iter(self._current().items()))
        nonce = os.urandom(_NONCE_BYTES)
        sealed = cipher.encrypt(nonce, secret.encode(), bound_to.encode())
        return f"{used}:{b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, *, bound_to: str) -> str:
        """Return the secret.

        Raises:
            UnsealingError: Another key, another `bound_to`, or altered text.
        """
        return self._open(sealed, bound_to)[1]

    def opening_key(self, sealed: str, *, bound_to: str) -> str | None:
        """Return the id of the key that opens a text; None when none of the keys does."""
        try:
            return self._open(sealed, bound_to)[0]
        except UnsealingError:
            return None

    def _open(self, sealed: str, bound_to: str) -> tuple[str, str]:
        """Return the id of the key and the secret."""
        ciphers, marked = self._current(), _MARKED.fullmatch(sealed)
        if marked is not None:
            if marked[1] not in ciphers:
                raise UnsealingError(marked[1])
            ciphers, sealed = {marked[1]: ciphers[marked[1]]}, marked[2]
        for used, cipher in ciphers.items():
            try:
                raw = b64decode(sealed, validate=True)
                return used, cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], bound_to.encode()).decode()
            except (InvalidTag, ValueError):
                continue
        raise UnsealingError

    def _current(self) -> dict[str, AESGCM]:
        with self._lock:
            keys = self._changed()
            if keys is not None:
                self._ciphers = _ciphers(keys)
            return self._ciphers


def _ciphers(keys: Sequence[bytes]) -> dict[str, AESGCM]:
    if not keys:
        raise ValueError("there is no secret key")
    for key in keys:
        if len(key) != KEY_BYTES:
            raise ValueError(f"the secret key has {len(key)} bytes, it needs {KEY_BYTES}")
    return {key_id(key): AESGCM(key) for key in keys}
