"""`prestager subcloud import` reads the same fleet wherever, by whomever and with whatever settings it is called."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import select

from db.database import Database
from db.schema import subcloud_groups, subclouds
from tests.support.waiting import PATIENCE_S

_INVENTORY = """\
all:
  vars: {ansible_user: ops, prestager_software_version: "22.12"}
  children:
    north:
      vars: {prestager_group: north, ansible_port: 2222}
      hosts: {"n[1:2]": {}}
"""
# Everything in it changes what Ansible reads or prints.
_CONFIGURATION = """\
[defaults]
verbosity = 3
force_color = true
hash_behaviour = merge
display_skipped_hosts = true
log_path = {directory}/ansible.log
vars_plugins = {directory}/plugins
vault_password_file = {directory}/absent
inventory_ignore_patterns = hosts
[inventory]
export = true
enable_plugins = host_list
ignore_extensions = .yml
"""
_PLUGIN = """\
from ansible.plugins.vars import BaseVarsPlugin


class VarsModule(BaseVarsPlugin):
    REQUIRES_ENABLED = False

    def get_vars(self, loader, path, entities):
        print("loaded")
        return {"ansible_user": "stranger"}
"""


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """An inventory whose sites get everything from groups, one variable of them from a file beside it."""
    directory = tmp_path / "inventory"
    (directory / "group_vars").mkdir(parents=True)
    (directory / "group_vars" / "north.yml").write_text("site_version_file: /etc/version\n")
    file = directory / "hosts.yml"
    file.write_text(_INVENTORY)
    return file


def _is_whole(database: Database) -> bool:
    """Return whether the fleet is the one of the inventory."""
    query = select(
        subclouds.c.name, subclouds.c.software_version, subcloud_groups.c.name.label("group"), subclouds.c.connection
    ).join(subcloud_groups)
    with database.read() as connection:
        found = [tuple(row) for row in connection.execute(query.order_by(subclouds.c.name))]
    variables = {"ansible_user": "ops", "ansible_port": 2222, "site_version_file": "/etc/version"}
    return found == [(name, "22.12", "north", variables) for name in ("n1", "n2")]


def _configuration(directory: Path) -> str:
    (directory / "plugins").mkdir()
    (directory / "plugins" / "stranger.py").write_text(_PLUGIN)
    return _CONFIGURATION.format(directory=directory)


def _beside(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / "ansible.cfg").write_text(_configuration(directory))
    monkeypatch.chdir(directory)


def _at_home(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / ".ansible.cfg").write_text(_configuration(directory))
    (directory / ".ansible" / "plugins" / "vars").mkdir(parents=True)
    (directory / ".ansible" / "plugins" / "vars" / "stranger.py").write_text(_PLUGIN)
    monkeypatch.setenv("HOME", str(directory))


def _by_name(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / "mine.cfg").write_text(_configuration(directory))
    monkeypatch.setenv("ANSIBLE_CONFIG", str(directory / "mine.cfg"))


def _broken(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / "ansible.cfg").write_text("[defaults\nverbosity = many\n")
    monkeypatch.chdir(directory)


def test_variables_in_the_current_directory_count(
    prestager, database, inventory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with ansible-inventory, `group_vars` of the directory that the command is called in count too, and win."""
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "north.yml").write_text("site_version_file: /etc/here\n")
    monkeypatch.chdir(tmp_path)

    assert 0 == prestager("subcloud", "import", str(inventory)).code
    with database.read() as connection:
        found = [row.connection["site_version_file"] for row in connection.execute(select(subclouds.c.connection))]
    assert ["/etc/here", "/etc/here"] == found


@pytest.mark.parametrize("place", [_beside, _at_home, _by_name, _broken])
def test_configuration_files(
    prestager,
    database,
    inventory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: Callable[[Path, pytest.MonkeyPatch], Any],
) -> None:
    """No configuration file of Ansible changes the fleet: beside the caller, at home, or named by a variable."""
    own = tmp_path / "own"
    own.mkdir()
    place(own, monkeypatch)

    ended = prestager("subcloud", "import", str(inventory))

    assert (0, "") == (ended.code, ended.err)
    assert _is_whole(database)
    assert not (own / "ansible.log").exists()


_ANSIBLE = {
    "ANSIBLE_INVENTORY_EXPORT": "true",
    "ANSIBLE_VERBOSITY": "4",
    "ANSIBLE_DEBUG": "true",
    "ANSIBLE_FORCE_COLOR": "true",
    "ANSIBLE_INVENTORY_ENABLED": "host_list",
    "ANSIBLE_INVENTORY_IGNORE": ".yml",
    "ANSIBLE_YAML_FILENAME_EXT": ".nothing",
    "ANSIBLE_VARS_ENABLED": "no.such.plugin",
    "ANSIBLE_RUN_VARS_PLUGINS": "start",
    "ANSIBLE_PRECEDENCE": "all_inventory",
    "ANSIBLE_HASH_BEHAVIOUR": "merge",
    "ANSIBLE_PLAYBOOK_DIR": "/nowhere",
    "ANSIBLE_VAULT_PASSWORD_FILE": "/nowhere/password",
    "ANSIBLE_ASK_VAULT_PASS": "true",
    "ANSIBLE_CONFIG": "/nowhere/ansible.cfg",
    "ANSIBLE_HOME": "/proc/nowhere",
    "ANSIBLE_LOCAL_TEMP": "/proc/nowhere",
    "ANSIBLE_NOT_A_SETTING": "\udcff",
}
_OTHERS = {
    "PYTHONIOENCODING": "ascii",
    "PYTHONWARNINGS": "error",
    "PYTHONVERBOSE": "1",
    "PYTHONPATH": "/nowhere",
    "HOME": "/nowhere",
    "PATH": "/nowhere",
    "COLUMNS": "10",
    "TERM": "dumb",
}


