"""The command as a whole: help, and how errors are told."""

from __future__ import annotations

import errno
import sqlite3
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

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
    """A command starts without the modules of the others; the list of all commands reads none of them."""
    read: list[str] = []

    def note(name: str) -> ModuleType:
        read.append(name)
        return import_module(name)

    monkeypatch.setattr("cli.command_group.import_module", note)
    prestager("config", "show")

    assert ["cli.config_commands"] == read
    read.clear()
    prestager("no-such-command")
    prestager("--help")
    assert [] == read


def test_unusable_data_directory(prestager, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data directory that cannot be made is told in one sentence with what to do, without a traceback."""
    monkeypatch.setenv("PRESTAGER_DATA_DIR", "/proc/nowhere")

    ended = prestager("token", "list")

    assert 1 == ended.code
    assert "The data directory /proc/nowhere cannot be used" in ended.err
    assert "PRESTAGER_DATA_DIR" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    "name", ["a?b", "job%2F1", "%", "a#b", "a b+c&d=e", "user:x@host", "ä\u2603", "a\nb", "'\"$`", "file:x?mode=ro"]
)
def test_data_directory_with_any_character(
    prestager, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """The database is in the data directory, whatever characters its name has; directories never share one."""
    directory = tmp_path / name
    monkeypatch.setenv("PRESTAGER_DATA_DIR", str(directory))

    ended = prestager("token", "create", "alice", "--role", "admin")

    assert 0 == ended.code, ended.err
    assert [directory] == list(tmp_path.iterdir())
    assert (directory / "prestager.db").is_file()
    assert "alice" in prestager("token", "list").out


def test_relative_data_directory(prestager, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A data directory without a leading slash is below the directory of the command."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRESTAGER_DATA_DIR", "a?b")

    assert 0 == prestager("db", "upgrade").code
    assert (tmp_path / "a?b" / "prestager.db").is_file()


def test_data_directory_that_is_no_text(prestager, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A data directory whose name is not UTF-8, or holds a NUL, is refused in one sentence."""
    monkeypatch.setenv("PRESTAGER_DATA_DIR", f"{tmp_path}/\udcff")
    refused = prestager("db", "upgrade")
    monkeypatch.delenv("PRESTAGER_DATA_DIR")
    file = tmp_path / "prestager.toml"
    file.write_text('data_dir = "/x/a\\u0000b"\n')
    monkeypatch.setenv("PRESTAGER_CONFIG", str(file))
    also_refused = prestager("db", "upgrade")

    for ended in (refused, also_refused):
        assert 1 == ended.code
        assert "PRESTAGER_DATA_DIR" in ended.err
        assert "must be text in UTF-8 without NUL" in ended.err


def test_database_that_is_none(prestager, data_dir: Path) -> None:
    """A file that is no database is told in one sentence."""
    data_dir.mkdir()
    (data_dir / "prestager.db").write_bytes(b"not a database" * 100)

    ended = prestager("token", "list")

    assert 1 == ended.code
    assert (
        "Error: The database is damaged, or the file is no database. Put prestager.db in PRESTAGER_DATA_DIR back from a"
        " backup, or set PRESTAGER_DATA_DIR to another directory.\n"
    ) == ended.err


@pytest.mark.parametrize(("revision", "remedy"), [("0001", "prestager db upgrade"), ("9999", "prestager db downgrade")])
def test_schema_of_another_version(prestager, database, data_dir: Path, revision: str, remedy: str) -> None:
    """A command does not change the schema of a database that another version made, and says what does."""
    connection = sqlite3.connect(data_dir / "prestager.db")
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    connection.close()

    ended = prestager("token", "list")

    assert 1 == ended.code
    assert f"at revision {revision}" in ended.err
    assert remedy in ended.err
    assert remedy in prestager("db", "current").err
    assert remedy in prestager("doctor").out


def test_upgrade_of_a_newer_schema(prestager, database, data_dir: Path) -> None:
    """A schema that a newer program made is not upgraded, and the command says which program to start."""
    connection = sqlite3.connect(data_dir / "prestager.db")
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()

    ended = prestager("db", "upgrade")

    assert (1, True) == (ended.code, "a newer one has upgraded it. Start that one" in ended.err)


def test_unknown_driver(prestager, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database whose driver is missing is told by the package's name."""
    monkeypatch.setenv("PRESTAGER_DATABASE_URL", "postgresql+pg8000://user:hunter2@localhost/prestager")

    ended = prestager("db", "current")

    assert 1 == ended.code
    assert "needs the Python package pg8000" in ended.err
    assert "hunter2" not in ended.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("subcloud", "improt"), "There is no command 'improt'; did you mean 'prestager subcloud import'?"),
        (("workrs",), "There is no command 'workrs'; did you mean 'prestager workers'?"),
        (("import",), "There is no command 'import'; did you mean 'prestager subcloud import'?"),
        (("strategi",), "There is no command 'strategi'; did you mean 'prestager strategy'?"),
        (("prestage-strategi",), "There is no command 'prestage-strategi': the command is `prestager strategy`"),
        (
            ("subcloud-group",),
            "There is no command 'subcloud-group': groups and single prestages are handled over the API",
        ),
        (("qqq",), "There is no command 'qqq'. See: prestager --help"),
        (("token", "create", "--rol", "x"), "There is no option --rol; did you mean --role?"),
        (("workers", "--qqq"), "There is no option --qqq. See: prestager workers --help"),
        (("worker", "--slots", "x"), "Invalid value for '--slots': must be a whole number."),
        (("token", "create"), "Missing argument"),
        (("drain", "a", "b"), "Got unexpected extra argument"),
    ],
)
def test_wrong_arguments(prestager, arguments: tuple[str, ...], sentence: str) -> None:
    """What is wrong with arguments is one line with the nearest name and where the usage is; the exit code is 2."""
    ended = prestager(*arguments)

    assert 2 == ended.code
    assert ended.err.startswith(f"Error: {sentence}")
    assert 1 == len(ended.err.splitlines())
    assert "--help" in ended.err


def test_a_group_without_a_command(prestager) -> None:
    """A group of commands shows its help, and nothing that reads like an error."""
    ended = prestager("db")

    assert (2, False) == (ended.code, "Error" in ended.err)
    assert "upgrade" in ended.out + ended.err


def test_a_full_disk(prestager, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the operating system is told with its file and what to do."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/x/y")

    monkeypatch.setattr("service.load_settings.Settings", refuse)
    ended = prestager("config", "show")

    assert (1, "Error: /x/y cannot be used: No space left on device. Make room on its disk.\n") == (
        ended.code,
        ended.err,
    )


def test_a_bug_keeps_its_traceback(prestager, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw is not hidden behind a sentence."""
    monkeypatch.setattr("service.load_settings.Settings", lambda: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        prestager("config", "show")
