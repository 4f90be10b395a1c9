"""deploy/install: onto a machine, over an older release, back to it, and off again."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.migrate import head_revision
from tests.acceptance.install.installed_tree import ROOT, Tree, new_tree, next_release
from tests.support.waiting import PATIENCE_S

HEAD = str(head_revision())
NOVELTY = 'op.create_table("novelties", sa.Column("id", sa.Integer(), primary_key=True))'


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    """Give a tree with the program and complete settings."""
    made = new_tree(tmp_path)
    made.install()
    text = made.settings.read_text().replace('#release = "23.09"', 'release = "23.09"').replace(":8219", ":0")
    made.settings.write_text(text)
    yield made
    shutil.rmtree(made.root)


def mode(path: Path) -> int:
    """Return the rights on a file."""
    return stat.S_IMODE(path.stat().st_mode)


# With the long faults, for its minute of both cores.
@pytest.mark.faults
@pytest.mark.skipif(os.environ.get("PRESTAGER_FAULT_ROUNDS") != "long", reason="installs four times: make faults")
def test_install_upgrade_and_back(tree: Tree) -> None:
    """The life of an installation: a release, itself again, one that fails, one that works, the way back, the end.

    What runs and was started by somebody else is named and left alone.
    """
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    first = tree.release()
    assert first.startswith(f"{version}-")
    assert [0o640, 0o640, 0o750] == [
        mode(path) for path in (tree.settings, tree.settings.parent / "credentials/secret-key", tree.settings.parent)
    ]
    assert 0o700 == mode(tree.root / "var/lib/prestager")
    assert (tree.root / "etc/systemd/system/prestager-api.service").is_file()
    assert "__complete" in (tree.root / "usr/share/bash-completion/completions/prestager").read_text()
    # What it runs is what was installed, with its own Ansible, not what it was installed from.
    shown = tree.prestager("config", "show")
    assert str(tree.home / "releases" / first) in shown
    assert (tree.home / "current/venv/bin/ansible-playbook").read_text().startswith("#!/bin/sh\n'''exec'")

    settings = tree.settings.read_text()
    assert "is installed already" in tree.install()
    assert f"revision none, head {HEAD}" in tree.prestager("db", "current")
    tree.prestager("db", "upgrade")
    tree.prestager("token", "create", "ops", "--role", "admin")

    next_release(tree, "9.1.0", HEAD, "op.drop_table('there_is_no_such_table')")
    with tree.running() as service:
        refused = tree.run()
        alive = service.poll() is None
        service.send_signal(signal.SIGTERM)
        assert (True, 0) == (alive, service.wait(PATIENCE_S))
    assert f"still runs (processes {service.pid} " in refused.stderr
    assert first == tree.release()

    failed = tree.run()
    assert 1 == failed.returncode
    assert "the release before runs on" in failed.stderr
    assert first == tree.release()
    assert f"revision {HEAD}, head {HEAD}" in tree.prestager("db", "current")

    next_release(tree, "9.2.0", HEAD, NOVELTY)
    tree.install()
    second = tree.release()
    assert second.startswith("9.2.0-")
    assert first == tree.release("previous")
    assert "revision 9998, head 9998" in tree.prestager("db", "current")

    tree.install("--rollback")
    assert (first, second) == (tree.release(), tree.release("previous"))
    assert f"revision {HEAD}, head {HEAD}" in tree.prestager("db", "current")
    assert settings == tree.settings.read_text()
    assert "ops" in tree.prestager("token", "list")
    # What failed and what the first was made from are gone.
    assert {first, second} == {place.name for place in (tree.home / "releases").iterdir()}

    tree.install("--uninstall")
    assert not tree.home.exists()
    assert [] == list((tree.root / "etc/systemd/system").iterdir())
    assert settings == tree.settings.read_text()
    assert (tree.root / "var/lib/prestager/prestager.db").is_file()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--wheel", "x"], "unknown option '--wheel'"),
        (["--wheels"], "--wheels needs a value"),
        (["--purge"], "--purge goes with --uninstall"),
        (["--rollback"], "no release before this one"),
        (["--python", "/bin/false"], "/bin/false is no Python of 3.11"),
    ],
)
def test_mistakes(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    """A mistake is told and changes nothing."""
    tree = Tree(source=ROOT, root=tmp_path / "root")

    done = tree.run(*arguments)

    assert 1 == done.returncode
    assert complaint in done.stderr
    assert not tree.root.exists()


def test_uninstall_with_everything(tmp_path: Path) -> None:
    """With --purge nothing is left, and doing it twice is fine."""
    tree = Tree(source=ROOT, root=tmp_path / "root")
    for name in ("etc/prestager/credentials", "var/lib/prestager", "var/log/prestager", "opt/prestager/releases"):
        (tree.root / name).mkdir(parents=True)

    for _ in range(2):
        tree.install("--uninstall", "--purge")

    assert [] == [name for _, _, names in os.walk(tree.root) for name in names]
    assert not (tree.root / "var/lib/prestager").exists()
