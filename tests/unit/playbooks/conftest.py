"""Makes the modules of the playbooks importable as Ansible makes them on a site, and the demonstration content."""

from __future__ import annotations

import sys
from pathlib import Path

import ansible.module_utils
import pytest

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[2]

for folder in (PROJECT, HERE):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
if str(PROJECT / "playbooks" / "module_utils") not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(str(PROJECT / "playbooks" / "module_utils"))

from playbook_modules import Controller  # noqa: E402


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    """Return a controller and a site; nothing is prepared."""
    return Controller(tmp_path)
