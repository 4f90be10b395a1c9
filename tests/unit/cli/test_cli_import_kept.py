"""Connection variables that `prestager subcloud import` keeps, leaves out and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import select

from cli.inventory_import.host_variables import PREFIX
from db.database import Database
from db.schema import subclouds
from messages.connection_variables import is_set_by_prestager, is_used_by_runs


@pytest.fixture
def inventory(tmp_path: Path):
    """Write an inventory of hosts and their variables."""

    def write(hosts: dict[str, Any], **group_vars: Any) -> str:
        file = tmp_path / "fleet.yml"
        file.write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": group_vars}}))
        return str(file)

    return write


def connections(database: Database) -> dict[str, Any]:
    """Return the operator's connection variables of every subcloud by name."""
    with database.read() as connection:
        return {row.name: row.connection for row in connection.execute(select(subclouds))}


USED = {
    "ansible_port": 22,
    "prestage_min_free_bytes": 1,
    "site_feed_dir": "/feed",
    "platform_backup_dir": "/backup",
}


def test_only_what_runs_use_is_kept(prestager, database, inventory) -> None:
    """Variables that neither Ansible nor our playbooks use are left out with one warning that names them."""
    ended = prestager("subcloud", "import", inventory({"a": {**USED, "ntp": 1}, "b": {"rack": {"row": 2}}}, dns="x"))

    assert 0 == ended.code
    assert USED == connections(database)["a"]
    assert {} == connections(database)["b"]
    assert [
        "Warning: Not kept, for neither Ansible nor Prestager's playbooks use them: dns (2 hosts), ntp (1 host),"
        " rack (1 host). Give --keep NAME for each that playbooks of your own use."
    ] == ended.err.splitlines()


def test_what_is_kept_by_name(prestager, database, inventory) -> None:
    """--keep keeps a variable, or all that a pattern matches; secrets and what a run sets itself stay out."""
    file = inventory(
        {"a": {"rack": 1, "bmc_address": 2, "bmc_user": 3, "bmc_password": "Geheim", "image_list_file": 4}}
    )

    ended = prestager("subcloud", "import", file, "--keep", "rack", "--keep", "bmc_*", "--keep", "image_list_file")

    assert {"rack": 1, "bmc_address": 2, "bmc_user": 3} == connections(database)["a"]
    assert "Not kept" not in ended.err


def test_long_list_of_what_is_not_kept(prestager, database, inventory) -> None:
    """Of many variables that are left out the first are named, and the others counted."""
    ended = prestager("subcloud", "import", inventory({"a": {f"v{number:02}": 1 for number in range(25)}}))

    assert "v19 (1 host) and 5 more. Give" in ended.err


def test_every_variable_of_our_playbooks_is_kept() -> None:
    """Each variable of a site that the playbooks have a default for is kept by an import."""
    file = Path(__file__).parents[3] / "playbooks" / "roles" / "settings" / "defaults" / "main.yml"
    names = [
        name for name in yaml.safe_load(file.read_text()) if not (is_set_by_prestager(name) or name.startswith(PREFIX))
    ]

    assert [] == [name for name in names if not is_used_by_runs(name)]


def test_large_variables(prestager, database, inventory) -> None:
    """Variables that are too large are refused with their size and the largest; what is not kept does not count."""
    large = {"site_notes": "x" * 9000, "ansible_large": "y" * 10_000}
    size = len(json.dumps(large))
    hosts = {"edge-1": {}, "edge-2": {}}

    refused = prestager("subcloud", "import", inventory(hosts, **large))
    taken = prestager("subcloud", "import", inventory(hosts, ansible_user="ops", ntp="z" * 50_000))

    assert 1 == refused.code
    for name in ("edge-1", "edge-2"):
        assert (
            f"  - {name}: Its variables for Ansible take {size:,} bytes, and at most 16,384 are kept; the largest is"
            " ansible_large with 10,002 bytes. Leave it out, or have playbooks read it from a file."
        ) in refused.err.splitlines()
    assert 0 == taken.code, taken.err
