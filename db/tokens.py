"""Access tokens, made once, shown once, kept as SHA-256, revoked at once; and codes of login links.

Used by the API to know its callers and by the operator's commands to make and revoke tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from secrets import token_urlsafe
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from db.database import Database
from db.errors import TokenExistsError, TokenNameError, TokenNotFoundError
from db.schema import login_codes, tokens
from messages.limits import TEXT_LENGTH

# Makes a leaked token easy to recognise for people and for scanners.
PREFIX: Final = "prst_"
_RANDOM_BYTES: Final = 32
# Built once, for each request sends it.
_IN_FORCE: Final = select(tokens).where(
    tokens.c.digest == bindparam("of_token", type_=tokens.c.digest.type), tokens.c.revoked_at.is_(None)
)


class Role(StrEnum):
    """Rights of the holder of a token (contract 2.2)."""

    # Everything.
    ADMIN = "admin"
    # Everything.
    CONFIGURATOR = "configurator"
    # Reads, manages and unmanages subclouds.
    OPERATOR = "operator"
    # Reads.
    READER = "reader"


@dataclass(frozen=True, kw_only=True)
class Token:
    """Facts about a token, without the token."""

    name: str
    role: Role
    created_at: datetime
    # None: in force.
    revoked_at: datetime | None


class TokenStore:
    """The tokens of one installation."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create_token(self, name: str, role: Role) -> str:
        """Make a token and return it; it cannot be read again. The name of a revoked token may be given again.

        Raises:
            TokenNameError: The name is empty, too long, or has unprintable characters.
            TokenExistsError: A token of this name is in force.
        """
        if not 0 < len(name) <= TEXT_LENGTH or not name.isprintable():
            raise TokenNameError
        token = PREFIX + token_urlsafe(_RANDOM_BYTES)
        with self._database.write() as connection:
            _keep(connection, name, {"digest": token_digest(token), "role": str(role)})
        return token

    def revoke(self, name: str) -> None:
        """End a token; the very next request that carries it is refused.

        Raises:
            TokenNotFoundError: No token of this name is in force.
        """
        statement = update(tokens).where(tokens.c.name == name, tokens.c.revoked_at.is_(None))
        with self._database.write() as connection:
            if not connection.execute(statement.values(revoked_at=datetime.now(UTC))).rowcount:
                raise TokenNotFoundError(name)

    def list_tokens(self) -> list[Token]:
        """Return all tokens, revoked ones too, in the order of names."""
        with self._database.read() as connection:
            return [_token(row) for row in connection.execute(select(tokens).order_by(tokens.c.name)).mappings()]

    def authenticate(self, token: str) -> Token | None:
        """Return what is known of a token in force: one indexed read, nothing is cached."""
        # A header may hold bytes that are no text; no token of ours does.
        if not token.startswith(PREFIX) or not token.isascii():
            return None
        return self.find(token_digest(token))

    def find(self, digest: str) -> Token | None:
        """Return what is known of a token in force, by its digest; a token that took its name is another one."""
        with self._database.read() as connection:
            row = connection.execute(_IN_FORCE, {"of_token": digest}).mappings().first()
        return None if row is None else _token(row)


# For how long a code of a login link works, in seconds.
CODE_S: Final = 600


class LoginCodes:
    """Codes of login links: each works once, for some minutes, and is kept as its SHA-256."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def make(self, seal: Callable[[str], str]) -> tuple[str, datetime]:
        """Return a new code and when it ends; `seal` makes from its digest the text that `take` returns."""
        code, now = token_urlsafe(_RANDOM_BYTES), datetime.now(UTC)
        until = now + timedelta(seconds=CODE_S)
        digest = token_digest(code)
        with self._database.write() as connection:
            connection.execute(delete(login_codes).where(login_codes.c.expires_at <= now))
            connection.execute(insert(login_codes).values(digest=digest, identity=seal(digest), expires_at=until))
        return code, until

    def take(self, digest: str) -> str | None:
        """Return the text of a code, which then works no more; None: there is no such code in force."""
        statement = delete(login_codes).where(login_codes.c.digest == digest)
        with self._database.write() as connection:
            row = connection.execute(statement.returning(login_codes.c.identity, login_codes.c.expires_at)).first()
        return row.identity if row is not None and row.expires_at > datetime.now(UTC) else None


def _keep(connection: Connection, name: str, values: Mapping[str, str]) -> None:
    known = connection.execute(select(tokens.c.revoked_at).where(tokens.c.name == name)).first()
    fresh = {**values, "created_at": datetime.now(UTC), "revoked_at": None}
    if known is None:
        connection.execute(insert(tokens).values(name=name, **fresh))
        return
    if known.revoked_at is None:
        raise TokenExistsError(name)
    connection.execute(update(tokens).where(tokens.c.name == name).values(**fresh))


def token_digest(token: str) -> str:
    """Return the SHA-256 of a token, in hexadecimal digits."""
    # A fast digest is enough: the token is 256 random bits, not a password.
    return sha256(token.encode()).hexdigest()


def _token(row: Mapping[Any, Any]) -> Token:
    return Token(name=row["name"], role=Role(row["role"]), created_at=row["created_at"], revoked_at=row["revoked_at"])
