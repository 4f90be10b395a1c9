"""`prestager import` takes no secret, shows none, and leaves out what Prestager sets itself."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest

from tests.support.imported_sites import site_rows
from tests.support.waiting import PATIENCE_S


def test_secrets_are_dropped(prestager, database, inventory) -> None:
    """A variable that looks like a secret, itself or within, is not kept; the warning names it and not its value."""
    file = inventory(
        {
            "edge-1": {
                "ansible_ssh_pass": "hunter2",
                "proxy": {"api_token": "hunter2"},
                "users": [{"become_secret": "hunter2"}],
                "ansible_private_key": "hunter2",
                "ansible_port": 22,
            },
            "edge-2": {"ansible_ssh_pass": "hunter2"},
        }
    )

    ended = prestager("subcloud", "import", file)

    assert 0 == ended.code
    assert "Warning: ansible_ssh_pass looks like a secret and is not kept (2 hosts)" in ended.err
    assert "Warning: proxy.api_token looks like a secret" in ended.err
    assert "Warning: users.0.become_secret looks like a secret" in ended.err
    assert "hunter2" not in ended.err + ended.out + json.dumps(site_rows(database), default=str)
    assert {"ansible_port": 22} == site_rows(database)["edge-1"]["connection"]


def test_vault_values_are_dropped(prestager, database, tmp_path: Path) -> None:
    """An encrypted value is a secret, whatever its name."""
    file = tmp_path / "fleet.yml"
    file.write_text(
        "all:\n  hosts:\n    edge-1:\n      site_plain: 1\n      door: !vault |\n"
        "        $ANSIBLE_VAULT;1.1;AES256\n        6162\n"
    )

    ended = prestager("subcloud", "import", str(file))

    assert "Warning: door looks like a secret" in ended.err
    assert {"site_plain": 1} == site_rows(database)["edge-1"]["connection"]


def test_templates_are_told(prestager, database, inventory) -> None:
    """Nothing evaluates a template later, so its owner hears of it."""
    ended = prestager("subcloud", "import", inventory({"edge-1": {"ansible_host": "{{ name }}.example"}}))

    assert "Warning: ansible_host holds a template" in ended.err


SECRET = "Geheim"

BROKEN = {
    "apostrophe.ini": ("[north]\nb x=1\na ansible_ssh_pass=don't-Geheim\n", 3),
    "backslash.ini": ("[north]\na ansible_ssh_pass=Geheim\\\n", 2),
    "quote": ('a ansible_ssh_pass="Geheim\n', 1),
    "space.ini": ("a ansible_ssh_pass=my Geheim\n", 1),
    "section.ini": ("a x=1\n[Geheim:nothing]\n", 2),
    "variable.ini": ("[north]\na\n[north:vars]\nGeheim\n", 4),
    "child.ini": ("[north:children]\nGeheim x=1\n", 2),
    "brace.yml": ("all:\n  hosts:\n    a: {ansible_ssh_pass: Geheim\n", 4),
    "tag.yml": ("all:\n  hosts:\n    a:\n      p: !Geheim x\n", 0),
    "alias.yml": ("all:\n  hosts:\n    a: {p: *Geheim }\n", 0),
    "tab.yml": ("all:\n  hosts:\n    a:\n\tansible_ssh_pass: Geheim\n", 4),
    "colon.yml": ("all:\n  hosts:\n    a:\n      p: Geheim: x\n", 4),
    "list.yml": ("- Geheim\n", 0),
    "text.yml": ("Geheim\n", 0),
    "vars.yml": ("all:\n  vars: Geheim\n", 0),
    "quoted.json": ('{"all": {"hosts": {"a": {"ansible_ssh_pass": "Geheim}}}}\n', 0),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_not_quoted(prestager, database, tmp_path: Path, name: str) -> None:
    """Of a file that Ansible cannot read its name and, where one is at fault, its line is told, and nothing of it."""
    content, line = BROKEN[name]
    file = tmp_path / name
    file.write_text(content)

    ended = prestager("subcloud", "import", "--dry-run", str(file))

    assert 1 == ended.code, ended.out
    assert str(file) in ended.err
    assert SECRET not in ended.err + ended.out
    if line:
        assert f"{file}, line {line}: " in ended.err


def test_a_broken_file_of_variables_is_named(prestager, database, tmp_path: Path) -> None:
    """A fault in a file beside the inventory is told by that file and its line, and not quoted."""
    (tmp_path / "group_vars").mkdir()
    beside = tmp_path / "group_vars" / "all.yml"
    beside.write_text("x: 1\nansible_ssh_pass: [Geheim\n")
    file = tmp_path / "hosts.yml"
    file.write_text("all: {hosts: {a: {}}}\n")

    ended = prestager("subcloud", "import", str(file))

    assert f"{beside}, line 3: " in ended.err
    assert SECRET not in ended.err


@pytest.mark.parametrize("place", ["group_vars/all/vault.yml", "host_vars/a.yml", "hosts.yml"])
@pytest.mark.parametrize("how", ["variable", "configuration", "nothing"])
def test_a_file_encrypted_as_a_whole(
    prestager, database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, how: str
) -> None:
    """A vaulted file is not decrypted into the database, whatever vault password is at hand; the refusal names it."""
    (tmp_path / "hosts.yml").write_text("all: {hosts: {a: {snmp_ro: GeheimVault}}}\n")
    vaulted = tmp_path / place
    vaulted.parent.mkdir(parents=True, exist_ok=True)
    if place != "hosts.yml":
        vaulted.write_text("snmp_ro: GeheimVault\n")
    password = tmp_path / "password"
    password.write_text("pw\n")
    vaulted.write_text(_encrypted(vaulted.read_text()))
    monkeypatch.chdir(tmp_path)
    if how == "variable":
        monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(password))
        monkeypatch.setenv("ANSIBLE_VAULT_IDENTITY_LIST", f"default@{password}")
    elif how == "configuration":
        (tmp_path / "ansible.cfg").write_text(f"[defaults]\nvault_password_file = {password}\n")

    ended = prestager("subcloud", "import", str(tmp_path / "hosts.yml"))

    assert 1 == ended.code
    assert f"{vaulted} is encrypted as a whole by Ansible Vault" in ended.err
    assert {} == site_rows(database)


def test_single_encrypted_values_are_left_out(
    prestager, database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value that is encrypted by itself is left out also where its vault password is at hand."""
    password = tmp_path / "password"
    password.write_text("pw\n")
    value = _vault("encrypt_string", "--name", "door", "GeheimVault")
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text(value + "\nsite_plain: 1\n")
    file = tmp_path / "hosts.yml"
    file.write_text("all: {hosts: {a: {}}}\n")
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(password))

    ended = prestager("subcloud", "import", str(file))

    assert "Warning: door looks like a secret" in ended.err
    assert {"site_plain": 1} == site_rows(database)["a"]["connection"]


