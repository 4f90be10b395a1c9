"""`prestager token`, `prestager controller` and `prestager db`."""

from __future__ import annotations

from pathlib import Path

from db.inventory import declared_upgrading
from db.tokens import Role, TokenStore


def test_token_is_printed_alone(prestager, database) -> None:
    """Standard output holds the token and nothing else, so that a shell can keep it; it works at once."""
    ended = prestager("token", "create", "ops", "--role", "operator")

    token = TokenStore(database).authenticate(ended.out.strip())
    assert token is not None
    assert ("ops", Role.OPERATOR) == (token.name, token.role)
    assert "not shown again" in ended.err


def test_first_command_makes_the_database(prestager, data_dir: Path) -> None:
    """A token may be made before the service was ever started."""
    assert 0 == prestager("token", "create", "first", "--role", "admin").code
    assert (data_dir / "prestager.db").exists()


def test_token_name_in_force(prestager, database) -> None:
    """A second token of the same name is refused with what to do."""
    prestager("token", "create", "ops", "--role", "reader")

    ended = prestager("token", "create", "ops", "--role", "admin")

    assert 1 == ended.code
    assert "revoke it first" in ended.err


def test_token_list(prestager, database) -> None:
    """The list has names, roles and times, never a token; a name is text, not markup."""
    token = prestager("token", "create", "[red]ops", "--role", "reader").out.strip()
    prestager("token", "revoke", "[red]ops")

    ended = prestager("token", "list")

    (line,) = ended.out.splitlines()[1:]
    assert line.startswith("[red]ops  reader  20")
    assert token not in ended.out


def test_no_token(prestager, database) -> None:
    """An empty list says how to make the first token."""
    assert "prestager token create NAME --role admin" in prestager("token", "list").err


def test_revoked_token(prestager, database) -> None:
    """A revoked token is no token."""
    token = prestager("token", "create", "ops", "--role", "reader").out.strip()

    assert 0 == prestager("token", "revoke", "ops").code
    assert TokenStore(database).authenticate(token) is None


def test_revoke_unknown_token(prestager, database) -> None:
    """A name that no token has is told."""
    ended = prestager("token", "revoke", "nobody")

    assert (1, "Error: No token 'nobody' is in force. List them: prestager token list\n") == (ended.code, ended.err)


def test_unknown_role(prestager) -> None:
    """A role that does not exist is a mistake in the command line."""
    assert 2 == prestager("token", "create", "ops", "--role", "root").code


def test_controller_upgrading(prestager, database) -> None:
    """What is declared holds until it is declared otherwise; looking changes nothing."""
    said = [prestager("controller", "upgrading", wish).out for wish in ("show", "on", "show", "off")]

    assert ["upgrading off\n", "upgrading on\n", "upgrading on\n", "upgrading off\n"] == said
    with database.read() as connection:
        assert not declared_upgrading(connection)


def test_db_upgrade(prestager) -> None:
    """An empty database is upgraded once; doing it again does nothing."""
    before = prestager("db", "current")
    first = prestager("db", "upgrade")
    second = prestager("db", "upgrade")
    after = prestager("db", "current")

    assert before.out.startswith("revision none, head ")
    assert "prestager db upgrade" in before.err
    assert first.out.startswith("Upgraded from revision none to ")
    assert second.out.endswith("already.\n")
    assert "" == after.err
