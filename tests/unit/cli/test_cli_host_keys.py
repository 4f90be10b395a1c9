"""`prestager subcloud show`, `set-host-key`, `forget-host-key`, and keys that come by import."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from db.database import Database
from db.schema import audit, events, subclouds
from messages.host_keys import parse_host_keys


@pytest.fixture
def make_key(tmp_path: Path) -> Callable[[str], Path]:
    """Give a function that makes a public key file."""

    def make(name: str) -> Path:
        file = tmp_path / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file], check=True)
        return file.with_suffix(".pub")

    return make


@pytest.fixture
def inventory(tmp_path: Path, prestager, database: Database) -> Callable[..., Any]:
    """Give a function that imports sites with these variables."""

    def bring(*arguments: str, **hosts: dict[str, Any]) -> Any:
        file = tmp_path / "inventory.yml"
        lines = ["all:", "  hosts:"]
        for name, variables in hosts.items():
            lines += [f"    {name}:", *(f"      {key}: {value}" for key, value in variables.items())]
        file.write_text("\n".join(lines))
        return prestager("subcloud", "import", str(file), *arguments)

    return bring


def rows(database: Database, table: Any, *columns: str) -> list[tuple[Any, ...]]:
    """Return columns of a table in id order."""
    with database.read() as connection:
        found = connection.execute(select(*(table.c[name] for name in columns)).order_by(table.c.id))
        return [tuple(row) for row in found]


def lines_of(*files: Path) -> str:
    """Return keys as they are kept."""
    return "\n".join(" ".join(file.read_text().split()[:2]) for file in files)


def test_keys_that_an_operator_gives(prestager, database: Database, inventory, make_key) -> None:
    """Given keys take the place of those before, are shown by fingerprint, told as an event and kept in the audit."""
    assert 0 == inventory(edge1={"prestager_software_version": '"22.12"'}).code
    first, second = make_key("a"), make_key("b")
    (known,) = parse_host_keys(second.read_text())

    given = prestager("subcloud", "set-host-key", "edge1", str(first))
    again = prestager("subcloud", "set-host-key", "edge1", str(second))
    shown = prestager("subcloud", "show", "edge1")

    assert (0, 0, 0) == (given.code, again.code, shown.code)
    assert known.fingerprint in again.out
    assert known.description in shown.out
    expected = [(lines_of(second), "given", "22.12")]
    assert expected == rows(database, subclouds, "host_keys", "host_keys_origin", "host_keys_version")
    entries = rows(database, audit, "type", "subject", "status")
    assert [("subcloud.set-host-key", "edge1", 200)] * 2 == entries
    assert {"reason": "given", "keys": [known.description]} == rows(database, events, "type", "data")[-1][1]


def test_the_same_key_again_changes_nothing(prestager, database: Database, inventory, make_key) -> None:
    """A repeat says so, and makes neither event nor entry."""
    inventory(edge1={})
    key = make_key("a")
    prestager("subcloud", "set-host-key", "edge1", str(key))
    ended = prestager("subcloud", "set-host-key", "edge1", str(key))

    assert (0, True) == (ended.code, "recorded already" in ended.out)
    assert (1, 1) == (len(rows(database, audit, "id")), len(rows(database, events, "id")))


def test_keys_from_standard_input(
    prestager, database: Database, inventory, make_key, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a file keys are read from standard input, as ssh-keyscan prints them."""
    inventory(edge1={})
    key = make_key("a")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"# 10.0.0.1:22 SSH-2.0\n10.0.0.1 {key.read_text()}"))

    assert 0 == prestager("subcloud", "set-host-key", "edge1").code
    assert [(lines_of(key),)] == rows(database, subclouds, "host_keys")


def test_what_is_no_key(prestager, database: Database, inventory, make_key, tmp_path: Path) -> None:
    """A private key, a missing file and an unknown site are refused with a sentence; nothing of a file is repeated."""
    inventory(edge1={})
    private = make_key("a").with_suffix("")
    secret = private.read_text().splitlines()[1]

    refused = prestager("subcloud", "set-host-key", "edge1", str(private))
    missing = prestager("subcloud", "set-host-key", "edge1", str(tmp_path / "none"))
    unknown = prestager("subcloud", "set-host-key", "edge9", str(private.with_suffix(".pub")))

    assert (1, True, False) == (refused.code, "private key" in refused.err, secret in refused.err)
    assert (1, True) == (missing.code, "cannot be read" in missing.err)
    assert (1, True) == (unknown.code, "no subcloud 'edge9'" in unknown.err)
    assert [(None,)] == rows(database, subclouds, "host_keys")


