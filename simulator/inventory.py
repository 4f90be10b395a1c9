"""Writes what Prestager has to know of a simulated fleet: an inventory to import, and where the sites' APIs are."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from simulator.rules import SiteFault
from simulator.simulation import Fleet, SimulatedSite
from simulator.site_tree import LOGIN

GROUP: Final = "fleet"
# Small enough for any machine; the default is meant for a real backup partition.
_MIN_FREE_BYTES: Final = 16 * 1024 * 1024
# More than any machine has free, and less than any image needs.
_NO_ROOM_BYTES: Final = 1 << 60
_NO_QUOTA_BYTES: Final = 1


def write_inventory(fleet: Fleet, path: Path, *, max_parallel: int) -> None:
    """Write an Ansible inventory that `prestager subcloud import` takes; no secret is in it."""
    shared = {
        "ansible_user": LOGIN,
        "ansible_python_interpreter": sys.executable,
        "prestage_min_free_bytes": _MIN_FREE_BYTES,
        "prestager_group": GROUP,
        "prestager_group_apply_type": "parallel",
        "prestager_group_max_parallel": max_parallel,
    }
    hosts = {site.name: _variables(site) for site in fleet.sites}
    inventory = {"all": {"vars": shared, "hosts": hosts}}
    path.write_text(yaml.safe_dump(inventory, sort_keys=False), encoding="utf-8")


def write_site_urls(fleet: Fleet, path: Path) -> None:
    """Write the TOML file of each site's Keystone, sysinv and USM."""
    tables = (
        f"[{json.dumps(site.name)}]\n"
        f"keystone = {json.dumps(site.api.keystone_url)}\n"
        f"sysinv = {json.dumps(site.api.sysinv_url)}\n"
        f"usm = {json.dumps(site.api.sysinv_url)}\n"
        for site in fleet.sites
    )
    path.write_text("\n".join(tables), encoding="utf-8")


def _variables(site: SimulatedSite) -> dict[str, Any]:
    return {
        "ansible_host": site.ssh.host,
        "ansible_port": site.ssh.port,
        "ansible_remote_tmp": str(site.tree.home / ".ansible" / "tmp"),
        "platform_backup_dir": str(site.tree.backup),
        "site_feed_dir": str(site.tree.feed(site.release)),
        "site_version_file": str(site.tree.root / "etc" / "build.info"),
        "prestager_software_version": site.release,
        "prestager_oam_address": site.ssh.host,
        "prestager_management_state": "unmanaged" if SiteFault.UNMANAGED in site.faults else "managed",
        "prestager_availability_status": "offline" if SiteFault.OFFLINE in site.faults else "online",
        "prestager_system_mode": "duplex" if SiteFault.DUPLEX in site.faults else "simplex",
        "prestager_management_alarms": int(SiteFault.ALARM in site.faults),
        **({"prestage_min_free_bytes": _NO_ROOM_BYTES} if SiteFault.PACKAGES_FAIL in site.faults else {}),
        **({"prestage_image_quota_bytes": _NO_QUOTA_BYTES} if SiteFault.IMAGES_FAIL in site.faults else {}),
    }
