"""The check of a playbook set that heartbeats report."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from playbook_sets.playbook_set import PLAYBOOKS, PlaybookCheck

OURS = Path(__file__).parents[3] / "playbooks"
GOOD = "- hosts: all\n  vars: {prestager_x: !vault x}\n  tasks: []\n"
FIRST = "prepare_prestage_packages.yml"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Give a set in which nothing is wrong."""
    for name in PLAYBOOKS.values():
        (tmp_path / name).write_text(GOOD)
    return tmp_path


def test_our_own_set_is_good() -> None:
    """The playbooks that come with the program have no error."""
    assert PlaybookCheck(OURS).first_error() is None


def test_a_good_set(directory: Path) -> None:
    """Tags of Ansible and imported playbooks are no error."""
    (directory / FIRST).write_text("- import_playbook: other.yml\n- ansible.builtin.import_playbook: b.yml\n" + GOOD)

    assert PlaybookCheck(directory).first_error() is None


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("", "is no list of plays."),
        ("hosts: all\n", "is no list of plays."),
        ("[]\n", "is no list of plays."),
        ("$ANSIBLE_VAULT;1.1;AES256\n6162\n", "is no list of plays."),
        ("- hosts: all\n- tasks: []\n", "has an entry at line 2 that names no hosts."),
        ("- hosts: all\n- text\n", "has an entry at line 2 that names no hosts."),
        ("- hosts: all\n- ? [hosts]\n  : x\n", "has an entry at line 2 that names no hosts."),
        ("- hosts: all\n  secret: 'hunter2\n", "is not valid YAML at line 3."),
        ("- hosts: *hunter2\n", "is not valid YAML at line 1."),
        ("- hosts: \0\n", "is not valid YAML."),
        (b"- hosts: \xff\xfe\n", "is not UTF-8."),
        ("[" * 100_000, "is nested more than 100 levels deep."),
    ],
)
def test_a_broken_playbook(directory: Path, content: str | bytes, error: str) -> None:
    """An error names the file, and the line where there is one, and quotes nothing of the file."""
    (directory / FIRST).write_bytes(content if isinstance(content, bytes) else content.encode())

    found = PlaybookCheck(directory).first_error()

    assert found is not None
    assert found.startswith(f"{FIRST} {error}")
    assert "hunter2" not in found


def test_a_missing_playbook(directory: Path) -> None:
    """A playbook that is not there is told with the setting that names the directory."""
    (directory / "prestage_images.yml").unlink()

    error = PlaybookCheck(directory).first_error()

    assert f"PRESTAGER_PLAYBOOKS_DIR {directory} has no readable prestage_images.yml." == error


def test_what_is_no_file(directory: Path) -> None:
    """A pipe in the place of a playbook is an error, and is not waited for."""
    (directory / FIRST).unlink()
    os.mkfifo(directory / FIRST)

    assert f"{FIRST} is no regular file." == PlaybookCheck(directory).first_error()


def test_a_huge_role(directory: Path) -> None:
    """A file that is larger than any playbook is an error, and is not read whole to know whose the set is."""
    for name in PLAYBOOKS.values():
        (directory / name).write_text("- hosts: all\n")
    role = directory / "roles" / "prestage" / "tasks" / "main.yml"
    role.parent.mkdir(parents=True)
    with role.open("wb") as file:
        file.truncate(2**40)

    assert f"roles/prestage/tasks/main.yml has {2**40} bytes, more than any playbook." == (
        PlaybookCheck(directory).first_error()
    )


def test_a_name_that_is_no_text(directory: Path) -> None:
    """An error can be stored and shown whatever the name of its file is."""
    tasks = directory / "roles" / "prestage" / "tasks"
    tasks.mkdir(parents=True)
    (tasks / os.fsdecode(b"\xff\x1b.yml")).write_text("- name: [\n")

    error = PlaybookCheck(directory).first_error() or ""

    assert error.isprintable()
    assert error.encode("utf-8").endswith(b".yml is not valid YAML at line 2.")


def test_a_missing_directory(tmp_path: Path) -> None:
    """A directory that is not there is told."""
    assert "is not a directory" in (PlaybookCheck(tmp_path / "none").first_error() or "")


def test_a_broken_role(directory: Path) -> None:
    """Files of the set's prestage roles are looked at; those of other roles are not."""
    for role in ("prestage", "other"):
        (directory / "roles" / role / "tasks").mkdir(parents=True)
        (directory / "roles" / role / "tasks" / "main.yml").write_text("- name: [\n")

    assert "roles/prestage/tasks/main.yml is not valid YAML at line 2." == PlaybookCheck(directory).first_error()


@pytest.mark.parametrize("name", ["group_vars/all.yml", "group_vars/all/deep/more.yaml"])
def test_broken_variables(directory: Path, name: str) -> None:
    """Variables of all sites beside the playbooks are looked at; those of groups that no site is in are not."""
    for file in (name, "group_vars/other.yml"):
        (directory / file).parent.mkdir(parents=True, exist_ok=True)
        (directory / file).write_text("a: [\n")

    assert f"{name} is not valid YAML at line 2." == PlaybookCheck(directory).first_error()


def test_a_corrected_playbook(directory: Path) -> None:
    """An error goes when the file is corrected, and comes when it is broken again."""
    check = PlaybookCheck(directory)
    found = []
    for content in ("- tasks: []\n", GOOD, "- tasks: []\n"):
        (directory / FIRST).write_text(content)
        found.append(check.first_error())

    assert [f"{FIRST} has an entry at line 1 that names no hosts.", None] == found[:2]
    assert found[0] == found[2]


def test_an_unchanged_set_is_not_read_again(directory: Path) -> None:
    """A file of the same time and size is not read: the check may be repeated at no cost."""
    check = PlaybookCheck(directory)
    check.first_error()
    before = (directory / FIRST).stat()
    (directory / FIRST).write_text("#" * before.st_size)
    os.utime(directory / FIRST, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert check.first_error() is None
