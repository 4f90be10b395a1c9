"""The directory of a demonstration."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from cli.demo.directory import Workplace, environment
from service.errors import CommandError
from tests.support.waiting import PATIENCE_S


def test_a_former_demonstration_is_removed(tmp_path: Path) -> None:
    """What a demonstration left is replaced by the next one."""
    place = Workplace(tmp_path / "demo")
    place.prepare()
    place.service_log.touch()

    place.prepare()

    assert not place.service_log.exists()


def test_other_files_are_safe(tmp_path: Path) -> None:
    """A directory with other files in it is never emptied."""
    (tmp_path / "thesis.tex").touch()

    with pytest.raises(CommandError, match="holds other files"):
        Workplace(tmp_path).prepare()
    assert (tmp_path / "thesis.tex").exists()


def test_only_the_owner_reads_the_token(tmp_path: Path) -> None:
    """The token's file is private."""
    place = Workplace(tmp_path / "demo")
    place.prepare()
    place.keep_token("prst_x")

    assert 0o600 == stat.S_IMODE(place.token_file.stat().st_mode)


@pytest.mark.parametrize("name", ["it's", "a b", "$HOME", "`x`", "a?b", "a\nb"])
def test_settings_of_any_directory(tmp_path: Path, name: str) -> None:
    """A shell reads the settings as they are, whatever characters the directory's name has."""
    place = Workplace(tmp_path / name)
    place.prepare()
    place.write_settings({"PRESTAGER_DATA_DIR": str(place.root / "data")})

    told = subprocess.run(
        ["/bin/sh", "-c", '. "$0"; printf %s "$PRESTAGER_DATA_DIR"', str(place.settings_file)],
        check=True,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    ).stdout

    assert str(tmp_path / name / "data") == told


def test_settings_of_the_caller_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A demonstration never touches the database that the shell's settings name."""
    monkeypatch.setenv("PRESTAGER_DATABASE_URL", "postgresql://precious")
    monkeypatch.setenv("HOME", "/home/somebody")

    found = environment({"PRESTAGER_RELEASE": "23.09"})

    assert "PRESTAGER_DATABASE_URL" not in found
    assert ("23.09", "/home/somebody") == (found["PRESTAGER_RELEASE"], found["HOME"])
