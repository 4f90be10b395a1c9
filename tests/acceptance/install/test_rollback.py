"""deploy/install --rollback: how the schema is brought down, and what of a release is put in place."""

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

# Where each shell of Debian looks for scripts of packages.
COMPLETION = {
    "bash": "usr/share/bash-completion/completions/prestager",
    "zsh": "usr/share/zsh/vendor-completions/_prestager",
    "fish": "usr/share/fish/vendor_completions.d/prestager.fish",
}


def release(tree: Tree, name: str, revision: str, text: str) -> None:
    """Put a release in place whose program only says what it was asked."""
    place = tree.home / "releases" / name
    (place / "bin").mkdir(parents=True)
    (place / "bin/prestager").write_text(text)
    (place / "bin/prestager").chmod(0o755)
    (place / "REVISION").write_text(f"{revision}\n")
    shutil.copytree(ROOT / "deploy", place / "deploy", ignore=shutil.ignore_patterns("secrets"))


def linked(tmp_path: Path) -> Tree:
    """Return a tree whose release `new` is in force, with `old` before it."""
    tree = Tree(source=ROOT, root=tmp_path / "root")
    for name in ("new", "old"):
        release(tree, name, "0008", "#!/bin/sh\n")
    (tree.home / "bin").mkdir()
    for link, name in (("current", "new"), ("previous", "old")):
        (tree.home / link).symlink_to(f"releases/{name}")
    return tree


def test_completion_is_put_where_shells_look(tmp_path: Path) -> None:
    """Each shell finds the script of the release in force; that of a release before there were any is none."""
    tree = linked(tmp_path)
    packages = tree.home / "releases/old/venv/lib/python3.11/site-packages/cli"
    packages.mkdir(parents=True)
    for shell in COMPLETION:
        shutil.copy(ROOT / f"cli/completion.{shell}", packages)

    tree.install("--rollback")
    found = {shell: (tree.root / place).read_text() for shell, place in COMPLETION.items()}
    tree.install("--rollback")

    assert {shell: (ROOT / f"cli/completion.{shell}").read_text() for shell in COMPLETION} == found
    assert not any((tree.root / place).exists() for place in COMPLETION.values())


def test_completion_is_no_condition(tmp_path: Path) -> None:
    """Where the folders of the shells cannot be written the program is in force all the same, and it is said."""
    tree = linked(tmp_path)
    packages = tree.home / "releases/old/venv/lib/python3.11/site-packages/cli"
    packages.mkdir(parents=True)
    shutil.copy(ROOT / "cli/completion.bash", packages)
    (tree.root / "usr").touch()

    said = tree.install("--rollback")

    assert "old" == tree.release()
    assert "prestager cannot be written; for Tab see: prestager completion bash" in said


def test_completion_goes_with_the_program(tmp_path: Path) -> None:
    """After --uninstall no shell finds a script of ours, and those of others are untouched."""
    tree = linked(tmp_path)
    for place in COMPLETION.values():
        file = tree.root / place
        file.parent.mkdir(parents=True)
        file.touch()
        file.with_name("other").touch()

    tree.install("--uninstall")

    assert not any((tree.root / place).exists() for place in COMPLETION.values())
    assert all((tree.root / place).with_name("other").exists() for place in COMPLETION.values())


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
