"""Loading a set of playbooks with Ansible."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from playbook_sets.load_check import LoadCheck
from playbook_sets.playbook_set import PLAYBOOKS
from runner import ansible_installation
from runner.ansible_installation import AnsibleInstallation
from runner.processes import marked

OLDER_ANSIBLE = Path(__file__).parents[3] / ".venv-ansible-older" / "bin" / "ansible-playbook"
NEEDS_OLDER_ANSIBLE = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11) and not OLDER_ANSIBLE.exists(), reason="the older Ansible needs Python 3.11"
)
# Tests in other processes have checks of their own.
WORKER = f"checked-{os.getpid()}"
SECRET = "hunter2"
PLAYBOOK = "- hosts: all\n  gather_facts: false\n  tasks: [{debug: {msg: x}}]\n"
SET_PROGRAM = "Set PRESTAGER_ANSIBLE to the ansible-playbook of an Ansible that works."


@pytest.fixture
def playbooks(tmp_path: Path) -> Path:
    """Give a set in which nothing is wrong."""
    directory = tmp_path / "set"
    directory.mkdir()
    for name in PLAYBOOKS.values():
        (directory / name).write_text(PLAYBOOK)
    return directory


@pytest.fixture
def run_root(tmp_path: Path) -> Path:
    """Give a directory for the files of checks."""
    directory = tmp_path / "runs"
    directory.mkdir()
    return directory


def script(tmp_path: Path, body: str) -> Path:
    """Return a program that stands in for Ansible; it counts its starts in the file `starts`."""
    program = tmp_path / "bin" / "ansible-playbook"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\necho x >> {tmp_path}/starts\n{body}\n")
    program.chmod(0o700)
    return program


def check(playbooks: Path, run_root: Path, program: Path | None = None, *, deadline_s: float = 60) -> LoadCheck:
    """Return a check of a set, with our Ansible unless another program is named."""
    # What others install on this machine meanwhile is nothing to a test.
    ours = AnsibleInstallation(collections=(run_root / "none",))
    ansible = ours if program is None else replace(ours, program=program)
    return LoadCheck(playbooks, ansible, worker=WORKER, run_root=run_root, deadline_s=deadline_s)


def starts(tmp_path: Path) -> int:
    """Return how often the program was started."""
    file = tmp_path / "starts"
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_our_own_ansible(playbooks: Path, run_root: Path) -> None:
    """A set loads in Ansible itself until something in it cannot; files of the check do not stay."""
    checked = check(playbooks, run_root)
    good = checked.first_error()
    role = playbooks / "roles" / "prestage" / "tasks" / "main.yml"
    role.parent.mkdir(parents=True)
    role.write_text(f"- nowhere.special.xml: {{secret: {SECRET}}}\n")
    (playbooks / PLAYBOOKS[list(PLAYBOOKS)[2]]).write_text("- hosts: all\n  roles: [prestage]\n")
    bad = checked.first_error()

    assert good is None
    assert bad is not None
    assert bad.startswith("roles/prestage/tasks/main.yml, line 1, needs the module nowhere.special.xml, which ")
    assert SECRET not in bad
    assert ["loaded-set-"] == [path.name[:11] for path in run_root.iterdir()]


@NEEDS_OLDER_ANSIBLE
def test_a_bare_include(playbooks: Path, run_root: Path) -> None:
    """A set of the first prestage loads in the Ansible that it needs; in another the sentence names that."""
    (playbooks / "more.yml").write_text("- debug: {msg: x}\n")
    (playbooks / "prestage_images.yml").write_text("- hosts: all\n  tasks:\n    - include: more.yml\n")

    assert check(playbooks, run_root, OLDER_ANSIBLE).first_error() is None
    assert (
        "prestage_images.yml, line 3, uses a bare 'include', which Ansible has not had since 2.16. Set"
        " PRESTAGER_ANSIBLE to the ansible-playbook of an Ansible before 2.16."
    ) == check(playbooks, run_root).first_error()


def test_a_set_is_loaded_once(playbooks: Path, run_root: Path, tmp_path: Path) -> None:
    """A set that loaded is loaded again when a file of it changes or it is asked for, not by the next process."""
    program = script(tmp_path, "echo 'playbook: x'")
    counts = []
    for change in (None, "roles/x/tasks/main.yml", "roles/x/tasks/main.yml"):
        if change:
            (playbooks / change).parent.mkdir(parents=True, exist_ok=True)
            (playbooks / change).write_text(f"# {len(counts)} {'x' * len(counts)}")
        assert check(playbooks, run_root, program).first_error() is None
        assert check(playbooks, run_root, program).first_error() is None
        counts.append(starts(tmp_path))
    check(playbooks, run_root, program).first_error(again=True)

    assert ([1, 2, 3], 4) == (counts, starts(tmp_path))


@pytest.mark.parametrize("change", ["collection", "program", "packages"])
def test_what_else_decides(playbooks: Path, run_root: Path, tmp_path: Path, change: str) -> None:
    """A collection that comes, another program, and packages that are installed make a set be loaded again."""
    program = script(tmp_path, "echo 'playbook: x'")
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    collections = tmp_path / "collections"
    for directory in (packages, collections):
        directory.mkdir(parents=True)
    ansible = AnsibleInstallation(program=program, collections=(collections,))
    checked = LoadCheck(playbooks, ansible, worker=WORKER, run_root=run_root)
    checked.first_error()
    match change:
        case "collection":
            (collections / "ansible_collections" / "a" / "b").mkdir(parents=True)
        case "program":
            script(tmp_path, "echo 'playbook: xy'")
        case _:
            (packages / "ansible_collections").mkdir()
    checked.first_error()

    assert 2 == starts(tmp_path)


def test_roles_behind_a_link(playbooks: Path, run_root: Path, tmp_path: Path) -> None:
    """Files of the set behind links count too, once each where links are circular; so does a link that is exchanged."""
    kept = {version: tmp_path / "kept" / version / "prestage" / "tasks" for version in ("1", "2")}
    for tasks in kept.values():
        tasks.mkdir(parents=True)
        (tasks / "main.yml").write_text("- debug: {msg: x}\n")
    (tmp_path / "kept" / "1" / "again").symlink_to(tmp_path / "kept")
    roles = playbooks / "roles"
    roles.symlink_to(tmp_path / "kept" / "1")
    checked = check(playbooks, run_root)
    found = [checked.fingerprint(), checked.fingerprint()]
    (kept["1"] / "main.yml").write_text("- nowhere: {}\n")
    found.append(checked.fingerprint())
    roles.unlink()
    roles.symlink_to(tmp_path / "kept" / "2")
    found.append(checked.fingerprint())

    assert (found[0], 3) == (found[1], len({*found}))


def test_an_error_is_not_remembered(playbooks: Path, run_root: Path, tmp_path: Path) -> None:
    """A set that did not load is loaded again at the next look."""
    checked = check(playbooks, run_root, script(tmp_path, "echo '[ERROR]: no'; exit 4"))

    assert ["Ansible cannot load the playbooks: no."] * 2 == [checked.first_error(), checked.first_error()]
    assert 2 == starts(tmp_path)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("exit 0", "is no Ansible that works: it ended with code 0 without a word."),
        ("echo hello", "is no Ansible that works: it ended with code 0, and printed last: hello."),
        (f"echo 'boom: password={SECRET}' >&2; exit 3", "ended with code 3, and printed last: boom: password=*"),
        (f"echo 'boom: password={SECRET * 40}' >&2; exit 3", "ended with code 3, and printed last: boom: password=*"),
        ("kill -9 $$", "is no Ansible that works: it ended with code -9 without a word."),
    ],
)
def test_a_program_that_is_no_ansible(playbooks: Path, run_root: Path, tmp_path: Path, body: str, told: str) -> None:
    """A program that is no Ansible, or whose Ansible is broken, is told with how it ended."""
    program = script(tmp_path, body)

    error = check(playbooks, run_root, program).first_error()

    assert error is not None
    assert error.startswith(f"{program} {told}" if told.startswith("is") else f"{program} is no Ansible that works: it")
    assert told in error
    assert error.endswith(SET_PROGRAM)
    assert SECRET not in error


def test_a_program_that_is_not_there(playbooks: Path, run_root: Path, tmp_path: Path) -> None:
    """A program that is missing, of a missing interpreter, or no program, is told with the setting that names it."""
    here = script(tmp_path, "")
    errors = [check(playbooks, run_root, tmp_path / "none").first_error()]
    here.write_text("#!/nowhere/python\n")
    errors.append(check(playbooks, run_root, here).first_error())
    here.write_bytes(b"\x00\x01\x02")
    errors.append(check(playbooks, run_root, here).first_error())
    here.chmod(0o600)
    errors.append(check(playbooks, run_root, here).first_error())
    here.unlink()
    here.symlink_to(here)
    errors.append(check(playbooks, run_root, here).first_error())

    missing = "is not there, or the interpreter in its first line is not."
    assert [f"{tmp_path / 'none'} {missing} {SET_PROGRAM}", f"{here} {missing} {SET_PROGRAM}"] == errors[:2]
    assert f"{here} cannot be run by this user: Exec format error. {SET_PROGRAM}" == errors[2]
    assert f"{here} cannot be run by this user: Permission denied. {SET_PROGRAM}" == errors[3]
    assert f"{here} cannot be run by this user: Too many levels of symbolic links. {SET_PROGRAM}" == errors[4]


def test_a_program_that_does_not_end(playbooks: Path, run_root: Path, tmp_path: Path) -> None:
    """A check that is not done in time is ended, with everything that it started."""
    program = script(tmp_path, "sleep 600 & sleep 600")

    error = check(playbooks, run_root, program, deadline_s=0.5).first_error()

    assert error is not None
    assert "did not load within 0.5 s" in error
    assert [] == marked(WORKER)
    assert [] == [*run_root.iterdir()]


def test_a_program_that_prints_without_end(playbooks: Path, run_root: Path, tmp_path: Path) -> None:
    """What a check prints is bounded, in the directory in memory as well."""
    error = check(playbooks, run_root, script(tmp_path, "exec yes password=x"), deadline_s=20).first_error()

    assert error is not None
    assert "is no Ansible that works" in error
    assert [] == [*run_root.iterdir()]


def test_the_environment_is_that_of_a_run(
    playbooks: Path, run_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of this process's environment reaches Ansible; sets of others may have conditions of older kinds."""
    monkeypatch.setenv("ANSIBLE_VERBOSITY", "4")
    monkeypatch.setenv("STRANGE", "x")
    check(playbooks, run_root, script(tmp_path, f"env > {tmp_path}/env; echo 'playbook: x'")).first_error()

    found = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert ("0", "True") == (found["ANSIBLE_VERBOSITY"], found["ANSIBLE_ALLOW_BROKEN_CONDITIONALS"])
    assert "STRANGE" not in found


