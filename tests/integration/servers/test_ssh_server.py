"""The SSH server of tests."""

from __future__ import annotations

import pwd
import subprocess
import sys
from pathlib import Path

from tests.support.ssh_server import remove_leftovers, ssh_server

ROOT = Path(__file__).parents[3]
SERVE = """
from tests.support.ssh_server import ssh_server
with ssh_server() as server:
    print(server.user, flush=True)
    input()
"""


def is_there(user: str) -> bool:
    """Return whether the machine has a user."""
    return any(entry.pw_name == user for entry in pwd.getpwall())


def test_what_a_killed_test_left_is_removed() -> None:
    """User, rules of sudo, files and server of a test that was killed are gone when another one starts; others stay."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as killed:
        assert killed.stdout is not None
        user = killed.stdout.readline().strip()
        killed.kill()
    place = Path(pwd.getpwnam(user).pw_dir).parent

    with ssh_server() as server:
        assert not is_there(user)
        assert not place.exists()
        assert not Path(f"/etc/sudoers.d/prestager-test-{user.removeprefix('prestage')}").exists()
        assert "" == subprocess.run(["pgrep", "-f", str(place)], capture_output=True, text=True, check=False).stdout
        remove_leftovers()
        assert is_there(server.user)
    assert not is_there(server.user)
