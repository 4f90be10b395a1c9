"""Rules of the files that bring variables to Ansible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.interface import PlaybookJob
from runner.inventory import write_job
from runner.private_dir import PrivateDir


@pytest.fixture
def place(tmp_path: Path) -> PrivateDir:
    """A private directory."""
    place = PrivateDir(tmp_path / "p")
    place.create()
    return place


class AnsibleLoader(yaml.SafeLoader):
    """Reads `!unsafe` as ansible-core does: the type is found anew, quotes or not."""


def _unsafe(loader: AnsibleLoader, node: yaml.ScalarNode) -> Any:
    tag = loader.resolve(yaml.ScalarNode, node.value, (True, False))
    return loader.construct_object(yaml.ScalarNode(tag, node.value))


AnsibleLoader.add_constructor("!unsafe", _unsafe)


def job(**fields: Any) -> PlaybookJob:
    """Return an order with `fields`."""
    defaults = {
        "run_id": 1,
        "deadline_s": 1.0,
        "playbook": Path("/p.yml"),
        "host": "site1",
        "host_vars": {},
        "secrets": {},
        "extra_vars": {},
    }
    return PlaybookJob(**{**defaults, **fields})


ODD_TEXTS = [
    "",
    "0123",
    "1e5",
    "yes",
    "null",
    "~",
    "2024-01-01",
    "a: b",
    "{{ x }}",
    "'",
    '"',
    "\\",
    "é😀\u2028\x7f\x00",
    "=",
]


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_texts_survive_with_their_type(place: PrivateDir, text: str) -> None:
    """Every text is read back as exactly this text, also where it looks like a number, a date, or a template."""
    sources = write_job(job(secrets={"ansible_ssh_pass": text}, extra_vars={"a": {"b": [text]}}), place)
    secrets = yaml.load(Path(sources[1]).read_text(), Loader=AnsibleLoader)  # noqa: S506

    assert {"ansible_ssh_pass": text} == secrets["all"]["hosts"]["site1"]
    assert {"a": {"b": [text]}} == yaml.load(place.extra_vars_file.read_text(), Loader=AnsibleLoader)  # noqa: S506


def test_templates_are_marked_unsafe(place: PrivateDir) -> None:
    """Text that Ansible could evaluate carries the tag that forbids it."""
    write_job(job(extra_vars={"a": "{{ b }}", "c": "lookup('pipe', 'id')"}), place)

    assert '"a": !unsafe "{{ b }}"\n"c": !unsafe "lookup(\'pipe\', \'id\')"\n' == place.extra_vars_file.read_text()


def test_secrets_are_apart_and_files_are_private(place: PrivateDir) -> None:
    """Secrets are in a file of their own; all files are for the owner only."""
    sources = write_job(job(secrets={"p": "hush"}, extra_vars={"a": 1}, host_vars={"h": 1}), place)

    assert [str(place.hosts_file), str(place.secrets_file)] == sources
    assert "hush" not in place.hosts_file.read_text() + place.extra_vars_file.read_text()
    assert {0o600} == {path.stat().st_mode & 0o777 for path in place.path.rglob("*") if path.is_file()}


def test_without_secrets_there_is_no_secrets_file(place: PrivateDir) -> None:
    """A job without secrets has one inventory source."""
    assert [str(place.hosts_file)] == write_job(job(), place)


def test_local_sites_keep_module_files_in_the_private_directory(place: PrivateDir) -> None:
    """With the local connection module files go where they are removed with the run; a given place is respected."""
    write_job(job(host_vars={"ansible_connection": "local"}), place)

    assert str(place.tmp) in place.hosts_file.read_text()
