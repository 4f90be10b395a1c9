"""The one moment at which a password is in the clear: between its base64 and its sealing."""

from __future__ import annotations

from typing import Any, Literal, cast

from db.encryption import Sealer
from messages.errors import RequestError
from messages.requests.base import read
from messages.requests.strategy import PasswordRequest

Fault = Literal["missing", "undecodable"]


def seal_password(value: Any, sealer: Sealer, *, bound_to: str) -> tuple[str | None, Fault | None]:
    """Return the sealed password, or why there is none.

    Args:
        value: What the body holds for `sysadmin_password`: base64 of UTF-8.

        sealer: Seals it.

        bound_to: Id of the command that carries it.
    """
    try:
        plain = read(PasswordRequest, {"sysadmin_password": value}).sysadmin_password
    except RequestError as fault:
        return None, cast("Fault", str(fault))
    return sealer.seal(plain, bound_to=bound_to), None
