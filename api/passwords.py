"""The one moment at which a password is in the clear: between its base64 and its sealing."""

from __future__ import annotations

from base64 import b64decode
from typing import Any, Literal

from db.sealing import Sealer

Fault = Literal["missing", "undecodable"]


def seal_password(value: Any, sealer: Sealer, *, bound_to: str) -> tuple[str | None, Fault | None]:
    """Return the sealed password, or why there is none.

    Args:
        value: What the body holds for `sysadmin_password`: base64 of UTF-8.

        sealer: Seals it.

        bound_to: Id of the command that carries it.
    """
    if value is None or value == "":
        return None, "missing"
    if not isinstance(value, str):
        return None, "undecodable"
    try:
        # Strict, for the lenient decoder makes something of many a password that somebody forgot to encode.
        plain = b64decode("".join(value.split()), validate=True).decode()
    except ValueError:
        return None, "undecodable"
    return (sealer.seal(plain, bound_to=bound_to), None) if plain else (None, "missing")
