"""`prestager config`."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

import pytest

from tests.support.foreign_playbooks import newer_set

PLAYBOOKS = Path(__file__).parents[3] / "playbooks"


@pytest.fixture
def controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A controller that has everything."""
    for variable, directory in (("DEPLOY", "deploy"), ("FEED", "feed")):
        (tmp_path / directory).mkdir()
        monkeypatch.setenv(f"PRESTAGER_{variable}_DIR", str(tmp_path / directory))
    (tmp_path / "feed" / "rel-23.09").mkdir()
    return tmp_path


def test_right_settings(prestager, controller: Path) -> None:
    """With nothing wrong there is nothing to complain about."""
    ended = prestager("config", "check")

    assert (0, "The settings are right.\n", "") == (ended.code, ended.out, ended.err)


def test_all_faults_at_once(prestager, monkeypatch: pytest.MonkeyPatch) -> None:
    """One run lists every fault, by the name of its variable, and shows no value."""
    faulty = {
        "RELEASE": "hunter2",
        "LISTEN": "hunter2",
        "SLOTS": "0",
        "SECRET_KEY": "hunter2",
        "SECRET_KEY_FILE": "/nowhere",
        "DATABASE_URL": "hunter2",
        "PLAYBOOKS_DIR": "/nowhere",
        "RELAESE": "23.09",
    }
    for name, value in faulty.items():
        monkeypatch.setenv(f"PRESTAGER_{name}", value)

    ended = prestager("config", "check")

    assert 1 == ended.code
    assert "PRESTAGER_RELEASE must be MM.mm, such as 23.09." in ended.err
    assert "PRESTAGER_LISTEN must be ADDRESS:PORT" in ended.err
    assert "PRESTAGER_SLOTS must be greater than or equal to 1." in ended.err
    assert "Set either PRESTAGER_SECRET_KEY or PRESTAGER_SECRET_KEY_FILE, not both." in ended.err
    assert "PRESTAGER_DATABASE_URL is not a database URL" in ended.err
    assert "PRESTAGER_PLAYBOOKS_DIR /nowhere is not a directory." in ended.err
    assert "PRESTAGER_RELAESE is not a setting; did you mean PRESTAGER_RELEASE?" in ended.err
    assert "hunter2" not in ended.err + ended.out
    assert 7 == ended.err.count("  - ")


