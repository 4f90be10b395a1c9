"""Space on the way to a site is judged in the file system that content passes through."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from ansible.module_utils.prestage.errors import PrestageError
from ansible.module_utils.prestage.results import sentence
from ansible.module_utils.prestage.space import nearest_directory

from tests.unit.playbooks.playbook_modules import load_work


def test_a_transfer_without_room_is_refused(tmp_path: Path) -> None:
    """The sentence has what is needed and available, the directory, and what to do; nothing is made."""
    directory = tmp_path / ".ansible" / "tmp"

    with pytest.raises(PrestageError) as refused:
        load_work("prestage_space")({"directory": str(directory), "bytes": 1 << 60})

    assert f"Not enough space for the transfer in {tmp_path}: 1048576.0 TiB needed" in str(refused.value)
    assert "available. Free some space, or set ansible_remote_tmp" in str(refused.value)
    assert refused.value.failure_class == "space"
    assert not directory.exists()


def test_a_transfer_that_fits_changes_nothing(tmp_path: Path) -> None:
    """With room the answer is that nothing changed."""
    assert {"changed": False} == load_work("prestage_space")({"directory": str(tmp_path), "bytes": 1})


def test_the_nearest_directory_exists(tmp_path: Path) -> None:
    """Of a path that is not there yet the part that exists counts, for there it will be made."""
    assert str(tmp_path) == nearest_directory(str(tmp_path / "a" / "b"))
    assert str(tmp_path) == nearest_directory(str(tmp_path))


def test_a_full_disk_is_said_in_numbers(tmp_path: Path) -> None:
    """What fills up in spite of the check is named with what is free and what there is."""
    text = sentence(OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "a" / "file")))

    assert f"No space left while writing {tmp_path}/a/file (" in text
    assert "iB free). Free some space" in text
