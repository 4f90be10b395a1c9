"""A tree that deploy/install installs into, from a source that may change between two installs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.waiting import PATIENCE_S, wait_for

ROOT = Path(__file__).parents[3]
# What deploy/install says an environment is made of.
DIGEST = """{ cat requirements/run.txt; "$0" -c 'import sys; print(sys.version, sys.executable)'; } | sha256sum"""


# The heaviest of what only development needs.
DEVELOPMENT = ("uv", "uvx", "ruff", "mypy", "mypyc", "hypothesis", "coverage", "grimp", "rich_toolkit", "ast_serialize")


# Much more than a start takes, even while the machine is busy.
_READY_S = 120.0


@dataclass
class Tree:
    """One machine, as far as the installer may see it."""

    source: Path
    root: Path

    @property
    def home(self) -> Path:
        """Where the program is."""
        return self.root / "opt/prestager"

    @property
    def settings(self) -> Path:
        """The operator's settings."""
        return self.root / "etc/prestager/prestager.toml"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the installer of the source."""
        command = ["deploy/install", "--root", str(self.root), "--python", sys.executable, *arguments]
        return subprocess.run(
            command, cwd=self.source, env=environment(), capture_output=True, text=True, check=False, timeout=240
        )

    def install(self, *arguments: str) -> str:
        """Run the installer, which must succeed, and return what it says."""
        done = self.run(*arguments)
        assert 0 == done.returncode, done.stderr
        return done.stderr

    def prestager(self, *arguments: str) -> str:
        """Run the installed command, which must succeed, from a folder that has nothing to do with it."""
        done = subprocess.run(
            [self.home / "bin/prestager", *arguments],
            cwd="/",
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        assert 0 == done.returncode, done.stderr
        return done.stdout

    def release(self, link: str = "current") -> str:
        """Return the name of the release that a link leads to."""
        return (self.home / link).resolve().name

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the installed service, from when it is ready."""
        ready, log = self.root / "ready", self.root / "service.log"
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [self.home / "bin/prestager", "up"],
                cwd="/",
                env={**environment(), "PRESTAGER_READY_FILE": str(ready)},
                stdout=sink,
                stderr=sink,
            )
        try:
            wait_for(lambda: ready.exists() or process.poll() is not None, _READY_S, log.read_text)
            assert process.poll() is None, log.read_text()
            yield process
        finally:
            process.kill()
            process.wait()


def environment() -> dict[str, str]:
    """Return an environment that says nothing of Prestager."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PRESTAGER_", "COVERAGE_"))}


def new_tree(directory: Path) -> Tree:
    """Return a tree with the packages of the lock already there, as after an earlier release: no network is needed."""
    tree = Tree(source=directory / "source", root=directory / "root")
    tree.source.mkdir()
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    for name in [*wheel["only-include"], "deploy", "requirements", "pyproject.toml", "README.md"]:
        place = ROOT / name
        if place.is_dir():
            shutil.copytree(place, tree.source / name, ignore=shutil.ignore_patterns("__pycache__", "secrets"))
        else:
            shutil.copy(place, tree.source / name)
    seed = tree.home / "releases/seed/venv"
    shutil.copytree(sys.prefix, seed, symlinks=True, ignore=shutil.ignore_patterns(*DEVELOPMENT))
    digest = subprocess.run(
        ["bash", "-c", DIGEST, sys.executable], cwd=tree.source, check=True, capture_output=True, text=True
    )
    (seed / ".lock").write_text(digest.stdout.split()[0] + "\n")
    return tree


MIGRATION = '''\
"""Something new."""

import sqlalchemy as sa
from alembic import op

revision = "9998"
down_revision = "{before}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go up."""
    {work}


def downgrade() -> None:
    """Go down."""
    op.drop_table("novelties")
'''


def next_release(tree: Tree, version: str, before: str, work: str) -> None:
    """Make the source that of a later release with one more migration."""
    project = tree.source / "pyproject.toml"
    lines = project.read_text().splitlines()
    project.write_text("\n".join(f'version = "{version}"' if line.startswith("version =") else line for line in lines))
    migration = tree.source / "db/migrations/versions/9998_novelty.py"
    migration.write_text(MIGRATION.format(before=before, work=work))
