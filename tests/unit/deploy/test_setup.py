"""bin/setup on a bare machine: what it installs, and what it says where it may not."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
# What any Debian has.
BASICS = ("awk", "bash", "cat", "cut", "dirname", "env", "mktemp", "rm", "sha256sum", "touch")
ENOUGH = "#!/bin/bash\nexit 0\n"


class Machine:
    """A machine with a checkout and next to no programs."""

    def __init__(self, root: Path, *, user_id: int) -> None:
        self.programs = root / "bin"
        self.programs.mkdir()
        for name in BASICS:
            (self.programs / name).symlink_to(shutil.which(name) or f"/bin/{name}")
        self.add("id", f"#!/bin/bash\necho {user_id}\n")
        self.checkout = root / "prestager"
        for name in ("bin/setup", "pyproject.toml", "requirements/run.txt", "requirements/tracing.txt"):
            (self.checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, self.checkout / name)
        shutil.copy(REPOSITORY / "requirements/dev.txt", self.checkout / "requirements/dev.txt")
        # Its Python installs anything.
        (self.checkout / ".venv" / "bin").mkdir(parents=True)
        self._write(self.checkout / ".venv" / "bin" / "python", ENOUGH)
        self.installed = root / "installed"

    def add(self, name: str, text: str = ENOUGH) -> None:
        """Give the machine a program."""
        self._write(self.programs / name, text)

    def add_apt(self) -> None:
        """Give it apt-get, and a shell that notes what is installed instead of installing it."""
        self.add("apt-get")
        self.add("sh", f'#!/bin/bash\necho "${{@:4}}" >>{self.installed}\n')

    def setup(self, goal: str) -> tuple[int, str]:
        """Run bin/setup and return its exit code and what it said."""
        done = subprocess.run(
            ["bash", "bin/setup", goal],
            cwd=self.checkout,
            env={"PATH": str(self.programs), "HOME": os.environ["HOME"]},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stderr

    @staticmethod
    def _write(file: Path, text: str) -> None:
        file.write_text(text)
        file.chmod(0o755)


def test_ssh_is_installed_where_it_is_missing(tmp_path: Path) -> None:
    """What runs the program reaches sites over SSH, so a missing ssh is installed, and once only."""
    machine = Machine(tmp_path, user_id=0)
    machine.add_apt()

    assert 0 == machine.setup("run")[0]
    assert "openssh-client\n" == machine.installed.read_text()
    machine.add("ssh")
    assert 0 == machine.setup("run")[0]
    assert "openssh-client\n" == machine.installed.read_text()


@pytest.mark.parametrize("has_apt", [True, False], ids=["no root", "no apt-get"])
def test_what_cannot_be_installed_is_said(tmp_path: Path, *, has_apt: bool) -> None:
    """Without root and sudo, or without apt-get, it names the package and goes on: sites may be directories."""
    machine = Machine(tmp_path, user_id=1000)
    if has_apt:
        machine.add_apt()
    code, said = machine.setup("run")

    assert (0, False) == (code, machine.installed.exists())
    assert "openssh-client" in said
    assert "going on without ssh" in said


def test_other_packages_that_cannot_be_installed_end_it(tmp_path: Path) -> None:
    """Without root and sudo the sentence has the command for an administrator."""
    machine = Machine(tmp_path, user_id=1000)
    machine.add_apt()
    code, said = machine.setup("test")

    assert (1, False) == (code, machine.installed.exists())
    # Which are missing depends on this machine; skopeo is none of the few that are looked for in fixed places.
    assert "have an administrator run this, then try again: apt-get install " in said
    assert " skopeo " in said
