"""Playbooks whose packages phase waits at the site for a file, the gate, so that a test decides when it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Final

# Longer than any test, in seconds.
_LONGEST_S: Final = 120

_PLAYBOOK: Final = """\
- hosts: all
  gather_facts: false
  connection: local
  tasks:
{tasks}
"""
_NOTHING: Final = """\
    - name: Do nothing
      ansible.builtin.debug:
        msg: done
"""
_WAIT: Final = f"""\
    - name: Wait at the gate
      ansible.builtin.wait_for:
        path: "{{{{ site_gate }}}}"
        timeout: {_LONGEST_S}
        sleep: 1
"""


def write_gated_playbooks(directory: Path) -> None:
    """Write the three playbooks; that of the packages waits for the file that the site's `site_gate` names."""
    directory.mkdir()
    for name, tasks in (
        ("prepare_prestage_packages.yml", _NOTHING),
        ("prestage_sw_packages.yml", _WAIT),
        ("prestage_images.yml", _NOTHING),
    ):
        (directory / name).write_text(_PLAYBOOK.format(tasks=tasks))


class Gate:
    """A file for which the packages phase of sites waits."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @property
    def variables(self) -> dict[str, str]:
        """Variables of a site that waits at this gate."""
        return {"site_gate": str(self._file)}

    def open(self) -> None:
        """Let what waits, and what comes later, pass."""
        self._file.touch()

    def close(self) -> None:
        """Let nothing pass from now on."""
        self._file.unlink(missing_ok=True)
