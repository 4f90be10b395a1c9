"""Room on disk, as doctor judges it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from cli.doctor import machine_checks
from service.settings import Settings


def data_room(directory: Path, monkeypatch: pytest.MonkeyPatch, **given: Any) -> tuple[str, str]:
    """Return level and text of the finding on a disk that is all but full."""
    monkeypatch.setattr(machine_checks.shutil, "disk_usage", Mock(return_value=Mock(free=1024)))
    findings = machine_checks.room_findings(Settings(data_dir=directory, **given))
    found = next(finding for finding in findings if finding.subject == "data room")
    return str(found.level), found.text


def test_a_full_disk_fails_where_the_database_is_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An embedded database needs room in the data directory."""
    level, text = data_room(tmp_path, monkeypatch)

    assert "fail" == level
    assert "make room" in text


def test_a_database_on_a_server_needs_no_room_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The small data directory of a container is no failure: the database is elsewhere."""
    url = "postgresql+psycopg://prestager@postgres/prestager"

    assert "ok" == data_room(tmp_path, monkeypatch, database_url=url)[0]