def test_a_check_that_is_stopped(playbooks: Path, run_root: Path, tmp_path: Path) -> None:
    """After a stop no check goes on."""
    checked = check(playbooks, run_root, script(tmp_path, "exec sleep 600"))
    checked.stop()

    assert checked.first_error() is not None
    assert [] == marked(WORKER)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (f"{SECRET}\n", ", line 1, is no INI file that Ansible can read. Correct it."),
        (
            f"[defaults]\npassword = {SECRET}\n[defaults]\n",
            ", line 3, is no INI file that Ansible can read. Correct it.",
        ),
        (
            f"[defaults]\ntimeout = {SECRET}\n",
            " has a value for DEFAULT_TIMEOUT that Ansible does not take. Correct it.",
        ),
    ],
    ids=["section", "twice", "value"],
)
@pytest.mark.parametrize(
    "program", [None, pytest.param(OLDER_ANSIBLE, marks=NEEDS_OLDER_ANSIBLE)], ids=["ours", "older"]
)
def test_a_broken_configuration_file(
    playbooks: Path, run_root: Path, tmp_path: Path, program: Path | None, content: str, told: str
) -> None:
    """A configuration file that Ansible does not take is told with its line, and nothing of it is quoted."""
    config = tmp_path / "ansible.cfg"
    config.write_text(content)
    ours = AnsibleInstallation(config=config)
    ansible = ours if program is None else replace(ours, program=program)
    found = LoadCheck(playbooks, ansible, worker=WORKER, run_root=run_root).first_error()

    assert f"PRESTAGER_ANSIBLE_CONFIG {config}{told}" == found


