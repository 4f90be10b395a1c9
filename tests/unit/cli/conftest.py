"""Runs commands in this process, on a data directory of the test's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.main import main
from db.database import Database
from tests.support.loaded_inventory import LoadedInventory
from tests.support.migrated_database import place_migrated

Prestager = Callable[..., "Ended"]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data directory that the settings name; no other setting comes from outside."""
    for name in list(os.environ):
        if name.startswith("PRESTAGER_"):
            monkeypatch.delenv(name)
    directory = tmp_path / "data"
    monkeypatch.setenv("PRESTAGER_DATA_DIR", str(directory))
    monkeypatch.setenv("PRESTAGER_RELEASE", "23.09")
    return directory


@pytest.fixture
def prestager(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """Run `prestager` with arguments as the shell would."""

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["prestager", *arguments])
        # It would hold for the whole process of the tests, which may not be able to take it back.
        monkeypatch.setattr("cli.main.forbid_memory_dumps", lambda: None)
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Ended(code=int(ended.value.code or 0), out=captured.out, err=captured.err)

    return run


@pytest.fixture
def database(data_dir: Path) -> Iterator[Database]:
    """The database that the commands use, with its schema."""
    database = Database(place_migrated(data_dir / "prestager.db"))
    yield database
    database.close()


@pytest.fixture(scope="session")
def loaded_inventory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedInventory]:
    """What reads inventories in the place of a new process of Ansible."""
    loaded = LoadedInventory(tmp_path_factory.mktemp("loaded"))
    yield loaded
    loaded.close()


@pytest.fixture(autouse=True)
def _ansible_is_loaded_once(
    request: pytest.FixtureRequest, loaded_inventory: LoadedInventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # There it is about how the program is started.
    if request.path.stem != "test_cli_import_surroundings":
        monkeypatch.setattr("cli.inventory_import.inventory_file.subprocess", loaded_inventory)


@pytest.fixture
def inventory(tmp_path: Path):
    """Write an inventory of hosts and their variables."""

    def write(hosts: dict[str, Any], **group_vars: Any) -> str:
        file = tmp_path / "fleet.yml"
        # Its writer in C takes a tenth of the time, which counts with thousands of hosts.
        file.write_text(yaml.dump({"all": {"hosts": hosts, "vars": group_vars}}, Dumper=yaml.CSafeDumper))
        return str(file)

    return write
