"""Playbooks that write a journal on their site: who began, who ended, and who found another one at work."""

from __future__ import annotations

from pathlib import Path
from typing import Final

PLAYBOOKS: Final = ("prepare_prestage_packages.yml", "prestage_sw_packages.yml", "prestage_images.yml")

_PLAYBOOK: Final = """\
- hosts: all
  gather_facts: false
  connection: local
  tasks:
    - name: Work on the site
      ansible.builtin.script:
        cmd: "{script} {{{{ journal_dir }}}}/{lock} {phase} {{{{ prestager_run_token }}}}"
        executable: /bin/bash
"""

# A child of its own holds the lock, so that an orphan of a killed run is found out by the next one.
_SCRIPT: Final = """\
#!/bin/bash
exec 9>"$1.lock"
if ! flock -n 9; then
    echo "overlap $2 $3" >>"$1.journal"
    exit 3
fi
echo "begin $2 $3" >>"$1.journal"
sleep {seconds}
echo "end $2 $3" >>"$1.journal"
"""


def write_playbooks(directory: Path, seconds: float) -> None:
    """Write the three playbooks; each works for `seconds` and holds the lock of its site meanwhile."""
    directory.mkdir()
    script = directory / "work.sh"
    script.write_text(_SCRIPT.format(seconds=seconds))
    script.chmod(0o755)
    for name in PLAYBOOKS:
        lock = "controller" if name.startswith("prepare") else "{{ inventory_hostname }}"
        text = _PLAYBOOK.format(script=script, lock=lock, phase=name.removesuffix(".yml"))
        (directory / name).write_text(text)


def journal_lines(directory: Path) -> list[str]:
    """Return what the playbooks wrote, site by site."""
    return [line for path in sorted(directory.glob("*.journal")) for line in path.read_text().splitlines()]