class TestSshpass:
    """An Ansible before 2.19 logs in with passwords by the program sshpass."""

    @pytest.fixture(autouse=True)
    def _without_programs(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Leave nothing on the path of a run but what is in `tmp_path`."""
        monkeypatch.setattr(ansible_installation, "_SYSTEM_PATH", str(tmp_path))

    @NEEDS_OLDER_ANSIBLE
    def test_an_older_ansible_without_it(self, playbooks: Path, run_root: Path, tmp_path: Path) -> None:
        """A set does not count as loaded before it is there; then it does, and no more when it goes."""
        checked = check(playbooks, run_root, OLDER_ANSIBLE)
        found = [checked.first_error()]
        sshpass = tmp_path / "sshpass"
        sshpass.touch(mode=0o755)
        found.append(checked.first_error())
        sshpass.unlink()
        found.append(checked.first_error())

        assert found[0] == (
            f"{OLDER_ANSIBLE} is Ansible 2.10.17, which needs the program sshpass to log in at sites, and there is"
            " none. Install sshpass, or set PRESTAGER_ANSIBLE to the ansible-playbook of Ansible 2.19 or later."
        )
        assert [None, found[0]] == found[1:]

    @pytest.mark.parametrize("printed", ["ansible-playbook [core 2.19.0]", "ansible-playbook [core 3.0.1b1]", "hello"])
    def test_others_without_it(self, playbooks: Path, run_root: Path, tmp_path: Path, printed: str) -> None:
        """Ansible since 2.19, and a program that does not say what it is, need none."""
        program = script(tmp_path, f"echo 'playbook: x'; echo '{printed}'")

        assert check(playbooks, run_root, program).first_error() is None

    @pytest.mark.parametrize("printed", ["ansible-playbook 2.9.27", "ansible-playbook [core 2.18.1]"])
    def test_versions_that_need_it(self, playbooks: Path, run_root: Path, tmp_path: Path, printed: str) -> None:
        """Both ways in which Ansible writes its version are known."""
        program = script(tmp_path, f"echo 'playbook: x'; echo '{printed}'")

        assert "needs the program sshpass" in str(check(playbooks, run_root, program).first_error())

    def test_ours_needs_none(self, playbooks: Path, run_root: Path) -> None:
        """Our own Ansible is not even asked."""
        assert check(playbooks, run_root).first_error() is None
