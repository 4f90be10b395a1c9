"""Names that Ansible keeps for itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from messages.errors import RequestError
from messages.requests.base import parse_request
from messages.requests.subcloud import ImportedSubcloud, NewSubcloud, SubcloudChange
from messages.site_addresses import is_reserved_host_name
from tests.support.waiting import PATIENCE_S

RESERVED = ["localhost", "all", "ungrouped"]
# What might be special, and is not.
ORDINARY = [
    *("Localhost", "ALL", "all-1", "localhost.localdomain", "localhost4", "ungrouped2", "_meta", "children", "hosts"),
    *("vars", "omit", "hostvars", "groups", "inventory_hostname", "null", "true", "yes", "1e5", "0x1a", "a.b", "12a"),
    *("children.hosts", "ip6-localhost", "controller", "edge-01", "none", "self", "implicit"),
]


@pytest.mark.parametrize("name", RESERVED)
@pytest.mark.parametrize("model", [NewSubcloud, SubcloudChange, ImportedSubcloud])
def test_reserved_names(model: type[NewSubcloud], name: str) -> None:
    """No subcloud may be called so, new or renamed, by a caller or by an import; the refusal says why."""
    with pytest.raises(RequestError, match=f"^name {name} is reserved by Ansible; choose another one$"):
        parse_request(model, {"name": name})


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_names(name: str) -> None:
    """A name that only looks special stays allowed."""
    assert name == parse_request(NewSubcloud, {"name": name}).name


def test_the_names_are_ansibles() -> None:
    """The reserved names are those of Ansible itself: its implicit host and its groups; the others are plain hosts."""
    program = (
        "import json, ansible.constants as c; from ansible.inventory.data import InventoryData as d;"
        "print(json.dumps([*c.LOCALHOST, *d().groups]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )

    assert all(map(is_reserved_host_name, json.loads(done.stdout)))


def test_ordinary_names_are_hosts_to_ansible(tmp_path: Path) -> None:
    """In the inventory of a run each of the other names is the one host, and `localhost` is still the controller."""
    inventories = []
    for number, name in enumerate(ORDINARY):
        file = tmp_path / f"{number}.yml"
        file.write_text(yaml.safe_dump({"all": {"hosts": {name: {"site": True}}}}))
        inventories += ["-i", str(file)]
    command = [str(Path(sys.executable).with_name("ansible-inventory")), *inventories, "--list"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    found = json.loads(done.stdout)["_meta"]["hostvars"]

    assert set(ORDINARY) == set(found)
    assert all(variables == {"site": True} for variables in found.values())
