"""deploy/install --rollback: how the schema is brought down."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.acceptance.install.installed_tree import ROOT, Tree

PROGRAM = """#!/bin/sh
case "$*" in
    "db downgrade --help") echo "{help}"; seq 30000 ;;
    "db downgrade "*) echo "$*" >>"{log}"; exit {code} ;;
esac
"""


def release(tree: Tree, name: str, revision: str, text: str) -> None:
    """Put a release in place whose program only says what it was asked."""
    place = tree.home / "releases" / name
    (place / "bin").mkdir(parents=True)
    (place / "bin/prestager").write_text(text)
    (place / "bin/prestager").chmod(0o755)
    (place / "REVISION").write_text(f"{revision}\n")
    shutil.copytree(ROOT / "deploy", place / "deploy", ignore=shutil.ignore_patterns("secrets"))


@pytest.mark.parametrize(
    ("options", "code", "asked", "current"),
    [
        ("--yes --wait FLOAT", 0, "db downgrade --yes --wait 60 0007", "old"),
        ("REVISION", 0, "db downgrade 0007", "old"),
        ("--yes --wait FLOAT", 1, "db downgrade --yes --wait 60 0007", "new"),
    ],
)
def test_the_schema_comes_down(tmp_path: Path, options: str, code: int, asked: str, current: str) -> None:
    """It agrees to what is lost and waits for leases, where the program knows how; refused, nothing is switched."""
    tree, log = Tree(source=ROOT, root=tmp_path / "root"), tmp_path / "asked"
    for name, revision in (("new", "0008"), ("old", "0007")):
        release(tree, name, revision, PROGRAM.format(help=options, log=log, code=code))
    (tree.home / "bin").mkdir()
    for link, name in (("current", "new"), ("previous", "old")):
        (tree.home / link).symlink_to(f"releases/{name}")

    done = tree.run("--rollback")

    assert (code, f"{asked}\n") == (done.returncode, log.read_text()), done.stderr
    assert current == tree.release()
