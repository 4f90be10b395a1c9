"""What runs on a site needs nothing that a site does not have."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from tests.unit.playbooks.playbook_modules import load_work

PLAYBOOKS = Path(__file__).resolve().parents[3] / "playbooks"
SOURCES = sorted([*PLAYBOOKS.glob("library/*.py"), *PLAYBOOKS.glob("module_utils/prestage/*.py")])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_modules_use_old_syntax_and_the_standard_library(path: Path) -> None:
    """Every module parses as Python 3.6 and imports only the standard library, Ansible's module_utils and ours."""
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 6))

    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 0}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    strange = {
        name
        for name in imported
        if name
        and name.split(".")[0] not in sys.stdlib_module_names
        and name != "ansible.module_utils.basic"
        and not name.startswith("ansible.module_utils.prestage.")
    }
    assert set() == strange


@pytest.mark.parametrize(
    ("text", "version"),
    [('OS="x"\nSW_VERSION="22.12"\n', "22.12"), ("23.09\n", "23.09"), ("SW_VERSION=22.12.1", "22.12.1")],
)
def test_the_version_file_is_read(tmp_path: Path, text: str, version: str) -> None:
    """The release of a site is read from a line of its own or from SW_VERSION."""
    path = tmp_path / "build.info"
    path.write_text(text)

    assert version == load_work("prestage_site_version")({"path": str(path)})["version"]
