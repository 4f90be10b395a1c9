"""Logging in at the page: with a token, a code of a link, or a name and password of Keystone."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, ValidationInfo, field_validator

from messages.limits import TEXT_LENGTH
from messages.requests.base import ErrorMessage, Request, validation_error

# Longest token or password, in characters.
_SECRET_LENGTH = 4096

_Secret = Annotated[
    Annotated[str, Field(min_length=1, max_length=_SECRET_LENGTH)] | None,
    ErrorMessage(lambda _: f"{{key}} must be a text of 1 to {_SECRET_LENGTH} characters"),
]
_Name = Annotated[
    Annotated[str, Field(min_length=1, max_length=TEXT_LENGTH)] | None,
    ErrorMessage(f"{{key}} must be a text of 1 to {TEXT_LENGTH} characters"),
]


class LoginRequest(Request):
    """One way to log in: `token`, `code`, or `username` with `password`."""

    unused_names: ClassVar[frozenset[str] | None] = frozenset()

    token: _Secret = Field(None, repr=False, description="A token, as `X-Auth-Token` takes it.")
    code: _Secret = Field(None, repr=False, description="The code of a login link; it works once.")
    username: _Name = Field(None, description="Name of a user of Keystone.")
    project: _Name = Field(None, description="Project of that user; without it `admin`.")
    domain: _Name = Field(None, description="Domain of that user; without it the one of the service's own user.")
    password: _Secret = Field(
        None, repr=False, validate_default=True, description="Password of that user; it is not kept."
    )

    @field_validator("password")
    @classmethod
    def _judge_way(cls, password: str | None, info: ValidationInfo) -> str | None:
        """Refuse no way to log in, two of them, and half of one."""
        ways = [info.data.get("token"), info.data.get("code"), info.data.get("username")]
        if sum(way is not None for way in ways) != 1 or (ways[2] is None) != (password is None):
            raise validation_error("token, code, or username and password are needed, and only one of these ways")
        return password
