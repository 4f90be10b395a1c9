"""Commands of the controller on a machine that has a context of an API and no installation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.command_group import CONTROLLER_ALONE, CommandPlace, GroupPlace, Where
from cli.command_table import COMMANDS
from cli.installation import has_installation
from tests.unit.cli.test_cli_first_errors import ARGUMENTS

URL = "https://north.example:8119"


def named_places() -> Iterator[tuple[str, CommandPlace]]:
    """Yield the name and the place of each command."""
    for name, place in COMMANDS.items():
        if isinstance(place, GroupPlace):
            yield from ((f"{name} {one}", command) for one, command in place.commands.items())
        else:
            yield name, place


CONTROLLER = {name: place.why for name, place in named_places() if place.where is Where.CONTROLLER}


@pytest.fixture
def far_machine(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose operator has a context, and no setting of an installation; return where its data would be."""
    monkeypatch.delenv("PRESTAGER_DATA_DIR")
    monkeypatch.delenv("PRESTAGER_RELEASE")
    place = tmp_path / "var"
    monkeypatch.setattr("cli.installation.Settings.model_fields", {"data_dir": _Default(place)})
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "prestager" / "client.toml"
    file.parent.mkdir()
    file.write_text(f'[contexts.north]\nurl = "{URL}"\ntoken = "prst_secret"\n')
    file.chmod(0o600)
    (tmp_path / "file").touch()
    return place


class _Default:
    def __init__(self, value: Path) -> None:
        self._value = value

    def get_default(self) -> Path:
        """Return where data would be."""
        return self._value


@pytest.mark.parametrize("command", CONTROLLER)
def test_it_says_why_and_where(prestager: Any, far_machine: Path, tmp_path: Path, command: str) -> None:
    """A command of the controller is refused with the reason and the controller's address, and makes nothing here."""
    arguments = [str(tmp_path / "file") if word == "FILE" else word for word in ARGUMENTS[command]]

    ended = prestager(*command.split(), *arguments)

    assert (1, "") == (ended.code, ended.out)
    assert f"This command works on the controller alone: {CONTROLLER[command]}." in ended.err
    assert f"run it on the controller, whose API is {URL}." in ended.err
    assert "prst_secret" not in ended.err
    assert not far_machine.exists()


@pytest.mark.parametrize("name", ["PRESTAGER_DATA_DIR", "PRESTAGER_DATABASE_URL_FILE", "PRESTAGER_SECRET_KEY"])
def test_a_setting_means_this_machine(far_machine: Path, name: str) -> None:
    """A setting that names a part of an installation says that it is here, whatever contexts there are."""
    assert not has_installation({})
    assert has_installation({name: "x"})


def test_an_installation_is_worked_on(
    prestager: Any, far_machine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A command of the controller is carried out where a setting names an installation."""
    monkeypatch.setenv("PRESTAGER_DATA_DIR", str(tmp_path / "data"))

    assert 0 == prestager("token", "list").code


def test_a_database_at_the_usual_place(prestager: Any, far_machine: Path) -> None:
    """A database at the usual place is an installation, though no setting names it."""
    far_machine.mkdir()
    (far_machine / "prestager.db").touch()

    assert has_installation({})


def test_an_installer_asks_the_program(prestager: Any, far_machine: Path) -> None:
    """The newest revision that the program knows is told before there is an installation."""
    assert 0 == prestager("db", "head").code


def test_every_module_says_where() -> None:
    """Each module of commands beside the client is known to be of the controller, of both, or of its own machine."""
    modules = {place.where: set[str]() for _, place in named_places()}
    for _, place in named_places():
        modules[place.where].add(place.place.partition(":")[0])

    assert set(CONTROLLER_ALONE) == modules[Where.CONTROLLER]
    assert {"cli.worker_commands", "cli.reading_commands", "cli.queues_command"} == modules[Where.EITHER]
    assert {
        *("cli.up_command", "cli.demo.command", "cli.simulate_command"),
        *("cli.doctor.command", "cli.completion", "cli.config_commands", "cli.db_commands"),
    } == modules[Where.OWN_MACHINE]
