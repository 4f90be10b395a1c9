"""`ansible-inventory` in processes forked from one that has loaded Ansible, which takes most of its time.

It is the program itself, with the environment that its caller gives it. That it is started as it should be is for tests
that start it plainly: see tests/unit/cli/test_cli_import_surroundings.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class LoadedInventory:
    """Stands in for the module `subprocess` where the program is started by its function `run`.

    Ansible is loaded at the first use.
    """

    DEVNULL = subprocess.DEVNULL
    TimeoutExpired = subprocess.TimeoutExpired

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[str] | None = None

    def close(self) -> None:
        """End the process that has loaded Ansible."""
        if self._process is not None:
            # Without requests it ends by itself.
            self._process.communicate()

    def run(
        self, command: list[str], *, env: dict[str, str], cwd: Path, **_options: object
    ) -> subprocess.CompletedProcess[str]:
        """Run the program to its end and return what it printed."""
        assert command[0].endswith("/ansible-inventory")
        printed = [self._directory / "out", self._directory / "err"]
        request = {"command": command, "env": env, "cwd": str(cwd), "printed": [str(path) for path in printed]}
        code = self._ask(request)
        out, err = (path.read_text(encoding="utf-8", errors="replace") for path in printed)
        return subprocess.CompletedProcess(command, code, out, err)

    def _ask(self, request: dict[str, Any]) -> int:
        self._process = self._process or self._start()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(request)}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def _start(self) -> subprocess.Popen[str]:
        configuration = self._directory / "ansible.cfg"
        configuration.touch()
        return subprocess.Popen(
            [sys.executable, "-m", "tests.support.inventory_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"LC_ALL": "C.UTF-8", "ANSIBLE_HOME": str(self._directory), "ANSIBLE_CONFIG": str(configuration)},
            cwd=ROOT,
        )
