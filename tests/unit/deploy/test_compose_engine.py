"""`make compose-test` on a machine that cannot run containers: one sentence that says what to do."""

from __future__ import annotations

import subprocess
from pathlib import Path
from unittest.mock import Mock

import pytest

from tests.compose import engine


def test_root_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is no root is told how to become it."""
    monkeypatch.setattr(engine.os, "geteuid", lambda: 1000)

    with pytest.raises(engine.EngineUnavailableError, match="start this as root: sudo make compose-test"):
        engine.check_machine()


def test_missing_programs_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """All packages that are missing are in one command."""
    monkeypatch.setattr(engine.os, "geteuid", lambda: 0)
    monkeypatch.setattr(engine.shutil, "which", lambda name: None if name in {"podman", "runc"} else name)

    with pytest.raises(engine.EngineUnavailableError, match=r"apt-get install podman runc$"):
        engine.check_machine()


def test_a_machine_without_namespaces_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the kernel refuses namespaces its reason is quoted, and nothing is skipped in silence."""
    (tmp_path / "podman-compose").touch()
    monkeypatch.setattr(engine, "COMPOSE", tmp_path / "podman-compose")
    monkeypatch.setattr(engine.os, "geteuid", lambda: 0)
    monkeypatch.setattr(engine.shutil, "which", lambda name: name)
    refused = subprocess.CompletedProcess([], 1, "", "unshare failed: Operation not permitted\n")
    monkeypatch.setattr(engine.subprocess, "run", Mock(return_value=refused))

    with pytest.raises(engine.EngineUnavailableError, match=r"namespaces.*Operation not permitted.*--privileged"):
        engine.check_machine()


def test_two_runs_do_not_share_a_cache(tmp_path: Path) -> None:
    """A second run at the same time is refused, and goes once the first is over."""
    with engine.lock_cache(tmp_path), pytest.raises(engine.EngineUnavailableError, match="Another run uses"):
        engine.lock_cache(tmp_path)

    engine.lock_cache(tmp_path).close()
