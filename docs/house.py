"""Measure the structure of the source code: `make house`.

Prints figures of packages, imports, file sizes, names and docstrings, each with its limit and with what is wanted;
exits with 1 over a limit. A limit that is reached is lowered, never raised.
"""  # noqa: INP001 - a program of its own

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[1]
_SHORT_LINES: Final = 30
# Most files to read for each walk through the code, by the heading in ARCHITECTURE.md.
_WALK_LIMITS: Final = {
    "Create a strategy": 10,
    "Apply, until a playbook starts": 16,
    "A playbook ends, the next phase begins": 9,
    "Abort": 8,
}
# First words of a docstring that ask a question instead of naming the thing.
_QUESTIONS: Final = frozenset({"how", "what", "when", "where", "which", "who", "whose", "why"})
# Words that hide the person or the thing that is meant.
_VAGUE: Final = re.compile(r"\b(whoever|nobody|somebody|tells|told|to oneself|he)\b", re.IGNORECASE)
_HEADING: Final = re.compile(r"^### (.+)$")
_PATH: Final = re.compile(r"`([\w/]+\.py)`")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A measured value, the most that is allowed, and the most that is wanted."""

    name: str
    value: float
    limit: float
    goal: float

    @property
    def is_over(self) -> bool:
        """Whether the value is more than allowed."""
        return self.value > self.limit


class SourceTree:
    """The Python files of the packages that pyproject.toml names, parsed once."""

    def __init__(self, root: Path = _ROOT) -> None:
        self._root = root
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
        rules = project["tool"]["importlinter"]
        self.packages: list[str] = rules["root_packages"]
        layered = [contract for contract in rules.get("contracts", ()) if contract["type"] == "layers"]
        lines = [line for contract in layered for line in contract["layers"]]
        self._layers = {name.strip(): level for level, line in enumerate(lines) for name in line.split("|")}
        self._exceptions = {import_ for contract in layered for import_ in contract.get("ignore_imports", ())}

    @cached_property
    def texts(self) -> Mapping[Path, str]:
        """Source texts by path below the root; migrations are not counted, for they are history."""
        files = (file for package in self.packages for file in (self._root / package).rglob("*.py"))
        return {
            file.relative_to(self._root): file.read_text(encoding="utf-8")
            for file in sorted(files)
            if "versions" not in file.parts
        }

    @cached_property
    def trees(self) -> Mapping[Path, ast.Module]:
        """Syntax trees by path."""
        return {path: ast.parse(text) for path, text in self.texts.items()}

    @property
    def lines(self) -> int:
        """Lines of all files."""
        return sum(len(text.splitlines()) for text in self.texts.values())

    def package_shares(self) -> Counter[str]:
        """Return the lines of each package."""
        shares: Counter[str] = Counter()
        for path, text in self.texts.items():
            shares[path.parts[0]] += len(text.splitlines())
        return shares

    def import_edges(self) -> int:
        """Return how many pairs there are of a module and another of these packages that it imports."""
        return sum(len(set(self._imported(tree))) for tree in self.trees.values())

    def short_files(self) -> list[Path]:
        """Return files of fewer than 30 lines, but for those that only make a directory a package."""
        return [
            path
            for path, text in self.texts.items()
            if len(text.splitlines()) < _SHORT_LINES and path.name != "__init__.py"
        ]

    def upward_imports(self) -> list[str]:
        """Return imports between packages that do not lead to a lower layer, as `module -> module`.

        Layers and their exceptions are those of the import rules in pyproject.toml; packages that are in none do not
        count.
        """
        return [
            f"{importer} -> {imported}"
            for importer, imported in self._imports()
            if f"{importer} -> {imported}" not in self._exceptions
            and self._is_upward(importer.split(".")[0], imported.split(".")[0])
        ]

    def package_circles(self) -> list[tuple[str, str]]:
        """Return pairs of packages that import each other, directly or through others."""
        reached = {package: {package} for package in self.packages}
        edges = {
            (importer.split(".")[0], imported.split(".")[0])
            for importer, imported in self._imports()
            if f"{importer} -> {imported}" not in self._exceptions
        }
        for _ in self.packages:
            for source, target in edges:
                reached[source] |= reached[target]
        return [(a, b) for a in self.packages for b in self.packages if a < b and b in reached[a] and a in reached[b]]

    def riddles(self) -> list[str]:
        """Return docstrings that begin with a question word or hold a vague one, as `path:line`."""
        return [
            f"{path}:{line}"
            for path, tree in self.trees.items()
            for line, text in _docstrings(tree)
            if _first_word(text) in _QUESTIONS or _VAGUE.search(text)
        ]

    def twice_named(self) -> dict[str, list[str]]:
        """Return public class names that more than one package defines, with the packages."""
        packages = defaultdict(set)
        for path, tree in self.trees.items():
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    packages[node.name].add(path.parts[0])
        return {name: sorted(where) for name, where in packages.items() if len(where) > 1}

    def _imports(self) -> Iterator[tuple[str, str]]:
        for path, tree in self.trees.items():
            importer = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
            yield from ((importer, imported) for imported in self._imported(tree))

    def _is_upward(self, importer: str, imported: str) -> bool:
        if importer == imported or not {importer, imported} <= self._layers.keys():
            return False
        return self._layers[imported] <= self._layers[importer]

    def _imported(self, tree: ast.Module) -> Iterator[str]:
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in self.packages:
                yield node.module
            elif isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names if alias.name.split(".")[0] in self.packages)


def walks(root: Path = _ROOT) -> dict[str, list[str]]:
    """Return the files of each walk through the code that ARCHITECTURE.md lists, by its heading."""
    found: dict[str, list[str]] = {}
    heading = None
    for line in (root / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines():
        if match := _HEADING.match(line):
            heading = match[1]
        elif line.startswith("#"):
            heading = None
        elif heading is not None:
            found.setdefault(heading, []).extend(_PATH.findall(line))
    return {name: list(dict.fromkeys(files)) for name, files in found.items() if files}


def figures(tree: SourceTree, root: Path = _ROOT) -> list[Figure]:
    """Return all figures."""
    largest = 100 * max(tree.package_shares().values()) / tree.lines
    edges = 1000 * tree.import_edges() / tree.lines
    readme = len((root / "README.md").read_text(encoding="utf-8").splitlines())
    walked = walks(root)
    return [
        Figure(name="largest package, in % of all lines", value=largest, limit=14, goal=14),
        Figure(name="imports between modules per 1,000 lines", value=edges, limit=32, goal=24),
        Figure(name=f"files of fewer than {_SHORT_LINES} lines", value=len(tree.short_files()), limit=12, goal=12),
        Figure(name="imports of a package that is not below", value=len(tree.upward_imports()), limit=0, goal=0),
        Figure(name="pairs of packages that import each other", value=len(tree.package_circles()), limit=0, goal=0),
        Figure(name="docstrings that are a riddle", value=len(tree.riddles()), limit=0, goal=0),
        Figure(name="class names that two packages define", value=len(tree.twice_named()), limit=0, goal=0),
        Figure(name="lines of README.md", value=readme, limit=120, goal=120),
        *(
            Figure(name=f"files to read: {name}", value=len(walked[name]), limit=most, goal=most)
            for name, most in _WALK_LIMITS.items()
        ),
    ]


def main() -> None:
    """Print the figures; exit with 1 if one is over its limit."""
    tree = SourceTree()
    rows = figures(tree)
    for row in rows:
        over = "OVER" if row.is_over else ""
        print(f"{row.value:8.1f}  limit {row.limit:<4g} goal {row.goal:<4g} {over:5}{row.name}")  # noqa: T201
    lists = {
        "not below": tree.upward_imports(),
        "circles": tree.package_circles(),
        "riddles": tree.riddles(),
        "short": tree.short_files(),
        "twice": tree.twice_named(),
    }
    for title, found in lists.items():
        print(f"{title}: {', '.join(map(str, found)) or 'none'}")  # noqa: T201
    sys.exit(any(row.is_over for row in rows))


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and text of the docstrings of a module, its classes and its functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=False)
            if text is not None:
                yield node.body[0].lineno, text


def _first_word(text: str) -> str:
    words = text.split()
    return words[0].lower() if words else ""


if __name__ == "__main__":
    main()
