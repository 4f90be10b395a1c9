"""Rules of the private directories."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.private_dir import leftovers, prepare_run_root, private_dir
from runner.processes import marker_value


def test_directories_are_for_the_owner_only(tmp_path: Path) -> None:
    """A private directory and all in it have mode 0700; removing twice is fine."""
    place = private_dir(tmp_path, "worker", "abc")
    place.create()

    assert {0o700} == {path.stat().st_mode & 0o777 for path in (place.path, place.tmp, place.control)}

    place.remove()
    place.remove()

    assert not place.path.exists()


def test_leftovers_are_told_apart_by_worker(tmp_path: Path) -> None:
    """A worker finds its own directories, not those of a worker whose name begins alike."""
    mine, other = private_dir(tmp_path, "worker", "abc"), private_dir(tmp_path, "worker-2", "abc")
    mine.create()
    other.create()

    assert [mine] == leftovers(tmp_path, "worker")


def test_run_root_must_be_short(tmp_path: Path) -> None:
    """A path with no room for the sockets of ssh and Ansible below it is refused."""
    with pytest.raises(OSError, match="too long for sockets"):
        prepare_run_root(tmp_path / ("x" * 50))


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory with a short path."""
    with tempfile.TemporaryDirectory(prefix="pt-", dir="/tmp") as path:
        yield Path(path)


def test_run_root_is_closed_to_others(short_path: Path) -> None:
    """The run root is created or closed to mode 0700."""
    root = short_path / "open"
    root.mkdir(mode=0o755)

    assert 0o700 == prepare_run_root(root).stat().st_mode & 0o777


def test_foreign_run_root_is_refused(short_path: Path) -> None:
    """A link that somebody has put in the place of the run root is not followed."""
    (short_path / "elsewhere").mkdir()
    (short_path / "link").symlink_to(short_path / "elsewhere")
    with pytest.raises(PermissionError):
        prepare_run_root(short_path / "link")


@pytest.mark.parametrize("name", ["", "a:b", "a b", "a/b", "x" * 201])
def test_worker_names_are_checked(name: str) -> None:
    """A name that would make markers or files ambiguous is refused."""
    with pytest.raises(ValueError, match="worker's name"):
        marker_value(name, "abc")