@pytest.mark.parametrize(
    "variables",
    [
        _ANSIBLE,
        {"ANSIBLE_INVENTORY_EXPORT": "true"},
        {"ANSIBLE_VERBOSITY": "1"},
        _OTHERS,
        {"LC_ALL": "C"},
        {"LC_ALL": "de_DE.ISO-8859-1"},
        {"LC_ALL": "no_SUCH.locale", "LANG": "tr_TR.UTF-8"},
    ],
)
def test_variables_of_the_environment(
    prestager, database, inventory: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    """No variable of the caller's environment changes the fleet or what is said."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    ended = prestager("subcloud", "import", str(inventory))

    assert (0, "2 subclouds added, 0 updated, 0 unchanged; 1 groups added.\n", "") == (ended.code, ended.out, ended.err)
    assert _is_whole(database)


def test_empty_environment(prestager, database, inventory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fleet is read without any variable of the environment but our own."""
    for name in set(os.environ) - {"PRESTAGER_DATA_DIR", "PRESTAGER_RELEASE"}:
        monkeypatch.delenv(name)

    assert 0 == prestager("subcloud", "import", str(inventory)).code
    assert _is_whole(database)


def test_letters_of_every_script(prestager, database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of hosts and values keep their letters in every locale."""
    file = tmp_path / "flöte.yml"
    file.write_text("all: {hosts: {zürich: {prestager_location: 東京}}}\n", encoding="utf-8")
    monkeypatch.setenv("LC_ALL", "C")

    assert 0 == prestager("subcloud", "import", str(file)).code
    with database.read() as connection:
        assert [("zürich", "東京")] == [
            tuple(row) for row in connection.execute(select(subclouds.c.name, subclouds.c.location))
        ]


@pytest.mark.parametrize("name", ["a,b", "a b", "a{{ 1 }}", "a%s", "a:b", "~", "-i", "*", "a\nb", "ü"])
def test_place_of_the_inventory(prestager, database, inventory: Path, name: str) -> None:
    """The directory of an inventory may have any character in its name."""
    moved = inventory.parent.rename(inventory.parent.with_name(name))

    ended = prestager("subcloud", "import", str(moved / "hosts.yml"))

    assert (0, "") == (ended.code, ended.err)
    assert _is_whole(database)


@pytest.mark.parametrize("break_of_line", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("hosts.yml", "all:\n  hosts:\n    a: {prestager_location: roof}\n    b:\n"),
        ("hosts.json", '{"all": {"hosts": {"a": {"prestager_location": "roof"},\n"b": {}}}}'),
        ("hosts.txt", "a\nb\n"),
    ],
)
def test_byte_order_mark(prestager, database, tmp_path: Path, name: str, content: str, break_of_line: str) -> None:
    """YAML, JSON and plain lists may begin with a byte order mark, with either break of line."""
    file = tmp_path / name
    file.write_bytes(b"\xef\xbb\xbf" + content.replace("\n", break_of_line).encode())

    assert 0 == prestager("subcloud", "import", str(file)).code
    with database.read() as connection:
        assert ["a", "b"] == list(connection.execute(select(subclouds.c.name).order_by(subclouds.c.name)).scalars())


@pytest.mark.parametrize("name", ["hosts", "hosts.ini"])
@pytest.mark.parametrize("content", ["[north]\na x=1\n", "a x=1\nb\n"])
def test_byte_order_mark_of_an_ini_inventory(prestager, database, tmp_path: Path, name: str, content: str) -> None:
    """An INI inventory with a byte order mark is refused by its name: Ansible takes the mark for a part of a name."""
    file = tmp_path / name
    file.write_bytes(b"\xef\xbb\xbf" + content.encode())

    ended = prestager("subcloud", "import", str(file))

    assert 1 == ended.code
    assert f"{file} begins with a byte order mark; save it as UTF-8 without one." in ended.err


def test_removed_working_directory(
    prestager, database, inventory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An inventory is read though the directory of the caller was removed."""
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.chdir(own)
    own.rmdir()

    assert 0 == prestager("subcloud", "import", str(inventory)).code
    assert _is_whole(database)


def test_pipe(prestager, database, inventory: Path, tmp_path: Path) -> None:
    """A list of names may come by a pipe; an inventory is refused with what to do, for Ansible reads it again."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def read(text: str) -> str:
        writer = Thread(target=pipe.write_text, args=(text,), daemon=True)
        writer.start()
        told = prestager("subcloud", "import", "--dry-run", str(pipe))
        writer.join(PATIENCE_S)
        return told.out + told.err

    assert read("edge-1 10.0.0.1\n").startswith("Would be: 1 subclouds added")
    assert f"Error: {pipe} is not a regular file; save the inventory to one, such as fleet.yml.\n" == read(_INVENTORY)
