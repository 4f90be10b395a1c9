"""A site and a controller made of directories, and the playbooks run against them by the real ansible-playbook."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo.feed import DemoFeeds, build_feeds

PROJECT = Path(__file__).resolve().parents[3]
PLAYBOOKS = PROJECT / "playbooks"
CALLBACKS = Path(__file__).parent / "callbacks"
# Names the executable of another ansible-core to run the tests with.
EXECUTABLE_VARIABLE = "PRESTAGER_TEST_ANSIBLE_PLAYBOOK"
RUN_DEADLINE_S = 120
# Packages of a test's feed: one goes, two change, one is new, seven stay.
PACKAGE_COUNT = 10


@dataclass(frozen=True, kw_only=True)
class PlaybookRun:
    """What one run did."""

    return_code: int
    # Messages of failed tasks, in order.
    failures: list[str]
    # Number of tasks that changed something.
    changed: int
    # Values of set_stats.
    stats: dict[str, Any]
    # Task name → its answer.
    results: dict[str, Any]
    # Everything that was printed.
    output: str

    def require_success(self) -> PlaybookRun:
        """Return itself, or show why the run failed."""
        assert self.return_code == 0, self.failures or self.output
        return self


@dataclass(kw_only=True)
class PlaybookSite:
    """One controller and one site below a directory."""

    root: Path
    feeds: DemoFeeds
    host_vars: dict[str, Any]
    extra_vars: dict[str, Any] = field(default_factory=dict)
    # Added to the environment of ansible-playbook.
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def backup(self) -> Path:
        """The site's platform_backup_dir."""
        return self.root / "site" / "backup"

    @property
    def release(self) -> Path:
        """Where the site keeps the prestaged release."""
        return self.backup / self.feeds.target

    @property
    def own_feed(self) -> Path:
        """The site's own feed."""
        return Path(self.host_vars["site_feed_dir"])

    @property
    def prepared(self) -> Path:
        """The prepared set on the controller."""
        return self.root / "shared" / f"from-{self.feeds.previous}"

    def run(self, playbook: str, **extra_vars: Any) -> PlaybookRun:
        """Run a playbook of the project, with `software_version` and the site's own extra variables."""
        inventory, variables, record = (self.root / name for name in ("hosts.json", "vars.json", "record.json"))
        record.unlink(missing_ok=True)
        inventory.write_text(json.dumps({"all": {"hosts": {"edge-1": self.host_vars}}}), encoding="utf-8")
        merged = {"software_version": self.feeds.target, **self.extra_vars, **extra_vars}
        variables.write_text(json.dumps(merged), encoding="utf-8")
        done = subprocess.run(
            [executable(), str(PLAYBOOKS / playbook), "-i", str(inventory), "-e", f"@{variables}"],
            env=self._environment(record),
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=RUN_DEADLINE_S,
            check=False,
        )
        content = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
        return PlaybookRun(
            return_code=done.returncode,
            failures=content.get("failures", []),
            changed=content.get("changed", 0),
            stats=content.get("stats", {}),
            results=content.get("results", {}),
            output=done.stdout + done.stderr,
        )

    def prepare(self) -> PlaybookRun:
        """Run the prepare playbook from the site's release to the target."""
        return self.run(
            "prepare_prestage_packages.yml",
            current_software_version=self.feeds.target,
            previous_software_version=self.feeds.previous,
        )

    def package_names(self) -> list[str]:
        """Return the package files of the prestaged release."""
        return sorted(path.name for path in (self.release / "Packages").iterdir())

    def _environment(self, record: Path) -> dict[str, str]:
        home = self.root / "ansible-home"
        home.mkdir(exist_ok=True)
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(home),
            "ANSIBLE_HOME": str(home),
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_STDOUT_CALLBACK": "record",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "PRESTAGER_TEST_RECORD": str(record),
            **self.environment,
        }


def build_site(root: Path, *, version: str = "") -> PlaybookSite:
    """Make a controller with both feeds and a site that runs `version`, by default the previous release."""
    feeds = build_feeds(root / "controller", package_count=PACKAGE_COUNT)
    version = version or feeds.previous
    own_feed = root / "site" / "feed" / f"rel-{version}"
    shutil.copytree(feeds.root / f"rel-{version}", own_feed)
    (root / "site" / "backup").mkdir()
    host_vars = {
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": sys.executable,
        "ansible_remote_tmp": str(root / "remote-tmp"),
        "subcloud_software_version": version,
        "platform_backup_dir": str(root / "site" / "backup"),
        "site_feed_dir": str(own_feed),
        "controller_feed_root": str(feeds.root),
        "prestage_shared_root": str(root / "shared"),
        "prestage_min_free_bytes": 0,
    }
    return PlaybookSite(root=root, feeds=feeds, host_vars=host_vars)


def executable() -> str:
    """Return the ansible-playbook to test: the one named by the environment, else the one of this Python."""
    return os.environ.get(EXECUTABLE_VARIABLE) or str(Path(sys.executable).parent / "ansible-playbook")


def tree(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Return each file below a directory with its time of change and content, to compare two moments."""
    return {
        str(path.relative_to(directory)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != ".prestage.lock"
    }


def flip_byte(path: Path) -> None:
    """Damage a file without changing its size; a hard link to it keeps its content."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.unlink()
    path.write_bytes(content)
