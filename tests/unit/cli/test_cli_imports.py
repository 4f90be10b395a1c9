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


def has_seeded_generator_alone(file: Path) -> bool:
    """Return whether `Random`, which is made with a seed, is all that a file has of chance."""
    tree = ast.parse(file.read_text())
    names = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "random"
        for alias in node.names
    ]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    return names == ["Random"] and all(call.args for call in calls if call.func.id == "Random")  # type: ignore[attr-defined]


@pytest.mark.parametrize("file", sorted((ROOT / "statemachine").glob("*.py")), ids=lambda file: file.name)
def test_the_state_machine_needs_nothing(file: Path) -> None:
    """Statemachine imports the standard library, transitions and itself, and no clock, I/O or chance without a seed."""
    outside = imported(file) - {"statemachine", "transitions"}
    if has_seeded_generator_alone(file):
        outside -= {"random"}

    assert outside <= sys.stdlib_module_names
    assert outside.isdisjoint({"asyncio", "os", "pathlib", "random", "secrets", "socket", "subprocess", "time"})
