"""Every command where what it needs is broken: one short paragraph with the remedy, and nothing of libraries."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from cli.command_table import application
from service import dramatiq_process

# What each command is given beside its name; FILE is a file that is there.
ARGUMENTS: Final[dict[str, tuple[str, ...]]] = {
    "up": (),
    "api": (),
    "coordinator": (),
    "worker": (),
    "doctor": (),
    "seal": ("--source", "urn:x", "--id", "1", "--user", "u"),
    "drain": ("w",),
    "undrain": ("w",),
    "workers": (),
    "queues": (),
    "config check": (),
    "config show": (),
    "config import-dcmanager": ("FILE",),
    "subcloud import": ("FILE",),
    "subcloud show": ("x",),
    "subcloud set-host-key": ("x", "FILE"),
    "subcloud forget-host-key": ("x",),
    "token create": ("a", "--role", "admin"),
    "token list": (),
    "token revoke": ("a",),
    "controller upgrading": ("on",),
    "key list": (),
    "key add": (),
    "key promote": ("abc",),
    "key rotate": (),
    "key remove": ("abc",),
    "db current": (),
    "db upgrade": (),
    "db head": (),
    "db downgrade": ("0001",),
    "db restored": (),
    "dead-letters list": (),
    "dead-letters show": ("commands", "x"),
    "dead-letters replay": ("commands", "x"),
    "dead-letters purge": ("commands", "--yes"),
}
# They bring all that they need.
ON_THEIR_OWN: Final = {"completion", "demo", "fleet"}
# Commands, and groups of them, that need an API and nothing of the installation.
OVER_HTTP: Final = (
    "strategy ",
    "step ",
    "subcloud labels",
    "subcloud list",
    "subcloud prestage",
    "subcloud prestages",
    "subcloud set ",
    "subcloud unstage",
    "subcloud forget-staged",
    "webhook ",
    "group ",
    "whoami",
    "login-link",
    "status",
    "events",
    "audit",
    "releases",
    "version",
)
SERVICES: Final = {"up", "api", "coordinator", "worker"}

# Name → settings; {tmp} is a directory of the test's own.
BROKEN: Final[dict[str, dict[str, str]]] = {
    "broker": {"BROKER_URL": "amqp://u:hunter2@127.0.0.1:9/"},
    "database": {"DATABASE_URL": "postgresql+psycopg://u:hunter2@127.0.0.1:9/prestager"},
    "key": {"SECRET_KEY_FILE": "{tmp}/none.key"},
    "key-content": {"SECRET_KEY_FILE": "{tmp}/hunter2.key"},
    "data-dir": {"DATA_DIR": "/proc/nowhere"},
    "database-file": {"DATA_DIR": "{tmp}/none"},
    "toml": {"CONFIG": "{tmp}/prestager.toml"},
    "value": {"SLOTS": "hunter2"},
    "url": {"BROKER_URL": "amqp://u:hunter2@h:port/"},
}
# Words of libraries and of the language.
FOREIGN: Final = (
    "Traceback",
    "psycopg",
    "sqlalchemy",
    "pydantic",
    "pika",
    "Errno",
    "Exception",
    "SQLITE",
    "[SSL",
    "hunter2 ",
)


def leaves(command: Any, path: str = "") -> Iterator[str]:
    """Yield the names of all commands below a group."""
    for name, one in command.commands.items():
        if hasattr(one, "commands"):
            yield from leaves(one, f"{path}{name} ")
        else:
            yield f"{path}{name}"


@pytest.fixture(scope="module")
def all_commands() -> set[str]:
    """The names of all commands that need something of the installation."""
    return {name for name in leaves(application()) if not f"{name} ".startswith(OVER_HTTP)}


def test_every_command_is_tried(all_commands: set[str]) -> None:
    """A new command comes into the table of this file."""
    assert all_commands - ON_THEIR_OWN == set(ARGUMENTS)


@pytest.fixture(autouse=True)
def same_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the priority of the test runner, in which a worker is begun here."""
    monkeypatch.setenv("PRESTAGER_WORKER_NICE", "0")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with all that is broken."""
    (tmp_path / "hunter2.key").write_text("hunter2\n")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "prestager.db").write_bytes(b"not a database" * 100)
    (tmp_path / "prestager.toml").write_text('release = "23.09"\nslots = hunter2\n')
    (tmp_path / "file").write_text("all:\n  hosts:\n    a:\n")
    return tmp_path


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_said(
    prestager, place: Path, broken: str, monkeypatch: pytest.MonkeyPatch, all_commands: set[str]
) -> None:
    """Whatever a command needs and finds broken, it ends with a sentence, and its exit code says that it failed."""
    for name, value in BROKEN[broken].items():
        monkeypatch.setenv(f"PRESTAGER_{name}", value.format(tmp=place))
    # The log of a service stays as the test runner has it.
    monkeypatch.setattr("service.process.configure_logs", lambda *_: None)
    for command in sorted(all_commands & set(ARGUMENTS)):
        if broken == "broker" and command in SERVICES:
            # They wait for it, and log that.
            continue
        monkeypatch.setattr("sys.stdin", io.StringIO("x\n"))
        arguments = [str(place / "file") if one == "FILE" else one for one in ARGUMENTS[command]]

        ended = prestager(*command.split(), *arguments)

        said = f"{command}: {ended}"
        lines = [line for line in ended.err.splitlines() if not line.startswith("Warning: ")]
        assert [] == [word for word in FOREIGN if word in ended.err], said
        assert "u:hunter2@" not in ended.out + ended.err, said
        assert len(lines) <= 4, said
        if ended.code and command != "doctor":
            assert lines[-1].startswith("Error: "), said
            assert ended.code == 1, said


@pytest.mark.parametrize(
    ("broken", "command", "sentence"),
    [
        ("broker", "queues", "nothing listens at this port. Start RabbitMQ, or correct host and port"),
        ("database", "token list", "nothing listens at this port. Start PostgreSQL, or correct host and port"),
        ("key", "key list", "a new installation makes one with: (umask 077; openssl rand -base64 32 > "),
        ("key", "up", "a new installation makes one with: (umask 077; openssl rand -base64 32 > "),
        ("key-content", "key list", "must hold 32 bytes in base64; make one with: openssl rand -base64 32"),
        ("data-dir", "up", "Set PRESTAGER_DATA_DIR to a directory that this user can write."),
        ("data-dir", "worker", "Set PRESTAGER_DATA_DIR to a directory that this user can write."),
        ("database-file", "db upgrade", "the file is no database. Put prestager.db in PRESTAGER_DATA_DIR back"),
        ("toml", "workers", 'see line 2, column 9; write a text in quotes: name = "value"'),
        ("value", "config show", "PRESTAGER_SLOTS must be a whole number."),
        ("url", "drain", "PRESTAGER_BROKER_URL is not a broker URL such as amqp://user:password@host:5672/"),
    ],
)
def test_the_remedy(
    prestager, place: Path, broken: str, command: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence names what is wrong and what to do."""
    for name, value in BROKEN[broken].items():
        monkeypatch.setenv(f"PRESTAGER_{name}", value.format(tmp=place))
    if command == "worker":
        monkeypatch.setenv("PRESTAGER_BROKER_URL", "amqp://127.0.0.1:9/")
    monkeypatch.setattr("service.process.configure_logs", lambda *_: None)

    ended = prestager(*command.split(), *ARGUMENTS[command])

    assert (1, True) == (ended.code, sentence in ended.err), ended.err


