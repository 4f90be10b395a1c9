"""Addresses with passwords may come from files."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from service.key_file import load_sealer
from service.load_settings import examine_settings, shown_settings
from service.settings import Settings

URL = "amqp://user:hidden@broker:5672/%2F"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give a file with a broker's address, as an editor leaves it."""
    path = tmp_path / "broker-url"
    path.write_text(f"{URL}\n")
    return path


def test_a_file_holds_the_address(file: Path) -> None:
    """The content of the file is the address; the line break at its end is not part of it."""
    settings = Settings(broker_url_file=file)

    assert settings.broker_url is not None
    assert URL == settings.broker_url.get_secret_value()


def test_one_of_the_two(file: Path) -> None:
    """An address and a file with one are too much."""
    with pytest.raises(ValidationError, match="set only one of the two"):
        Settings(broker_url=URL, broker_url_file=file)  # type: ignore[arg-type]


def test_faults_name_the_file_and_not_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is missing, and one with something else in it, are told by the variable; both at once."""
    (tmp_path / "wrong").write_text("mysql://user:hidden@host/db")
    monkeypatch.setenv("PRESTAGER_DATABASE_URL_FILE", str(tmp_path / "wrong"))
    monkeypatch.setenv("PRESTAGER_BROKER_URL_FILE", str(tmp_path / "missing"))

    settings, faults = examine_settings()

    assert settings is not None
    assert 2 == len(faults)
    assert "PRESTAGER_DATABASE_URL_FILE names" in faults[0]
    assert "use sqlite or postgresql" in faults[0]
    assert "which cannot be read: No such file or directory" in faults[1]
    assert "hidden" not in " ".join(faults)


def test_show_redacts_what_a_file_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """The settings are shown without passwords, with the file that they came from."""
    (tmp_path / "database-url").write_text("postgresql+psycopg://user:hidden@host/db")
    monkeypatch.setenv("PRESTAGER_DATABASE_URL_FILE", str(tmp_path / "database-url"))
    monkeypatch.setenv("PRESTAGER_BROKER_URL_FILE", str(file))

    shown = {one.variable: one for one in shown_settings(Settings())}

    assert "postgresql+psycopg://user:***@host/db" == shown["PRESTAGER_DATABASE_URL"].value
    assert str(tmp_path / "database-url") == shown["PRESTAGER_DATABASE_URL"].source
    assert "********" == shown["PRESTAGER_BROKER_URL"].value
    assert "environment" == shown["PRESTAGER_BROKER_URL_FILE"].source


def test_the_key_is_where_the_program_makes_it(tmp_path: Path) -> None:
    """The path that is told of the key is the one where it is made."""
    settings = Settings(data_dir=tmp_path)
    load_sealer(settings)

    assert settings.key_path.is_file()
