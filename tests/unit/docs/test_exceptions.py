"""The exceptions of this program: one base, one place in each package, and words for them."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from docs.house import SourceTree
from statemachine.errors import PrestagerError

# Packages that import nothing of the service, so that their exceptions have no common base.
_WITHOUT_BASE = {"demo", "simulator", "tracing"}
_DEFINES_ERROR = re.compile(r"^class \w+Error\(", re.MULTILINE)


def _exceptions() -> Iterator[tuple[Path, type[BaseException]]]:
    for path, text in SourceTree().texts.items():
        # Importing the entry point of the `dramatiq` command would start a process; reading all the others takes long.
        if not _DEFINES_ERROR.search(text):
            continue
        names = [node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef) and node.bases]
        module = import_module(".".join(path.with_suffix("").parts))
        for name in names:
            found = getattr(module, name)
            if isinstance(found, type) and issubclass(found, BaseException) and not name.startswith("_"):
                yield path, found


EXCEPTIONS = list(_exceptions())


def _name(found: type[BaseException]) -> str:
    return f"{found.__module__}.{found.__qualname__}"


def test_one_base() -> None:
    """Each exception derives from `PrestagerError`, but for those of packages below it."""
    others = [
        _name(found)
        for path, found in EXCEPTIONS
        if not issubclass(found, PrestagerError) and path.parts[0] not in _WITHOUT_BASE
    ]

    assert others == []


def test_one_place() -> None:
    """An exception is defined in an `errors.py`, unless it is the only one of its package."""
    of_package = Counter(path.parts[0] for path, _ in EXCEPTIONS)

    assert [
        _name(found) for path, found in EXCEPTIONS if path.name != "errors.py" and of_package[path.parts[0]] > 1
    ] == []


@pytest.mark.parametrize("found", [found for _, found in EXCEPTIONS], ids=_name)
def test_words(found: type[BaseException]) -> None:
    """An exception says what it means in a docstring of its own."""
    assert found.__doc__
    assert found.__name__.endswith("Error")