def test_missing_release(prestager, controller: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the controller's release nothing can be started."""
    monkeypatch.delenv("PRESTAGER_RELEASE")

    ended = prestager("config", "check")

    assert 1 == ended.code
    assert "PRESTAGER_RELEASE is not set" in ended.err


def test_missing_playbooks(prestager, controller: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each playbook that is not there is named."""
    own = controller / "playbooks"
    own.mkdir()
    shutil.copy(PLAYBOOKS / "prestage_images.yml", own)
    monkeypatch.setenv("PRESTAGER_PLAYBOOKS_DIR", str(own))

    ended = prestager("config", "check")

    assert "has no readable prepare_prestage_packages.yml" in ended.err
    assert "has no readable prestage_sw_packages.yml" in ended.err
    assert "prestage_images.yml" not in ended.err


def test_upstreams_own_playbooks_need_no_prepare(prestager, controller: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set of StarlingX's without a prepare playbook is complete."""
    monkeypatch.setenv("PRESTAGER_PLAYBOOKS_DIR", str(newer_set(controller / "playbooks").directory))

    assert 0 == prestager("config", "check").code


def test_playbooks_that_do_not_load(prestager, controller: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Ansible cannot load is told with the remedy, by the check and by the doctor, and nothing of the file."""
    own = newer_set(controller / "playbooks").directory
    monkeypatch.setenv("PRESTAGER_PLAYBOOKS_DIR", str(own))
    (own / "prestage_images.yml").write_text("- hosts: all\n  tasks:\n    - nowhere.special.xml: {password: hunter2}\n")

    ended, doctor = prestager("config", "check"), prestager("doctor")

    told = "prestage_images.yml, line 3, needs the module nowhere.special.xml, which this Ansible does not have."
    assert (1, 1) == (ended.code, doctor.code)
    assert f"{told} Install prestager[starlingx], or set PRESTAGER_ANSIBLE_COLLECTIONS" in ended.err
    assert told in doctor.out
    assert "hunter2" not in ended.err + ended.out + doctor.out


def test_an_ansible_that_is_not_there(prestager, controller: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is missing is told with its setting, once."""
    monkeypatch.setenv("PRESTAGER_ANSIBLE", "/nowhere/bin/ansible-playbook")

    ended = prestager("config", "check")

    assert 1 == ended.code
    assert 1 == ended.err.count("  - ")
    assert "PRESTAGER_ANSIBLE" in ended.err


@pytest.mark.parametrize("name", ["missing.cfg", "feed"])
def test_missing_configuration_of_ansible(
    prestager, controller: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A file of settings for Ansible that cannot be read is a fault: Ansible would read another one instead."""
    monkeypatch.setenv("PRESTAGER_ANSIBLE_CONFIG", str(controller / name))
    ended = prestager("config", "check")

    assert (1, 1) == (ended.code, ended.err.count("  - "))
    assert f"PRESTAGER_ANSIBLE_CONFIG {controller / name} is no file that this user can read;" in ended.err


def test_missing_collections(prestager, controller: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory of collections that is not there is a warning."""
    monkeypatch.setenv("PRESTAGER_ANSIBLE_COLLECTIONS", f"{controller}:{controller}/missing")
    ended = prestager("config", "check")

    assert (0, 1) == (ended.code, ended.err.count("PRESTAGER_ANSIBLE_COLLECTIONS"))
    assert f"{controller}/missing is no directory" in ended.err


def test_what_may_come_later_is_a_warning(prestager, controller: Path) -> None:
    """A feed that was not uploaded yet is no reason not to start."""
    (controller / "feed" / "rel-23.09").rmdir()
    (controller / "deploy").rmdir()

    ended = prestager("config", "check")

    assert 0 == ended.code
    assert "Warning: There is no feed of release 23.09 yet" in ended.err
    assert "Warning: PRESTAGER_DEPLOY_DIR" in ended.err


def test_data_directory_in_the_way(prestager, controller: Path, data_dir: Path) -> None:
    """A file where the data directory should be is a fault."""
    data_dir.touch()

    assert f"PRESTAGER_DATA_DIR {data_dir} is not a directory." in prestager("config", "check").err


@pytest.mark.parametrize("key", ["hunter2", base64.b64encode(b"short").decode()])
def test_unusable_key(prestager, controller: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """A key of the wrong form is told without the key."""
    monkeypatch.setenv("PRESTAGER_SECRET_KEY", key)

    ended = prestager("config", "check")

    assert 1 == ended.code
    assert "PRESTAGER_SECRET_KEY must hold 32 bytes in base64" in ended.err
    assert key not in ended.err


def test_check_changes_nothing(prestager, controller: Path, data_dir: Path) -> None:
    """A check leaves no file behind."""
    prestager("config", "check")

    assert not data_dir.exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "which cannot be read: No such file or directory."),
        ("slots = ", "which is not TOML"),
        ("slotz = 3\n", "slotz in {file}, line 1, is not a setting; did you mean slots?"),
        (
            "[rollout]\nmax-failure = 3\n",
            "[rollout] in {file}: unknown option: max-failure; did you mean max-failures?",
        ),
        ("[rollout]\non-budget = 'hunter2'\n", "[rollout] in {file}: on-budget must be one of pause, stop."),
        ("[rollout.timeouts]\nsite-s = 0\n", "[rollout] in {file}: timeouts.site-s must be a whole number from 1 to"),
        ("[rollout]\nramp = {start = 1}\n", "[rollout] in {file}: rollout.ramp needs rollout.mode window"),
        ("rollout = 'window'\n", "[rollout] in {file}: must be a table in the file"),
        ("slots = 0\n", "PRESTAGER_SLOTS (slots in {file}, line 1) must be greater"),
    ],
    ids=["missing", "broken", "unknown", "option", "choice", "limit", "conflict", "text", "faulty"],
)
def test_faulty_file(
    prestager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, complaint: str
) -> None:
    """What is wrong with the file of settings is told as what is wrong with a variable."""
    file = tmp_path / "prestager.toml"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("PRESTAGER_CONFIG", str(file))

    ended = prestager("config", "check")

    assert 1 == ended.code
    assert complaint.format(file=file) in ended.err
    assert "hunter2" not in ended.err


def test_a_table_is_no_variable(prestager, controller: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options of a rollout in the environment are told that they belong into the file."""
    monkeypatch.setenv("PRESTAGER_ROLLOUT", '{"mode": "window"}')

    ended = prestager("config", "check")

    assert 1 == ended.code
    assert "PRESTAGER_ROLLOUT must be a table in the file that PRESTAGER_CONFIG names, [rollout]" in ended.err


def test_show_has_the_options_of_a_rollout(prestager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of the installation is shown as it stands in the file, with the file."""
    file = tmp_path / "prestager.toml"
    file.write_text('slots = 3\n[rollout]\nmax-failures = "10%"\ntimeouts = {site-s = 60}\n')
    monkeypatch.setenv("PRESTAGER_CONFIG", str(file))

    (line,) = [one for one in prestager("config", "show").out.splitlines() if one.startswith("[rollout]")]

    assert '{"max-failures": "10%", "timeouts": {"site-s": 60}}' in line
    assert line.endswith(str(file))


def test_show_tells_where_values_come_from(prestager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting has its source: a variable wins over the file, and the file over the default."""
    file = tmp_path / "prestager.toml"
    file.write_text('ssh_user = "from-file"\nslots = 3\n')
    monkeypatch.setenv("PRESTAGER_CONFIG", str(file))
    monkeypatch.setenv("PRESTAGER_SLOTS", "4")

    lines = [line.split() for line in prestager("config", "show").out.splitlines()]

    assert ["PRESTAGER_SLOTS", "4", "environment"] in lines
    assert ["PRESTAGER_SSH_USER", "from-file", str(file)] in lines
    assert ["PRESTAGER_MAX_ATTEMPTS", "3", "default"] in lines


def test_show_hides_secrets(prestager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a key nor a password of the database is printed, in whichever part of the URL."""
    monkeypatch.setenv("PRESTAGER_SECRET_KEY", "hunter2-key")
    monkeypatch.setenv("PRESTAGER_DATABASE_URL", "postgresql://user:hunter2-pass@host/db?sslpassword=hunter2-ssl")

    ended = prestager("config", "show")

    assert 0 == ended.code
    assert "user:***@host/db" in ended.out
    assert "hunter2" not in ended.out + ended.err