def test_keys_that_are_forgotten(prestager, database: Database, inventory, make_key) -> None:
    """The keys of one site go, told as an event and kept in the audit; a site without keys is left as it is."""
    inventory(edge1={}, edge2={})
    prestager("subcloud", "set-host-key", "edge1", str(make_key("a")))

    ended = prestager("subcloud", "forget-host-key", "edge1")
    again = prestager("subcloud", "forget-host-key", "edge1")

    assert (0, 0) == (ended.code, again.code)
    assert ("is forgotten" in ended.out, "was not recorded" in again.out) == (True, True)
    assert [(None, None, None)] * 2 == rows(database, subclouds, "host_keys", "host_keys_origin", "host_keys_version")
    assert ("subcloud.forget-host-key", "edge1") == rows(database, audit, "type", "subject")[-1]
    assert ["subcloud.host-key-recorded", "subcloud.host-key-forgotten"] == [
        kind for (kind,) in rows(database, events, "type")
    ]


def test_the_keys_of_a_group(prestager, database: Database, inventory, make_key) -> None:
    """With a group the keys of all its sites go and no others'."""
    north = {"prestager_group": "north"}
    inventory(edge1=north, edge2=north, edge3={"prestager_group": "south"})
    for name in ("edge1", "edge3"):
        prestager("subcloud", "set-host-key", name, str(make_key(name)))

    ended = prestager("subcloud", "forget-host-key", "--group", "north")
    unknown = prestager("subcloud", "forget-host-key", "--group", "west")

    assert (0, True) == (ended.code, "of 1 of 2 subclouds" in ended.out)
    assert (1, True) == (unknown.code, "no group 'west'" in unknown.err)
    assert [True, True, False] == [keys is None for (keys,) in rows(database, subclouds, "host_keys")]


@pytest.mark.parametrize("arguments", [[], ["edge1", "--group", "north"]])
def test_one_or_a_group(prestager, database: Database, arguments: list[str]) -> None:
    """Neither or both is refused."""
    ended = prestager("subcloud", "forget-host-key", *arguments)

    assert (1, True) == (ended.code, "or --group" in ended.err)


@pytest.mark.parametrize(
    ("policy", "level", "words"),
    [("ignore", "warn", "is sent its password"), ("strict", "warn", "1 of 2 sites"), ("accept-new", "ok", "1 of 2")],
)
def test_the_doctor_looks_at_host_keys(
    prestager,
    database: Database,
    inventory,
    make_key,
    monkeypatch: pytest.MonkeyPatch,
    policy: str,
    level: str,
    words: str,
) -> None:
    """It tells how many sites behind SSH are known, and warns of a setting that leaves some out or checks nothing."""
    inventory(edge1={}, edge2={}, edge3={"ansible_connection": "local"})
    prestager("subcloud", "set-host-key", "edge1", str(make_key("a")))
    monkeypatch.setenv("PRESTAGER_HOST_KEYS", policy)
    lines = prestager("doctor").out.splitlines()

    (line,) = (line for line in lines if "host keys" in line)
    assert (True, True) == (line.startswith(level), words in line)
    assert (policy == "ignore") == ("PRESTAGER_HOST_KEYS=ignore" in prestager("config", "check").err)


class TestImport:
    def test_keys_in_an_inventory(self, database: Database, inventory, make_key) -> None:
        """One key, several lines and a list are taken; new keys come with --update, the same ones change nothing."""
        keys = [make_key(name) for name in ("a", "b", "c")]
        one, two, three = (lines_of(key) for key in keys)
        inventory(
            edge1={"prestager_host_key": one},
            edge2={"prestager_host_key": f"|\n        {one}\n        {two}"},
            edge3={"prestager_host_key": f"[{one}, {two}]"},
            edge4={},
        )
        both = lines_of(*keys[:2])
        assert [(one,), (both,), (both,), (None,)] == rows(database, subclouds, "host_keys")

        ended = inventory(
            "--update", edge1={"prestager_host_key": three}, edge2={}, edge3={"prestager_host_key": f"[{two}, {one}]"}
        )
        assert "1 updated, 2 unchanged" in ended.out
        assert [(three,), (both,), (both,), (None,)] == rows(database, subclouds, "host_keys")
        assert ["edge1", "edge2", "edge3", "edge1"] == [subject for (subject,) in rows(database, audit, "subject")]

    def test_a_key_that_is_none(self, database: Database, inventory) -> None:
        """A text that is no key is a fault of the file, and nothing is imported."""
        ended = inventory(edge1={"prestager_host_key": "nonsense"})

        assert (1, True) == (ended.code, "edge1: prestager_host_key" in ended.err)
        assert [] == rows(database, subclouds, "id")

    def test_versions_of_an_import_are_an_administrators(self, database: Database, inventory) -> None:
        """A version that the operator imports can tell a reinstalled site, at first and with --update."""
        inventory(edge1={"prestager_software_version": '"22.12"'})
        first = rows(database, subclouds, "version_by_administrator")
        inventory("--update", edge1={"prestager_software_version": '"23.09"'})

        assert ([(True,)], [("23.09", True)]) == (
            first,
            rows(database, subclouds, "software_version", "version_by_administrator"),
        )
