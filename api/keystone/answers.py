"""Read a caller from Keystone's answer about a valid token (contract 2.2, 12.2)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic import AwareDatetime, BaseModel

from api.auth import Caller

# Keystone allows 255 characters, which with the id would be too long for an event's field.
_SHOWN_NAME_LENGTH: Final = 100


@dataclass(frozen=True, kw_only=True)
class ValidToken:
    """A token that Keystone found good."""

    caller: Caller
    # When Keystone stops taking it, on Keystone's clock.
    expires_at: datetime


class _Domain(BaseModel):
    name: str | None = None


class _User(BaseModel):
    id: str
    name: str


class _Project(BaseModel):
    name: str
    domain: _Domain | None = None


class _Role(BaseModel):
    name: str


class _Token(BaseModel):
    user: _User
    # Missing with an unscoped token and with one for a domain or the whole system.
    project: _Project | None = None
    roles: tuple[_Role, ...] = ()
    is_domain: bool = False
    expires_at: AwareDatetime


class _Answer(BaseModel):
    token: _Token


class _Fault(BaseModel):
    code: int


class _Refusal(BaseModel):
    error: _Fault


def read_token(body: bytes, project_domain: str) -> ValidToken:
    """Return the caller of a validation's answer.

    A project counts only when it is in `project_domain`: whoever manages another domain may call a project `admin`.

    Raises:
        ValueError: The body is no such answer; its message may quote it.
    """
    token = _Answer.model_validate_json(body).token
    project = token.project
    at_home = (
        project is not None
        and not token.is_domain
        and project.domain is not None
        and project.domain.name == project_domain
    )
    return ValidToken(
        caller=Caller(
            name=_name(token.user),
            # Role names are equal in any case, for Keystone as for its policies.
            roles=frozenset(role.name.lower() for role in token.roles),
            project=project.name if project is not None and at_home else None,
        ),
        expires_at=token.expires_at,
    )


def is_refusal(body: bytes, code: int) -> bool:
    """Tell whether an error's body is Keystone's own, rather than that of something between."""
    try:
        return _Refusal.model_validate_json(body).error.code == code
    except ValueError:
        return False


def _name(user: _User) -> str:
    # Names repeat among domains and over time; ids never do. The name is for whoever reads logs.
    shown = "".join(letter if letter.isprintable() else "?" for letter in user.name[:_SHOWN_NAME_LENGTH])
    return f"{shown} ({user.id})"
