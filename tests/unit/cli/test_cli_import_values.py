"""Values of an inventory that are none, or that can neither be kept nor used in a run."""

from __future__ import annotations

import json
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from cli.inventory_import.reading import read_fleet
from db.schema import subcloud_groups, subclouds

_NOT_FINITE = "a value cannot be stored: a number that is not finite."
_NUL = "a value cannot be stored: a text with a NUL character."
_HALF = "a value cannot be stored: a text with half of a character pair."
_MARK = "it holds a byte order mark, which cannot be seen; type it anew."


@pytest.mark.parametrize("place", ["host", "vars", "group_vars", "host_vars"])
def test_nulls(prestager, database, tmp_path: Path, place: str) -> None:
    """A variable without a value is as if it were not there, wherever it stands and whatever its name."""
    names = (
        *("prestager_group", "prestager_group_apply_type", "prestager_group_max_parallel"),
        *("prestager_software_version", "prestager_management_state", "prestager_location", "prestager_oam_address"),
        *("prestager_host_key", "ansible_user", "ansible_connection"),
    )
    lines = [f"{name}: {null}" for name, null in zip(names, cycle(("", "~", "null", "NULL")), strict=False)]
    within = "".join(f"\n        {line}" for line in lines) if place == "host" else " {}"
    beside = "".join(f"\n    {line}" for line in lines) if place == "vars" else " {}"
    (tmp_path / "hosts.yml").write_text(f"all:\n  vars:{beside}\n  hosts:\n    a:{within}\n")
    if place.endswith("_vars"):
        (tmp_path / place).mkdir()
        (tmp_path / place / ("all.yml" if place == "group_vars" else "a.yml")).write_text("\n".join(lines) + "\n")

    ended = prestager("subcloud", "import", str(tmp_path / "hosts.yml"))

    assert (0, "") == (ended.code, ended.err)
    with database.read() as connection:
        assert ["Default"] == list(connection.execute(select(subcloud_groups.c.name)).scalars())
        row = connection.execute(select(subclouds)).mappings().one()
    assert ("23.09", "unmanaged", None, {}) == (
        row["software_version"],
        row["management_state"],
        row["location"],
        row["connection"],
    )


def test_null_of_an_ini_inventory(prestager, database, tmp_path: Path) -> None:
    """Ansible reads None in an INI inventory as a null."""
    file = tmp_path / "hosts.ini"
    file.write_text("a prestager_group=None ansible_user=None\n")

    assert 0 == prestager("subcloud", "import", str(file)).code
    with database.read() as connection:
        assert ["Default"] == list(connection.execute(select(subcloud_groups.c.name)).scalars())


def test_unusable_values(prestager, database, tmp_path: Path) -> None:
    """A value that cannot be kept or used is refused by the names of its host and variable."""
    values = (
        (".nan", _NOT_FINITE),
        ("-.inf", _NOT_FINITE),
        ("[1, {deep: .NaN}]", _NOT_FINITE),
        ('"a\\0b"', _NUL),
        ('{"a\\0b": 1}', _NUL),
        ('"\\uFEFF10.0.0.1"', _MARK),
        ('["x\\uFEFF"]', _MARK),
    )
    names = ("ansible_host", "prestager_description", "prestager_group", "site_feed_dir")
    wrong = [(f"edge-{place}-{name}", name, *value) for place, value in enumerate(values) for name in names]
    hosts = ", ".join(f"{host}: {{{name}: {written}}}" for host, name, written, _ in wrong)
    file = tmp_path / "hosts.yml"
    file.write_text(f"all: {{hosts: {{{hosts}, good: {{}}}}}}\n")

    ended = prestager("subcloud", "import", str(file))

    assert 1 == ended.code
    assert [f"  - {host}: {name}: {fault}" for host, name, _, fault in wrong] == ended.err.splitlines()[:-1]
    with database.read() as connection:
        assert [] == connection.execute(select(subclouds.c.name)).all()


@pytest.mark.parametrize(
    ("value", "fault"),
    [("\ud800", _HALF), ([[]] * 2, ""), ("x" * 5000, ""), (2**70, ""), (True, "")],
)
def test_judged_values(value: Any, fault: str) -> None:
    """Half of a character pair is refused; what JSON has is not."""
    faults = read_fleet({"edge-1": {"ansible_x": value}}).faults

    assert ([f"edge-1: ansible_x: {fault}"] if fault else []) == faults


def test_deep_value() -> None:
    """A value of more levels than can be kept is refused by the names of its host and variable."""
    value: Any = 1
    for _ in range(2000):
        value = [value]

    assert ["edge-1: ansible_x: nested too deeply: more than 32 levels."] == (
        read_fleet({"edge-1": {"ansible_x": value}}).faults
    )


