"""The digest of what a template process has loaded."""

from __future__ import annotations

import py_compile
from pathlib import Path

from runner.ansible_installation import AnsibleInstallation
from runner.load_fingerprint import ansible_fingerprint


def test_compiled_plugins_change_nothing(tmp_path: Path) -> None:
    """A plug-in that comes, changes or goes changes the digest; that Python has compiled one does not."""
    deep = tmp_path / "of others" / "quiet.py"
    deep.parent.mkdir()

    def digest() -> str:
        return ansible_fingerprint(AnsibleInstallation(), [tmp_path, tmp_path / "none"])

    empty = digest()
    deep.write_text("CALLBACK_VERSION = 2.0\n")
    before = digest()
    py_compile.compile(str(deep))
    compiled = digest()
    deep.write_text("CALLBACK_VERSION = 2.01\n")
    changed = digest()
    deep.unlink()

    assert before == compiled
    assert 3 == len({empty, before, changed})
    assert empty == digest()
