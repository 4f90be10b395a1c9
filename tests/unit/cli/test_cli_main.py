"""The command as a whole: help, and how errors are told."""

from __future__ import annotations

import sqlite3
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from cli.main import COMMANDS as COMMANDS_BY_NAME

COMMANDS = [
    (),
    ("up",),
    ("demo",),
    ("config",),
    ("config", "check"),
    ("config", "show"),
    ("db",),
    ("db", "current"),
    ("db", "upgrade"),
    ("subcloud",),
    ("subcloud", "import"),
    ("token",),
    ("token", "create"),
    ("token", "list"),
    ("token", "revoke"),
    ("controller",),
    ("controller", "upgrading"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command) or "prestager")
def test_every_command_explains_itself(prestager, command: tuple[str, ...]) -> None:
    """--help works everywhere and shows how the command is used."""
    ended = prestager(*command, "--help")

    assert 0 == ended.code
    assert " ".join(("Usage: prestager", *command)) in ended.out


def test_only_what_is_asked_for_is_read(prestager, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command starts without the modules of the others; without a command all are read, to be listed."""
    read: list[str] = []

    def note(name: str) -> ModuleType:
        read.append(name)
        return import_module(name)

    monkeypatch.setattr("cli.main.import_module", note)
    prestager("config", "show")

    assert ["cli.config_commands"] == read
    read.clear()
    prestager("no-such-command")
    assert len(COMMANDS_BY_NAME) == len(read)


def test_unusable_data_directory(prestager, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data directory that cannot be made is told in one sentence with what to do, without a traceback."""
    monkeypatch.setenv("PRESTAGER_DATA_DIR", "/proc/nowhere")

    ended = prestager("token", "list")

    assert 1 == ended.code
    assert "The data directory /proc/nowhere cannot be used" in ended.err
    assert "PRESTAGER_DATA_DIR" in ended.err
    assert "Traceback" not in ended.err


def test_database_that_is_none(prestager, data_dir: Path) -> None:
    """A file that is no database is told in one sentence."""
    data_dir.mkdir()
    (data_dir / "prestager.db").write_bytes(b"not a database" * 100)

    ended = prestager("token", "list")

    assert 1 == ended.code
    assert "Error: The database cannot be used: file is not a database." in ended.err


def test_schema_of_another_version(prestager, database, data_dir: Path) -> None:
    """A command does not change the schema of a database that another version made."""
    connection = sqlite3.connect(data_dir / "prestager.db")
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
    connection.close()

    ended = prestager("token", "list")

    assert 1 == ended.code
    assert "at revision 0000" in ended.err
    assert "prestager db upgrade" in ended.err


def test_unknown_driver(prestager, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database whose driver is missing is told by the package's name."""
    monkeypatch.setenv("PRESTAGER_DATABASE_URL", "postgresql+pg8000://user:hunter2@localhost/prestager")

    ended = prestager("db", "current")

    assert 1 == ended.code
    assert "needs the Python package pg8000" in ended.err
    assert "hunter2" not in ended.err