@pytest.mark.parametrize("value", [True, False, ["north"], {"north": 1}, 1.5])
def test_group_that_is_no_text(value: Any) -> None:
    """A group that YAML does not read as a text, such as `no`, is refused by the name of its host."""
    wanted = read_fleet({"edge-1": {"prestager_group": value}})

    assert ["edge-1: prestager_group is no text; write the name of one group in quotes."] == wanted.faults
    assert {"Default"} == set(wanted.groups)


def test_sizes(prestager, database, tmp_path: Path) -> None:
    """A value that is too large, of a site or its group, is refused by the name of its host."""
    wrong = {
        "edge-1": ({"prestager_group": "x" * 300}, "Invalid group name."),
        "edge-2": ({"prestager_group": "g", "prestager_group_description": "x" * 300}, "Invalid group description."),
        "edge-3": (
            {"prestager_group": "h", "prestager_group_max_parallel": 10**30},
            "Invalid group max_parallel_subclouds.",
        ),
        "edge-4": ({"prestager_description": "x" * 300}, "Invalid description: give a text of at most 255 characters."),
        "edge-5": ({"prestager_location": ["x"]}, "Invalid location: give a text of at most 255 characters."),
        "edge-6": ({"prestager_management_alarms": 10**30}, "Invalid management-alarms: give the number of"),
    }
    file = tmp_path / "hosts.json"
    hosts = {name: variables for name, (variables, _) in wrong.items()}
    file.write_text(json.dumps({"all": {"hosts": {**hosts, "edge-7": {}}}}))

    ended = prestager("subcloud", "import", str(file))

    assert 1 == ended.code
    for name, (_, fault) in wrong.items():
        assert any(name in line and fault in line for line in ended.err.splitlines()), (name, ended.err)
    assert "edge-7" not in ended.err


def test_name_with_what_cannot_be_seen(prestager, database, tmp_path: Path) -> None:
    """What cannot be seen in the name of a refused host is shown escaped."""
    file = tmp_path / "hosts.yml"
    file.write_text('all: {hosts: {"\\uFEFFedge": {}, "a\\0b": {}}}\n')

    ended = prestager("subcloud", "import", str(file))

    assert 1 == ended.code
    assert "  - '\\ufeffedge': name must have at most 255 letters" in ended.err
    assert "  - 'a\\x00b': name must have at most 255 letters" in ended.err


def test_secret_that_cannot_be_stored(prestager, database, tmp_path: Path) -> None:
    """A secret is not kept, so that it cannot be stored is no fault."""
    file = tmp_path / "hosts.yml"
    file.write_text('all: {hosts: {a: {ansible_password: "Geheim\\0"}}}\n')

    ended = prestager("subcloud", "import", str(file))

    assert 0 == ended.code
    assert "Geheim" not in ended.err


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("[" * 200 + "]" * 200, "values are nested too deeply"),
        ("1" * 5000, "a number has too many digits; write it in quotes"),
        ("!!binary aGFsbG8=", "a value has a type that JSON does not have, such as !!binary"),
    ],
)
def test_values_that_ansible_cannot_show(prestager, database, tmp_path: Path, written: str, reason: str) -> None:
    """A value that Ansible itself cannot read or show is refused with the reason, never with a traceback."""
    file = tmp_path / "hosts.yml"
    file.write_text(f"all: {{hosts: {{a: {{ansible_x: {written}}}}}}}\n")

    ended = prestager("subcloud", "import", str(file))

    assert 1 == ended.code
    assert [f"  - {file}: {reason}.", f"Error: Ansible cannot read {file}."] == ended.err.splitlines()


@pytest.mark.parametrize("content", [b"x: 1\nsite_x: a\0b\n", b"x: 1\nsite_x: [\xe4\n", b"x: 1\nsite_x: \x07\n"])
@pytest.mark.parametrize("name", ["group_vars/all.yml", "host_vars/a.yml"])
def test_files_of_variables_that_are_no_text(prestager, database, tmp_path: Path, name: str, content: bytes) -> None:
    """A file of variables with what is not text is named with the line."""
    (tmp_path / "hosts.yml").write_text("all: {hosts: {a: {}}}\n")
    file = tmp_path / name
    file.parent.mkdir()
    file.write_bytes(content)

    ended = prestager("subcloud", "import", str(tmp_path / "hosts.yml"))

    assert 1 == ended.code
    assert f"{file}, line 2: it is not text in UTF-8, or holds a control character such as NUL." in ended.err
