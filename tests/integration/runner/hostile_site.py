"""A compromised site behind a real SSH server: its Python answers what a test wants instead of running our modules."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from demo.feed import build_feeds
from demo.images import build_images
from playbook_sets.phase_playbooks import ControllerLayout, PhaseOrder, playbook_job
from runner.interface import RunEnded
from runner.supervisor import Supervisor
from statemachine.states import StepState
from tests.integration.runner.run_watch import Results
from tests.support.ssh_server import SshServer

PLAYBOOKS = Path(__file__).resolve().parents[3] / "playbooks"
# Names a module by what is sent; what has no answer is run, so that Ansible's own modules for the transfer work.
_PYTHON = """#!/bin/sh
sent=$(mktemp)
cat >"$sent"
exec <"$sent"
rm "$sent"
module=$(sed -n "s/^ansible_module='\\(.*\\)',$/\\1/p" /dev/stdin)
if [ -e "{answers}/$module.json" ]; then exec cat "{answers}/$module.json"; fi
if [ -e "{answers}/$module.endless" ]; then exec yes '{{"missing": []}}'; fi
exec /usr/bin/python3 "$@"
"""
_DAY_S = 24 * 3600.0
TARGET, PREVIOUS = "23.09", "22.12"


class HostileSite:
    """A controller with feeds and images, files of others beside them, and a site that answers what it likes."""

    def __init__(self, root: Path, server: SshServer, supervisor: Supervisor, results: Results) -> None:
        self.root = root
        self.deploy = root / "deploy"
        self._feeds = build_feeds(root / "feed", package_count=5)
        build_images(self.deploy / TARGET)
        # Beside the server, where its user can reach it; it becomes root, who can reach everything.
        self.place = server.known_hosts.parent / root.name
        self._answers = self.place / "answers"
        self._answers.mkdir(parents=True)
        self._python = self.place / "python"
        self._python.write_text(_PYTHON.format(answers=self._answers))
        self._python.chmod(0o755)
        self.backup = self.place / "backup"
        self.backup.mkdir()
        self._server = server
        self._supervisor = supervisor
        self._results = results
        self._run_id = 0
        self.victim = self._make_victim(root / "victim")

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest of the prepared set."""
        path = self.deploy / TARGET / "prestage" / "shared" / f"from-{PREVIOUS}" / "manifest.json"
        content: dict[str, Any] = json.loads(path.read_text())
        return content

    def answer(self, module: str, answer: Mapping[str, Any] | str) -> None:
        """Have the site answer this to a module, as JSON or literally."""
        (self._answers / f"{module}.json").write_text(answer if isinstance(answer, str) else json.dumps(answer))

    def answer_without_end(self, module: str) -> None:
        """Have the site go on answering a module for ever."""
        (self._answers / f"{module}.endless").touch()

    def run(self, phase: StepState) -> RunEnded:
        """Run our playbook of a phase as the service does."""
        self._run_id += 1
        layout = ControllerLayout(
            playbooks_dir=PLAYBOOKS,
            deploy_dir=self.deploy,
            feed_dir=self._feeds.root,
            ssh_user=self._server.user,
            origin="here",
            deadlines_s=dict.fromkeys((StepState.PREPARE, StepState.PACKAGES, StepState.IMAGES), 60.0),
        )
        order = PhaseOrder(
            run_id=self._run_id,
            phase=phase,
            subcloud_name="edge",
            release=TARGET,
            from_version=PREVIOUS,
            oam_address=None,
            connection=self._connection(),
            for_sw_deploy=False,
        )
        self._supervisor.submit(playbook_job(layout, order, self._server.password))
        return self._results.wait(self._run_id)

    def outside(self) -> dict[str, tuple[int, str]]:
        """Return files of the controller that no run may touch, with their times of change and checksums."""
        archives = self.deploy / TARGET / "prestage" / "shared" / "archives"
        return {
            str(path): (path.lstat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and archives not in path.parents
        }

    def _connection(self) -> dict[str, Any]:
        return {
            **self._server.host_vars(),
            "ansible_python_interpreter": str(self._python),
            "platform_backup_dir": str(self.backup),
            "prestage_min_free_bytes": 0,
        }

    def _make_victim(self, directory: Path) -> Path:
        """Make a directory with old archives, and a layout whose only blob is a secret."""
        directory.mkdir()
        old = time.time() - 3 * _DAY_S
        for name in ("backup.tar", ".packing-backup", f"{'a' * 64}.tar"):
            (directory / name).write_text("the only copy")
            os.utime(directory / name, (old, old))
        blobs = directory / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        (blobs / self.secret_sha256()).write_text("secret")
        (directory / "oci-layout").write_text("{}")
        return directory

    @staticmethod
    def secret_sha256() -> str:
        """Return the digest of the victim's blob."""
        return hashlib.sha256(b"secret").hexdigest()

    def remove(self) -> None:
        """Remove what the site has; some of it belongs to root."""
        prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
        subprocess.run([*prefix, "rm", "-rf", str(self.place)], check=True)
