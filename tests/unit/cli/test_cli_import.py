"""`prestager import`: sites and groups of an Ansible inventory or a list."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from sqlalchemy import select

from db.schema import subcloud_groups
from tests.support.imported_sites import site_rows


def test_inventory(prestager, database, inventory) -> None:
    """Our variables become fields, the others the connection; groups are made as their variables say."""
    file = inventory(
        {
            "edge-1": {
                "prestager_software_version": "22.10",
                "prestager_management_state": "managed",
                "prestager_availability_status": "online",
                "prestager_system_mode": "duplex",
                "prestager_oam_address": "10.0.0.1",
                "prestager_location": "roof",
                "prestager_labels": {"region": "eu", "floor": 7},
                "ansible_port": 2222,
            },
            "edge-2": None,
        },
        prestager_group="north",
        prestager_group_apply_type="serial",
        prestager_group_max_parallel=7,
        ansible_user="ops",
    )

    ended = prestager("subcloud", "import", file)

    assert (0, "2 subclouds added, 0 updated, 0 unchanged; 1 groups added.\n") == (ended.code, ended.out)
    found = site_rows(database)
    first = found["edge-1"]
    assert ("22.10", "managed", "online", "duplex", "10.0.0.1", "roof", "north") == tuple(
        first[column]
        for column in (
            "software_version",
            "management_state",
            "availability_status",
            "system_mode",
            "oam_floating_ip",
            "location",
            "group",
        )
    )
    assert {"ansible_port": 2222, "ansible_user": "ops"} == first["connection"]
    assert {"region": "eu", "floor": "7"} == first["labels"]
    assert ("23.09", "unmanaged", "offline") == tuple(
        found["edge-2"][column] for column in ("software_version", "management_state", "availability_status")
    )
    with database.read() as connection:
        group = connection.execute(select(subcloud_groups).where(subcloud_groups.c.name == "north")).one()
    assert ("serial", 7) == (group.update_apply_type, group.max_parallel_subclouds)


@pytest.mark.parametrize("width", [501, 5000, "5000"])
def test_group_as_wide_as_dcmanager_allows(prestager, database, inventory, width: int | str) -> None:
    """A width that dcmanager allows is taken as the largest here, with a warning; a second import changes nothing."""
    file = inventory({"edge-1": None}, prestager_group="north", prestager_group_max_parallel=width)

    first, again = prestager("subcloud", "import", file), prestager("subcloud", "import", "--update", file)

    assert (0, 0) == (first.code, again.code)
    assert f"Group north allows {width} subclouds in parallel" in first.err
    assert "0 updated, 1 unchanged" in again.out
    with database.read() as connection:
        assert [500] == list(
            connection.execute(
                select(subcloud_groups.c.max_parallel_subclouds).where(subcloud_groups.c.name == "north")
            ).scalars()
        )


@pytest.mark.parametrize("width", [0, 5001, "many"])
def test_group_of_an_impossible_width(prestager, database, inventory, width: int | str) -> None:
    """A width that nobody allows is refused, and nothing is imported."""
    ended = prestager(
        "subcloud", "import", inventory({"edge-1": None}, prestager_group="north", prestager_group_max_parallel=width)
    )

    assert (1, {}) == (ended.code, site_rows(database))
    assert "group north: Invalid group max_parallel_subclouds" in ended.err


def test_ini(prestager, database, tmp_path: Path) -> None:
    """An inventory in INI may use ranges and group variables; a version of two decimals needs no quotes."""
    file = tmp_path / "hosts"
    file.write_text("[north]\nn[01:03] ansible_port=2222\n[north:vars]\nprestager_software_version=22.12\n")

    assert 0 == prestager("subcloud", "import", str(file)).code
    assert {"n01": "22.12", "n02": "22.12", "n03": "22.12"} == {
        name: row["software_version"] for name, row in site_rows(database).items()
    }


def test_plain_list(prestager, database, tmp_path: Path) -> None:
    """A list has a name, or a name and an address, on each line; comments and empty lines do not count."""
    file = tmp_path / "sites.txt"
    file.write_text("# sites\nedge-1 10.0.0.1\n\nedge-2   # later\nedge-3 fd00::1\n")

    assert 0 == prestager("subcloud", "import", str(file)).code
    assert {"edge-1": "10.0.0.1", "edge-2": None, "edge-3": "fd00::1"} == {
        name: row["oam_floating_ip"] for name, row in site_rows(database).items()
    }


def test_name_twice_in_a_list(prestager, database, tmp_path: Path) -> None:
    """Two lines about one site contradict each other."""
    file = tmp_path / "sites"
    file.write_text("edge-1 10.0.0.1\nedge-1 10.0.0.2\n")

    ended = prestager("subcloud", "import", str(file))

    assert 1 == ended.code
    assert "edge-1 is there twice." in ended.err


def test_all_faults_at_once(prestager, database, inventory) -> None:
    """Every fault of the file is listed, and nothing is registered, not even the group that was right."""
    file = inventory(
        {
            "good": {"prestager_group": "fine"},
            "edge-1": {"prestager_system_mode": "triplex"},
            "edge-2": {"prestager_oam_address": "10.0.0.300"},
            "edge-3": {"prestager_software_version": 22.1},
            "edge-4": {"prestager_groop": "north"},
            "edge-5": {"prestager_group": "a*b"},
            "edge-6": {"prestager_group": "g", "prestager_group_apply_type": "serial"},
            "edge-7": {"prestager_group": "g", "prestager_group_apply_type": "parallel"},
            "123": {},
        }
    )

    ended = prestager("subcloud", "import", file)

    assert 1 == ended.code
    assert 7 == ended.err.count("  - ")
    assert "edge-1: Invalid system_mode" in ended.err
    assert "edge-2: Invalid oam_floating_ip" in ended.err
    assert "edge-3: prestager_software_version is a number" in ended.err
    assert "edge-4: prestager_groop is not known; did you mean prestager_group?" in ended.err
    assert "group a*b: Invalid group name." in ended.err
    assert "group g: its hosts do not agree on prestager_group_apply_type." in ended.err
    assert "123: name must contain alphabetic characters." in ended.err
    assert {} == site_rows(database)
    with database.read() as connection:
        assert ["Default"] == connection.execute(select(subcloud_groups.c.name)).scalars().all()


def test_dry_run(prestager, database, inventory) -> None:
    """A dry run tells what would be and changes nothing."""
    ended = prestager("subcloud", "import", "--dry-run", inventory({"edge-1": {"prestager_group": "north"}}))

    assert "Would be: 1 subclouds added, 0 updated, 0 unchanged; 1 groups added.\n" == ended.out
    assert {} == site_rows(database)


def test_known_name(prestager, database, inventory) -> None:
    """A site that is registered is a fault, and the others of the file are not registered either."""
    prestager("subcloud", "import", inventory({"edge-1": {}}))

    ended = prestager("subcloud", "import", inventory({"edge-1": {}, "edge-2": {}}))

    assert 1 == ended.code
    assert "edge-1 is registered already; give --update to change it." in ended.err
    assert ["edge-1"] == list(site_rows(database))


def test_update(prestager, database, inventory) -> None:
    """--update changes what differs, adds what is new, leaves the rest and what the file does not mention."""
    prestager(
        "subcloud",
        "import",
        inventory({"a": {"prestager_location": "roof"}, "b": {}}, prestager_management_state="managed"),
    )

    wanted = {"a": {"prestager_oam_address": "10.0.0.9", "prestager_group": "north"}, "b": {}, "c": {}}
    ended = prestager("subcloud", "import", "--update", inventory(wanted, prestager_management_state="managed"))

    assert "1 subclouds added, 1 updated, 1 unchanged; 1 groups added.\n" == ended.out
    first = site_rows(database)["a"]
    assert ("10.0.0.9", "north", "roof") == (first["oam_floating_ip"], first["group"], first["location"])


def test_update_keeps_the_rules(prestager, database, inventory) -> None:
    """A change that the API would refuse is refused here too: an offline site cannot be managed."""
    prestager("subcloud", "import", inventory({"a": {}}))

    ended = prestager("subcloud", "import", "--update", inventory({"a": {"prestager_management_state": "managed"}}))

    assert 1 == ended.code
    assert "a: Subcloud is not online." in ended.err
    assert "unmanaged" == site_rows(database)["a"]["management_state"]


def test_group_that_exists(prestager, database, inventory) -> None:
    """A group keeps what it has, with a warning, unless --update is given."""
    hosts = {"a": {"prestager_group": "north"}}
    prestager("subcloud", "import", inventory(hosts, prestager_group_max_parallel=3))

    changed = {**hosts, "b": {"prestager_group": "north"}}
    kept = prestager("subcloud", "import", inventory({"b": changed["b"]}, prestager_group_max_parallel=9))
    updated = prestager("subcloud", "import", "--update", inventory(changed, prestager_group_max_parallel=9))

    assert "Warning: Group north exists and keeps its max_parallel_subclouds" in kept.err
    assert 0 == updated.code
    with database.read() as connection:
        width = select(subcloud_groups.c.max_parallel_subclouds).where(subcloud_groups.c.name == "north")
        assert 9 == connection.execute(width).scalar()


def test_no_version(prestager, database, inventory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the controller's release each site has to say what it runs."""
    monkeypatch.delenv("PRESTAGER_RELEASE")

    assert "edge-1: software_version required" in prestager("subcloud", "import", inventory({"edge-1": {}})).err


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("broken.yml", b"all: {hosts: {a: {ansible_ssh_pass: hunter2}\n"),
        ("broken.ini", b"a ansible_ssh_pass=my hunter2\n"),
        ("program", b"#!/bin/sh\nhunter2 > /dev/null\n"),
        ("empty", b"# nobody\n"),
        ("empty.yml", b"all: {}\n"),
        ("binary", b"\xff\xfe\x00"),
    ],
)
def test_unreadable_file(prestager, database, tmp_path: Path, name: str, content: bytes) -> None:
    """A file that holds no fleet is refused by its name; nothing of its content is repeated, or run."""
    file = tmp_path / name
    file.write_bytes(content)
    file.chmod(0o755)

    ended = prestager("subcloud", "import", str(file))

    assert 1 == ended.code
    assert str(file) in ended.err
    assert "hunter2" not in ended.err


def test_missing_file(prestager, database) -> None:
    """A file that is not there is told."""
    assert "/nowhere/fleet.yml cannot be read: No such file or directory." in (
        prestager("subcloud", "import", "/nowhere/fleet.yml").err
    )


def test_five_thousand_sites(prestager, database, inventory) -> None:
    """A large fleet is registered within seconds."""
    hosts = {f"site-{number:04d}": {"ansible_host": f"10.0.{number // 256}.{number % 256}"} for number in range(5000)}
    file = inventory(hosts)
    began = time.process_time()

    ended = prestager("subcloud", "import", file)

    assert ended.out.startswith("5000 subclouds added")
    assert time.process_time() - began < 20
