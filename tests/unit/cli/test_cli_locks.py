"""The locks of the dependencies: complete, hashed, and silent about where packages come from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LOCKS = ("run", "tracing", "starlingx", "dev", "keystone", "ansible-older")


def pinned(lock: str) -> dict[str, set[str]]:
    """Return the versions of each package in a lock; some differ by Python."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9-]+)==(\S+)", text(lock), flags=re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found


def text(lock: str) -> str:
    """Return the content of a lock."""
    return (ROOT / "requirements" / f"{lock}.txt").read_text()


def names(requirements: list[object]) -> set[str]:
    """Return the names of packages that requirements of pyproject.toml ask for."""
    return {re.split(r"[^A-Za-z0-9-]", one)[0].lower() for one in requirements if isinstance(one, str)}


@pytest.mark.parametrize("lock", LOCKS)
def test_no_index_is_named(lock: str) -> None:
    """Packages come from wherever pip is set up to look."""
    assert "://" not in text(lock)
    assert "--index" not in text(lock)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_has_a_hash(lock: str) -> None:
    """No file is taken but those that were locked."""
    requirements = re.findall(r"^[a-z0-9-]+==.*(?:\n    --hash.*)*", text(lock), flags=re.MULTILINE)

    assert requirements
    assert [] == [one for one in requirements if "--hash=sha256:" not in one]


@pytest.mark.parametrize("script", ["bin/setup", "bin/lock", "deploy/install", "Dockerfile"])
def test_scripts_name_locks_that_are_there(script: str) -> None:
    """What installs packages takes them from one of the locks."""
    named = set(re.findall(r"requirements/([a-z-]+)\.txt", (ROOT / script).read_text()))

    assert named <= set(LOCKS)


def test_what_is_asked_for_is_locked() -> None:
    """A dependency that was added is in the locks; after changing one: make lock."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = names(project["project"]["dependencies"])

    assert asked <= set(pinned("run"))
    extras = project["project"]["optional-dependencies"]
    assert names(extras["tracing"]) <= set(pinned("tracing"))
    assert names([*extras["tracing"], *extras["starlingx"]]) <= set(pinned("starlingx"))
    assert names(project["dependency-groups"]["dev"]) <= set(pinned("dev"))


@pytest.mark.parametrize("lock", ["tracing", "starlingx", "dev"])
def test_what_runs_is_what_is_tested(lock: str) -> None:
    """A lock with more in it has the same versions of what runs."""
    more, running = pinned(lock), pinned("run")

    assert running == {name: more[name] for name in running}


@pytest.mark.parametrize(("lock", "package"), [("keystone", "keystone"), ("ansible-older", "ansible-base")])
def test_what_only_tests_start_stays_outside(lock: str, package: str) -> None:
    """Keystone, an older Ansible, and what they depend on are no part of our own environment."""
    assert package in pinned(lock)
    assert package not in pinned("dev")


def test_collections_stay_outside() -> None:
    """Half a gigabyte of collections is there for those only who ask for it."""
    assert "ansible" not in pinned("dev")


def test_what_is_tested_is_what_runs() -> None:
    """Both locks have the same versions of what the service needs."""
    development = pinned("dev")

    assert pinned("run") == {name: development.get(name) for name in pinned("run")}


def test_every_supported_python_is_served() -> None:
    """ansible-core of Python 3.11 is another than that of 3.12 and later."""
    lock = text("run")

    assert re.search(r"^ansible-core==2\.19\.\S+ ; python_full_version < '3\.12'", lock, flags=re.MULTILINE)
    assert re.search(r"^ansible-core==2\.2\d\.\S+ ; python_full_version >= '3\.12'", lock, flags=re.MULTILINE)
