"""The settings of an installation that knows its callers by Keystone."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.settings import Settings

RIGHT = {
    "AUTH": "keystone",
    "KEYSTONE_AUTH_URL": "http://192.168.204.1:5000/v3",
    "KEYSTONE_USERNAME": "prestager",
    "KEYSTONE_PASSWORD": "hunter2",
    "KEYSTONE_PROJECT": "services",
}


@pytest.fixture(autouse=True)
def right_settings(prestager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that are right."""
    for name, value in RIGHT.items():
        monkeypatch.setenv(f"PRESTAGER_{name}", value)


def test_right(prestager) -> None:
    """With nothing wrong there is nothing to complain about, and the password is not shown."""
    assert 0 == prestager("config", "check").code

    shown = prestager("config", "show").out

    assert "http://192.168.204.1:5000/v3" in shown
    assert "hunter2" not in shown


def test_everything_missing(prestager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting that is needed is named, and nothing else is complained about."""
    for name in RIGHT.keys() - {"AUTH"}:
        monkeypatch.delenv(f"PRESTAGER_{name}")

    ended = prestager("config", "check")

    assert 1 == ended.code
    assert {
        "PRESTAGER_KEYSTONE_AUTH_URL is needed with PRESTAGER_AUTH=keystone.",
        "PRESTAGER_KEYSTONE_USERNAME is needed with PRESTAGER_AUTH=keystone.",
        "PRESTAGER_KEYSTONE_PROJECT is needed with PRESTAGER_AUTH=keystone.",
        "PRESTAGER_KEYSTONE_PASSWORD_FILE or PRESTAGER_KEYSTONE_PASSWORD is needed with PRESTAGER_AUTH=keystone.",
    } == {line.removeprefix("  - ") for line in ended.err.splitlines() if line.startswith("  - ")}


def test_all_faults_at_once(prestager, monkeypatch: pytest.MonkeyPatch) -> None:
    """One run lists every fault, and shows no password."""
    faulty = {
        "KEYSTONE_AUTH_URL": "http://admin:hunter3@keystone:5000/v3",
        "KEYSTONE_CA_FILE": __file__,
        "KEYSTONE_TIMEOUT_S": "30",
        "KEYSTONE_CACHE_S": "-1",
        "KEYSTONE_PASSWORD_FILE": "/nowhere",
        "SLOTS": "0",
    }
    for name, value in faulty.items():
        monkeypatch.setenv(f"PRESTAGER_{name}", value)

    ended = prestager("config", "check")

    assert [1, 6] == [ended.code, ended.err.count("  - ")]
    assert "PRESTAGER_KEYSTONE_AUTH_URL is not the address of a Keystone" in ended.err
    assert f"PRESTAGER_KEYSTONE_CA_FILE names {__file__}, from which no certificate can be read" in ended.err
    assert "PRESTAGER_KEYSTONE_TIMEOUT_S must be less than or equal to 4.5." in ended.err
    assert "PRESTAGER_KEYSTONE_CACHE_S must be greater than or equal to 0." in ended.err
    assert "PRESTAGER_KEYSTONE_PASSWORD_FILE is set beside PRESTAGER_KEYSTONE_PASSWORD" in ended.err
    assert "hunter" not in ended.err + ended.out


def test_password_in_a_file(prestager, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The password may be in a file, which is then where it comes from."""
    file = tmp_path / "password"
    file.write_text("hunter4\n")
    monkeypatch.delenv("PRESTAGER_KEYSTONE_PASSWORD")
    monkeypatch.setenv("PRESTAGER_KEYSTONE_PASSWORD_FILE", str(file))

    password = Settings().keystone_password

    assert password is not None
    assert "hunter4" == password.get_secret_value()
    assert "hunter4" not in prestager("config", "show").out


@pytest.mark.parametrize("content", ["", "\n", None])
def test_no_password_in_the_file(
    prestager, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    """A file that is missing or empty is a fault."""
    file = tmp_path / "password"
    if content is not None:
        file.write_text(content)
    monkeypatch.delenv("PRESTAGER_KEYSTONE_PASSWORD")
    monkeypatch.setenv("PRESTAGER_KEYSTONE_PASSWORD_FILE", str(file))

    ended = prestager("config", "check")

    assert 1 == ended.code
    assert f"PRESTAGER_KEYSTONE_PASSWORD_FILE names {file}" in ended.err


def test_not_needed_with_tokens(prestager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who knows callers by tokens needs nothing of Keystone."""
    for name in RIGHT:
        monkeypatch.delenv(f"PRESTAGER_{name}")

    assert 0 == prestager("config", "check").code
