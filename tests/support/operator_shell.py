"""Commands of an operator over HTTP, each a process of its own, without any setting of the service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.command_template import run_forked

# Generous for a busy machine, in seconds.
_DEADLINE_S: Final = 120.0


@dataclass(frozen=True)
class ShellCommand:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class OperatorShell:
    """A home directory and variables, in which `prestager` is run. There is no terminal."""

    def __init__(self, home: Path, url: str, token: str) -> None:
        token_file = home / "token"
        token_file.write_text(token + "\n")
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PRESTAGER_URL": url,
            "PRESTAGER_TOKEN_FILE": str(token_file),
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command, which loads the program anew."""
        return subprocess.Popen(
            [sys.executable, "-m", "cli.main", *arguments],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, stdin: str = "") -> ShellCommand:
        """Run a command to its end, in a process that is forked with the program loaded."""
        return ShellCommand(*run_forked(arguments, self.environment, stdin, _DEADLINE_S))

    def strategy(self, *arguments: str, stdin: str = "") -> ShellCommand:
        """Run `prestager strategy` to its end."""
        return self.run("strategy", *arguments, stdin=stdin)

    def step(self, *arguments: str) -> ShellCommand:
        """Run `prestager step` to its end."""
        return self.run("step", *arguments)
