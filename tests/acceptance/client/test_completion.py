"""Completion in the shells themselves, typed at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.support.operator_shell import OperatorShell
from tests.support.waiting import PATIENCE_S, wait_for

# How each shell is started without the files of its user, and what its user has there.
SHELLS = {
    "bash": ("bash --norc --noprofile -i", "source <(prestager completion bash)"),
    "zsh": ("zsh -f -i", "autoload -Uz compinit && compinit -D && source <(prestager completion zsh)"),
    "fish": ("fish --no-config -i", "prestager completion fish | source"),
}
LINES = {
    "prestager strategy hi": "prestager strategy history",
    "prestager strategy pause --sco": "prestager strategy pause --scope",
    "prestager strategy pause --scope ph": "prestager strategy pause --scope phases",
    "prestager strategy pause --scope=ph": "prestager strategy pause --scope=phases",
    "prestager step explain br": "prestager step explain broken",
    "prestager strategy create --exclude br": "prestager strategy create --exclude broken",
    "prestager strategy create --password-file pass": "prestager strategy create --password-file password-of-sites",
}


@pytest.fixture(params=SHELLS)
def terminal(request: pytest.FixtureRequest, shell: OperatorShell, tmp_path: Path) -> Iterator[pexpect.spawn[str]]:
    """A shell of an operator at a terminal, with completion."""
    command, setup = SHELLS[request.param]
    program = Path(sys.executable).parent
    environment = shell.environment | {"TERM": "xterm", "PATH": f"{program}:{shell.environment['PATH']}"}
    (tmp_path / "password-of-sites").touch()
    process = pexpect.spawn(
        command, env=environment, cwd=tmp_path, encoding="utf-8", timeout=PATIENCE_S, dimensions=(24, 200)
    )
    process.sendline(f"{setup}; echo READY=$status")
    process.expect(r"[\r\n]READY=")
    yield process
    process.close(force=True)


def completed(process: pexpect.spawn[str], line: str) -> str:
    """Return what a line has become after Tab."""
    # What is typed while the shell asks for candidates is taken afterwards.
    process.send(f"{line}\t\x01echo RESULT=\r")
    process.expect(r"[\r\n]RESULT=([^\r\n]*)[\r\n]")
    assert process.match
    return str(process.match[1]).strip()


def becomes(process: pexpect.spawn[str], line: str, expected: str) -> None:
    """Wait until a line is completed so: an API on a busy machine may miss the limit, and Tab is pressed again."""
    wait_for(lambda: completed(process, line) == expected, story=lambda: line)


def test_completion(terminal: pexpect.spawn[str]) -> None:
    """Commands, options, choices, names of sites and files are completed in bash, zsh and fish."""
    for line, expected in LINES.items():
        becomes(terminal, line, expected)
