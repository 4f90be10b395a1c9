"""What may import what, where the import linter does not look: the standard library."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def imported(file: Path) -> set[str]:
    """Return the top-level names that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize("file", sorted((ROOT / "statemachine").glob("*.py")), ids=lambda file: file.name)
def test_the_state_machine_needs_nothing(file: Path) -> None:
    """Statemachine imports the standard library, transitions and itself, and no clock, chance or I/O."""
    outside = imported(file) - {"statemachine", "transitions"}

    assert outside <= sys.stdlib_module_names
    assert outside.isdisjoint({"asyncio", "os", "pathlib", "random", "secrets", "socket", "subprocess", "time"})
