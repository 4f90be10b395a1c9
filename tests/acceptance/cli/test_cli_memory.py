"""The memory of every command is closed, for it may hold passwords and keys."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.unprivileged import needs_two_users, python_as_user
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[3]
PROGRAMS = {
    "prestager": ["-m", "cli.main", "seal", "--source", "/a", "--id", "1"],
    "dramatiq": ["-c", "from service.dramatiq_process import set_up\ntry: set_up()\nexcept SystemExit: input()"],
}


@pytest.mark.parametrize("arguments", PROGRAMS.values(), ids=PROGRAMS)
def test_no_core_files_and_no_looks(arguments: list[str]) -> None:
    """A process that knows the key cannot leave a core file, and its user cannot read its memory."""
    needs_two_users()
    key = base64.b64encode(b"k" * 32).decode()
    process = subprocess.Popen(
        python_as_user(*arguments),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PRESTAGER_SECRET_KEY": key},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    place = Path(f"/proc/{process.pid}")

    def core_limit() -> list[str]:
        [line] = [line for line in (place / "limits").read_text().splitlines() if line.startswith("Max core file")]
        return line.split()[4:6]

    try:
        wait_for(lambda: core_limit() == ["0", "0"] and (place / "environ").stat().st_uid == 0)
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
