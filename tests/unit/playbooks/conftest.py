"""Makes the modules of the playbooks importable as Ansible makes them on a site."""

from __future__ import annotations

from pathlib import Path

import ansible.module_utils
import pytest

MODULES = str(Path(__file__).parents[3] / "playbooks" / "module_utils")

if MODULES not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(MODULES)

from tests.unit.playbooks.playbook_modules import Controller  # noqa: E402


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    """Return a controller and a site; nothing is prepared."""
    return Controller(tmp_path)
