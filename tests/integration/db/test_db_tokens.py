from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from db.database import Database
from db.errors import TokenExistsError, TokenNameError, TokenNotFoundError
from db.schema import tokens
from db.tokens import Role, TokenStore


@pytest.fixture
def store(database: Database) -> TokenStore:
    """An empty token database."""
    return TokenStore(database)


def test_create(store: TokenStore) -> None:
    """A new token is known at once by its holder's name and role."""
    token = store.create_token("ci", Role.OPERATOR)

    known = store.authenticate(token)

    assert token.startswith("prst_")
    assert len(token) == 48
    assert known is not None
    assert (known.name, known.role, known.revoked_at) == ("ci", Role.OPERATOR, None)
    assert abs((datetime.now(UTC) - known.created_at).total_seconds()) < 60


def test_only_the_digest_is_kept(store: TokenStore, database: Database) -> None:
    """The token itself is nowhere in the database."""
    token = store.create_token("ci", Role.READER)

    with database.read() as connection:
        (row,) = connection.execute(select(tokens)).all()
    assert token not in str(row)
    assert len(row.digest) == 64


def test_revoke(store: TokenStore) -> None:
    """A revoked token is unknown at once, and is still listed."""
    token = store.create_token("ci", Role.READER)

    store.revoke("ci")

    assert store.authenticate(token) is None
    (listed,) = store.list_tokens()
    assert listed.revoked_at is not None


def test_revoke_unknown(store: TokenStore) -> None:
    """What is not in force cannot be revoked."""
    with pytest.raises(TokenNotFoundError, match="No token 'ci' is in force"):
        store.revoke("ci")

    store.create_token("ci", Role.READER)
    store.revoke("ci")
    with pytest.raises(TokenNotFoundError):
        store.revoke("ci")


def test_name_in_use(store: TokenStore) -> None:
    """A name in force cannot be given twice; that of a revoked token can, and the old token stays dead."""
    old = store.create_token("ci", Role.ADMIN)
    with pytest.raises(TokenExistsError):
        store.create_token("ci", Role.READER)

    store.revoke("ci")
    new = store.create_token("ci", Role.READER)

    known = store.authenticate(new)
    assert known is not None
    assert known.role == Role.READER
    assert store.authenticate(old) is None


@pytest.mark.parametrize("name", ["", "x" * 256, "a\nb", "\ud800"])
def test_wrong_names(store: TokenStore, name: str) -> None:
    """A name can be read and kept."""
    with pytest.raises(TokenNameError):
        store.create_token(name, Role.READER)


@pytest.mark.parametrize("token", ["", "prst_", "nonsense", "prst_\udcff"])
def test_unknown_tokens(store: TokenStore, token: str) -> None:
    """Whatever was not made here is unknown."""
    assert store.authenticate(token) is None


def test_list(store: TokenStore) -> None:
    """Tokens are listed in the order of their names."""
    for name in ("b", "a"):
        store.create_token(name, Role.READER)

    assert [token.name for token in store.list_tokens()] == ["a", "b"]
