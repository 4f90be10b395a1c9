"""Files and directories with secrets that other users can read are warned of."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.file_checks import SECRET_FILES, file_right_warnings
from service.settings import Settings
from tests.support.server_certificates import make_certificate


@pytest.fixture
def place() -> Iterator[Path]:
    """Give a directory that every user can enter."""
    path = Path(tempfile.mkdtemp(prefix="pt-", dir="/dev/shm"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize(("mode", "told"), [(0o700, False), (0o711, True), (0o755, True), (0o770, False)])
def test_data_directory(place: Path, mode: int, told: bool) -> None:
    """A data directory that every user can enter or read is warned of, with the command that closes it."""
    data = place / "data"
    data.mkdir()
    data.chmod(mode)
    found = list(file_right_warnings(Settings(data_dir=data)))

    assert told == bool(found)
    assert all("can be read by every user" in text and f"chmod 700 {data}" in text for text in found)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o600, 0o640])
@pytest.mark.parametrize(
    "name",
    ["secret_key_file", "site_password_file", "controller_password_file", "database_url_file", "broker_url_file"],
)
def test_secret_files(place: Path, name: str, mode: int) -> None:
    """A file with a secret that every user can read or write is warned of; one for its own group is not."""
    file = place / "secret"
    file.write_text({"database_url_file": "sqlite:////x", "broker_url_file": "amqp://a:b@c"}.get(name, "secret"))
    file.chmod(mode)
    found = list(file_right_warnings(Settings(data_dir=place / "data", **{name: file})))

    assert bool(mode & 0o007) == bool(found)
    assert all(text.startswith(f"PRESTAGER_{name.upper()} {file} can be read by every user") for text in found)


def test_the_key_of_the_api(place: Path) -> None:
    """The private key of the API's certificate is such a file; the certificate itself is for everybody."""
    certificate, key = make_certificate(place)
    settings = Settings(data_dir=place / "data", tls_certificate_file=certificate, tls_key_file=key)
    closed = list(file_right_warnings(settings))
    key.chmod(0o644)

    assert [] == closed
    assert [f"PRESTAGER_TLS_KEY_FILE {key}"] == [
        text.partition(" can be read by every user")[0] for text in file_right_warnings(settings)
    ]


def test_no_file_is_forgotten() -> None:
    """Each setting that names a file is one of a secret, or known to be none."""
    files = {name for name in Settings.model_fields if name.endswith("_file")}
    harmless = {
        *("tls_certificate_file", "keystone_ca_file", "site_ca_file", "webhook_ca_file"),
        *("site_urls_file", "ready_file"),
    }

    assert files == harmless | set(SECRET_FILES)


def test_a_key_that_was_made_by_the_program(place: Path) -> None:
    """The key in the data directory is looked at too, where no other is set."""
    data = place / "data"
    data.mkdir()
    (data / "secret.key").write_text("x")
    found = list(file_right_warnings(Settings(data_dir=data)))

    assert ["PRESTAGER_DATA_DIR", "The secret key"] == [text.partition(f" {data}")[0] for text in found]


def test_what_nobody_can_reach(place: Path) -> None:
    """Rights do not matter below a directory that others cannot enter."""
    data = place / "own/data"
    data.mkdir(parents=True)
    data.chmod(0o755)
    (place / "own").chmod(0o700)

    assert [] == list(file_right_warnings(Settings(data_dir=data)))


def test_a_foreign_group(place: Path) -> None:
    """A file that the users of another group than the service's can read is warned of."""
    if os.getuid():
        pytest.skip("only root gives files away")
    file = place / "password"
    file.touch()
    file.chmod(0o640)
    os.chown(file, 0, 65534)
    found = list(file_right_warnings(Settings(data_dir=place / "data", site_password_file=file)))

    assert 1 == len(found)
    assert found[0].startswith(f"PRESTAGER_SITE_PASSWORD_FILE {file} can be read by the users of group 65534.")


def test_where_a_link_leads(place: Path) -> None:
    """What counts is the file, not the directory of a link to it."""
    own = place / "own"
    own.mkdir(mode=0o700)
    (place / "key").write_text("secret")
    (own / "key").symlink_to(place / "key")
    (place / "data").mkdir(mode=0o755)
    (own / "data").symlink_to(place / "data")
    found = list(file_right_warnings(Settings(data_dir=own / "data", site_password_file=own / "key")))

    assert [True, True] == ["can be read by every user" in text for text in found]


def test_a_file_of_another_user(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose owner is neither this user nor root is warned of, for its owner can read it."""
    file = place / "password"
    file.touch(mode=0o600)
    if os.getuid():
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        owner = os.getuid()
    else:
        owner = 65534
        os.chown(file, owner, 0)
        monkeypatch.setattr(os, "geteuid", lambda: 65533)
    found = list(file_right_warnings(Settings(data_dir=place / "data", site_password_file=file)))

    assert [f"PRESTAGER_SITE_PASSWORD_FILE {file} can be read by user {owner}, who owns it"] == [
        text.partition(". Close")[0] for text in found
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('secret_key = "x"', True),
        ('site_password = "x"', True),
        ('broker_url = "amqp://user:pw@host"', True),
        ('broker_url = "amqp://host"', False),
        ('secret_key_file = "/x"', False),
        ("no TOML", False),
    ],
)
def test_the_file_of_settings(place: Path, monkeypatch: pytest.MonkeyPatch, line: str, told: bool) -> None:
    """A file of settings that holds a secret itself is looked at like a file of a secret."""
    settings = Settings(data_dir=place / "data")
    file = place / "prestager.toml"
    file.write_text(line)
    file.chmod(0o644)
    monkeypatch.setenv("PRESTAGER_CONFIG", str(file))
    open_to_all = list(file_right_warnings(settings))
    file.chmod(0o640)

    assert [] == list(file_right_warnings(settings))
    assert told == any(f"PRESTAGER_CONFIG {file} holds a secret" in text for text in open_to_all)


def test_config_check_and_doctor_say_it(
    prestager, data_dir: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`config check` and `doctor` warn of it and do not fail for it."""
    data = place / "data"
    data.mkdir()
    data.chmod(0o755)
    monkeypatch.setenv("PRESTAGER_DATA_DIR", str(data))
    checked = prestager("config", "check")
    looked = prestager("doctor")

    assert (0, 0) == (checked.code, looked.code)
    assert f"Warning: PRESTAGER_DATA_DIR {data} can be read by every user" in checked.err
    assert "can be read by every user" in " ".join(looked.out.split())