def test_doctor_goes_on(prestager, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is away is one failing line among all others."""
    monkeypatch.setenv("PRESTAGER_DATABASE_URL", BROKEN["database"]["DATABASE_URL"])

    ended = prestager("doctor")

    found = " ".join(ended.out.split())
    assert (1, "") == (ended.code, ended.err)
    assert "fail database takes no connection: nothing listens at this port. Start PostgreSQL" in found
    assert "slots" in found


def test_a_data_directory_that_is_read_only(prestager, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that cannot be made is told with what to do."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)

    ended = prestager("token", "list")

    assert ended.code == 1
    assert f"The data directory {data_dir} cannot be used: Permission denied. Set PRESTAGER_DATA_DIR" in ended.err


@pytest.mark.parametrize("broken", ["database", "key", "data-dir", "toml", "url"])
def test_dramatiqs_own_command_line(data_dir: Path, place: Path, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under Dramatiq's command line a start that fails ends with the same sentence as under ours."""
    monkeypatch.setenv("PRESTAGER_BROKER_URL", "amqp://127.0.0.1:9/")
    for name, value in BROKEN[broken].items():
        monkeypatch.setenv(f"PRESTAGER_{name}", value.format(tmp=place))
    monkeypatch.setattr(dramatiq_process, "configure_logs", lambda *_: None)
    monkeypatch.setattr(dramatiq_process, "forbid_memory_dumps", lambda: None)

    with pytest.raises(SystemExit) as ended:
        dramatiq_process.set_up()

    said = str(ended.value.code)
    assert said.splitlines()[-1].startswith("Error: ")
    assert [] == [word for word in FOREIGN if word in said]
    assert ended.value.__suppress_context__


def test_the_nearest_group(prestager, data_dir: Path) -> None:
    """A group, and a subcloud, that does not exist is named with the nearest that does."""
    prestager("db", "upgrade")

    ended = prestager("subcloud", "forget-host-key", "--group", "Defalt")

    assert (1, "") == (ended.code, ended.out)
    assert "There is no group 'Defalt'; did you mean Default?" in ended.err


def test_arguments_that_are_no_text(prestager, data_dir: Path) -> None:
    """An argument whose bytes are not UTF-8 is refused in one sentence by every command that takes a name."""
    names = {"x", "a", "w"}
    prestager("db", "upgrade")
    for command in (name for name, given in ARGUMENTS.items() if names.intersection(given)):
        arguments = ["x\udcff" if given in names else given for given in ARGUMENTS[command]]

        ended = prestager(*command.split(), *(str(data_dir) if given == "FILE" else given for given in arguments))

        said = f"{command}: {ended}"
        assert ended.code in {1, 2}, said
        assert ended.err.splitlines()[-1].startswith("Error: "), said
        assert [] == [word for word in FOREIGN if word in ended.err], said


def test_output_that_cannot_be_encoded(data_dir: Path) -> None:
    """What the terminal's encoding lacks is shown as an escape."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    program = Path(sys.executable).with_name("prestager")

    def run(*arguments: str) -> str:
        return subprocess.run([program, *arguments], env=environment, capture_output=True, check=True, text=True).stdout

    run("db", "upgrade")
    run("token", "create", "d\u00e9p\u00f4t", "--role", "reader")

    assert "d\\xe9p\\xf4t" in run("token", "list")
