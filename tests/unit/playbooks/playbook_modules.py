"""Calls the modules of the playbooks directly, without Ansible; conftest.py makes them importable."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demo.feed import DemoFeeds, build_feeds

PLAYBOOKS = Path(__file__).resolve().parents[3] / "playbooks"

DueDeliveries = Callable[[dict[str, Any]], dict[str, Any]]

LOCK_PARAMS = {
    "origin": "",
    "token": 0,
    "run": "",
    "lock_wait_s": 0.0,
    "lock_lease_s": 300.0,
    "floor_rate_mbit_s": 2.0,
    "deadline_s": 0.0,
}


def load_work(name: str) -> DueDeliveries:
    """Return the `work` function of a module of library/."""
    spec = importlib.util.spec_from_file_location(f"playbook_module_{name}", PLAYBOOKS / "library" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    work: DueDeliveries = module.work
    return work


class Controller:
    """Both feeds on a controller, and one site that runs the previous release; modules are called directly."""

    def __init__(self, root: Path) -> None:
        """Make feeds and site below `root`."""
        self.root = root
        self.feeds: DemoFeeds = build_feeds(root / "controller", package_count=10)
        self.shared = root / "shared"
        self.backup = root / "backup"
        self.backup.mkdir()
        self.release = self.backup / self.feeds.target
        self.own_feed = root / "site-feed"
        shutil.copytree(self.feeds.previous_directory, self.own_feed)

    @property
    def prepared(self) -> Path:
        """The set for sites of the previous release."""
        return self.shared / f"from-{self.feeds.previous}"

    def prepare(self) -> dict[str, Any]:
        """Call the prepare module."""
        params = {
            "release": self.feeds.target,
            "previous": self.feeds.previous,
            "feed_root": str(self.feeds.root),
            "shared_root": str(self.shared),
            "wait_s": 30.0,
        }
        return load_work("prestage_prepare")(params)

    def pack(self, files: list[str]) -> str:
        """Call the packing module and return the archive's path."""
        return str(self.packed(files)["archive"])

    def packed(self, files: list[str]) -> dict[str, Any]:
        """Call the packing module and return its answer."""
        params = {
            "set_directory": str(self.prepared),
            "feed_directory": str(self.feeds.target_directory),
            "files": files,
            "archive_directory": str(self.root / "archives"),
        }
        return load_work("prestage_pack_packages")(params)

    def stage(self, **changes: Any) -> dict[str, Any]:
        """Call the site's packages module with the prepared manifest."""
        manifest = self.prepared / "manifest.json"
        params = {
            **LOCK_PARAMS,
            "backup_dir": str(self.backup),
            "release": self.feeds.target,
            "site_version": self.feeds.previous,
            "feed_directory": str(self.own_feed),
            "manifest": manifest.read_text() if manifest.exists() else "",
            "manifest_source": str(manifest),
            "archive": "",
            "min_free_bytes": 0,
            **changes,
        }
        return load_work("prestage_packages")(params)

    def stage_all(self, **changes: Any) -> dict[str, Any]:
        """Do what the playbook does: stage, pack, transfer, complete."""
        site = self.stage(**changes)
        if not site["missing"]:
            return site
        shutil.copyfile(self.pack(site["missing"]), site["upload"])
        return self.stage(run=site["run"], archive=site["upload"], **changes)

    def edit_manifest(self, **changes: Any) -> str:
        """Return the prepared manifest with the first file's fields replaced."""
        content = json.loads((self.prepared / "manifest.json").read_text())
        content["files"][0].update(changes)
        return json.dumps(content)