@cache
def _encrypted(text: str) -> str:
    return _vault("encrypt", text=text)


def _vault(command: str, *arguments: str, text: str = "") -> str:
    """Return what `ansible-vault` prints, with the password `pw`."""
    program = str(Path(sys.executable).with_name("ansible-vault"))
    with NamedTemporaryFile("w", suffix=".password") as password:
        password.write("pw\n")
        password.flush()
        return subprocess.run(
            [program, command, "--vault-password-file", password.name, *arguments],
            input=text,
            check=True,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        ).stdout


def test_names_of_secrets_and_others(prestager, database, tmp_path: Path) -> None:
    """Paths and mechanisms are kept though their names speak of secrets; short names of secrets are left out."""
    file = tmp_path / "hosts.ini"
    kept = {
        "ansible_ssh_private_key_file": "~/.ssh/edge",
        "ansible_ssh_password_mechanism": "sshpass",
        "bypass_checks": "x",
        "compass": "north",
    }
    text = " ".join(f"{name}={value}" for name, value in kept.items())
    file.write_text(f"a {text} bmc_pwd=Geheim api_key=Geheim snmp_community=Geheim my_credential=Geheim\n")

    ended = prestager("subcloud", "import", str(file), "--keep", "bypass_checks", "--keep", "compass")

    assert kept == site_rows(database)["a"]["connection"]
    assert ["api_key", "bmc_pwd", "my_credential", "snmp_community"] == [
        line.split()[1] for line in ended.err.splitlines() if line.startswith("Warning:")
    ]


def test_what_prestager_sets_is_left_out(prestager, database, inventory) -> None:
    """A variable that each run sets itself is not kept, with a warning; the site's own ones are."""
    shared = {"prestage_archive_dir": "/x", "controller_feed_root": "/y", "platform_backup_dir": "/z"}

    ended = prestager("subcloud", "import", inventory({"a": shared, "b": shared}))

    assert "Warning: prestage_archive_dir is set by Prestager in each run and is not kept (2 hosts)." in ended.err
    assert {"platform_backup_dir": "/z"} == site_rows(database)["a"]["connection"]


@pytest.mark.parametrize("name", ["localhost", "all", "ungrouped"])
def test_reserved_names_in_a_list(prestager, database, tmp_path: Path, name: str) -> None:
    """A list with a name that Ansible keeps for itself is refused as a whole."""
    file = tmp_path / "sites.txt"
    file.write_text(f"{name} 10.0.0.1\nedge-1\n")

    ended = prestager("subcloud", "import", str(file))

    assert 1 == ended.code
    assert f"{name}: name {name} is reserved by Ansible" in ended.err
    assert {} == site_rows(database)


def test_reserved_names_in_an_inventory(prestager, database, inventory) -> None:
    """An inventory with a host that Ansible keeps for itself is refused as a whole."""
    ended = prestager("subcloud", "import", inventory({"localhost": {}, "a": {}}))

    assert "localhost: name localhost is reserved by Ansible" in ended.err
    assert {} == site_rows(database)
