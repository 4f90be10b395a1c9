"""The structure of the source code, as `make house` measures it."""

from __future__ import annotations

import re
from pathlib import Path

from docs.house import Figure, SourceTree, figures, walks

ROOT = Path(__file__).parents[3]
# Of the tree that the tests measure: `one` is above `two`.
_RULES = """
[tool.importlinter]
root_packages = ["one", "two"]

[[tool.importlinter.contracts]]
type = "layers"
layers = ["one", "two"]
ignore_imports = ["two.allowed -> one.a"]
"""


def small_tree(root: Path, files: dict[str, str]) -> SourceTree:
    """Return a tree of two packages with these files."""
    (root / "pyproject.toml").write_text(_RULES)
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return SourceTree(root)


def test_the_figures_are_within_their_limits() -> None:
    """No figure of the source code is over its limit."""
    assert [figure for figure in figures(SourceTree()) if figure.is_over] == []


def test_the_walks_lead_through_files_that_exist() -> None:
    """Each file of a walk in ARCHITECTURE.md exists."""
    assert [name for files in walks().values() for name in files if not (ROOT / name).is_file()] == []


def test_every_package_is_described() -> None:
    """The table of packages in ARCHITECTURE.md names those that exist."""
    named = re.findall(r"^\| `(\w+)/` \|", (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(named) == sorted([*SourceTree().packages, "playbooks", "ui"])


def test_a_figure_over_its_limit() -> None:
    """More than the limit is over, the limit itself is not."""
    assert not Figure(name="a", value=14, limit=14, goal=12).is_over
    assert Figure(name="a", value=14.1, limit=14, goal=12).is_over


def test_what_is_counted(tmp_path: Path) -> None:
    """Imports count once a pair of modules; question words, short files and names of two packages are found."""
    body = "\n" * 30
    tree = small_tree(
        tmp_path,
        {
            "one/a.py": f'"""What a is."""\nimport os\nfrom two.b import Thing as T\nfrom two.b import other\n{body}',
            "one/c.py": '"""The thing."""\nclass Thing: ...\n',
            "two/b.py": f'"""The other thing."""\nimport one.c\nclass Thing: ...\nclass _Own: ...\n{body}',
        },
    )

    assert tree.import_edges() == 2
    assert tree.riddles() == ["one/a.py:1"]
    assert tree.short_files() == [Path("one/c.py")]
    assert tree.twice_named() == {"Thing": ["one", "two"]}
    assert tree.package_shares() == {"one": 36, "two": 34}


def test_upward_imports_and_circles(tmp_path: Path) -> None:
    """An import that does not lead to a lower package counts, and so do packages that import each other."""
    tree = small_tree(
        tmp_path,
        {
            "one/a.py": '"""A."""\nfrom two.b import b\n',
            "two/b.py": '"""B."""\ndef late():\n    """Import late."""\n    from one.a import a\n',
            "two/allowed.py": '"""Allowed."""\nfrom one.a import a\n',
        },
    )

    assert tree.upward_imports() == ["two.b -> one.a"]
    assert tree.package_circles() == [("one", "two")]


def test_an_exception_of_the_import_rules(tmp_path: Path) -> None:
    """An import that the import rules allow is neither upward nor part of a circle."""
    tree = small_tree(
        tmp_path, {"one/a.py": '"""A."""\nimport two.allowed\n', "two/allowed.py": '"""Allowed."""\nimport one.a\n'}
    )

    assert tree.upward_imports() == []
    assert tree.package_circles() == []


def test_riddles(tmp_path: Path) -> None:
    """Docstrings of modules, classes and functions are riddles with a question first or a vague word inside."""
    text = (
        '"""A module."""\n'
        'class A:\n    """Who asks."""\n'
        '    def b(self):\n        """Return a name, for whoever asks."""\n'
        'async def c():\n    """Return a shell."""\n'
        'def d():\n    """Wait until it is told."""\n'
    )
    tree = small_tree(tmp_path, {"one/a.py": text})

    assert tree.riddles() == ["one/a.py:3", "one/a.py:9", "one/a.py:5"]
