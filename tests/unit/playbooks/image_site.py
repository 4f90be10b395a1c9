"""A controller with image layouts and a site, without Ansible: the modules of the playbooks are called directly."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from demo.images import DemoImages, build_images
from tests.unit.playbooks.playbook_modules import LOCK_PARAMS, load_work


class ImageSite:
    """A controller with layouts and a site; modules are called directly."""

    def __init__(self, root: Path) -> None:
        """Make layouts, list and an empty site below `root`."""
        self.root = root
        self.images: DemoImages = build_images(root / "deploy")
        self.list_file = self.images.list_file
        self.backup = root / "backup"
        self.backup.mkdir()

    def sources(self) -> list[dict[str, Any]]:
        """Call the controller's module that reads the list."""
        answer: list[dict[str, Any]] = load_work("prestage_image_sources")({"list_file": str(self.list_file)})[
            "sources"
        ]
        return answer

    def stage(self, **changes: Any) -> dict[str, Any]:
        """Call the site's module."""
        params = {
            **LOCK_PARAMS,
            "backup_dir": str(self.backup),
            "release": "23.09",
            "sources": None,
            "own_list_file": str(self.backup / "list.txt"),
            "archive": "",
            "min_free_bytes": 0,
            "quota_bytes": 0,
            "skopeo": "skopeo",
            "tls_verify": True,
            "auth_file": "",
            **changes,
        }
        return load_work("prestage_images")(params)

    def stage_all(self) -> dict[str, Any]:
        """Do what the playbook does; return the first answer."""
        site = self.stage(sources=self.sources())
        if site["missing"]:
            params = {
                "sources": site["sources"],
                "blobs": site["missing"],
                "archive_directory": str(self.root / "arch"),
            }
            shutil.copyfile(load_work("prestage_pack_blobs")(params)["archive"], site["upload"])
            self.stage(sources=site["sources"], run=site["run"], archive=site["upload"])
        return site
