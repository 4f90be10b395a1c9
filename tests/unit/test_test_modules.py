"""The modules of the tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
FILES = sorted(TESTS.rglob("*.py"))


def imported(file: Path) -> Iterator[str]:
    """Yield the names of the modules that a file imports."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def test_modules_of_tests_have_one_name() -> None:
    """A module of the tests is imported as `tests.…` and in no other way, so that it is loaded once."""
    others = {file.stem for file in FILES} - {path.name for path in TESTS.parent.iterdir() if path.is_dir()}

    found = {
        (str(file.relative_to(TESTS)), name)
        for file in FILES
        for name in imported(file)
        if name.startswith(".") or name.partition(".")[0] in others
    }

    assert found == set()


def test_no_file_of_tests_changes_the_path_of_modules() -> None:
    """No file of the tests changes `sys.path`."""
    changes = ("sys.path.insert", "sys.path.append", "sys.path +=", "syspath_prepend")

    others = [file for file in FILES if file != Path(__file__)]
    assert [file for file in others if any(text in file.read_text() for text in changes)] == []
