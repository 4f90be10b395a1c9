#!/usr/bin/python
"""Stage the packages of a release on a site."""

DOCUMENTATION = r"""
module: prestage_packages
short_description: Stage the packages of a release on a site
description:
  - Takes what the site's own feed has, then what the archive brings, verifies every checksum and marks the release
    complete when nothing is missing. Otherwise answers C(missing), for the controller to pack.
  - Writes only while it holds the lock of the site.
options:
  release: {type: str, required: true, description: The target release.}
  site_version: {type: str, required: true, description: The release that the site runs.}
  feed_directory: {type: path, required: true, description: The site's own feed.}
  manifest: {type: str, default: "", description: Text of the controller's manifest; empty for a reinstall.}
  manifest_source: {type: str, default: "", description: Where that text came from, for messages.}
  archive: {type: path, default: "", description: Archive on the site with what was missing; removed afterwards.}
  min_free_bytes: {type: int, default: 0, description: Room that must stay free.}
  backup_dir, origin, token, run, lock_wait_s, lock_lease_s: {description: See README.md, locking.}
  floor_rate_mbit_s, deadline_s: {description: See README.md, locking.}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.prestage.errors import PrestageError
from ansible.module_utils.prestage.feed import own_manifest, read_feed
from ansible.module_utils.prestage.incoming import incoming_path, remove_incoming
from ansible.module_utils.prestage.lock import LOCK_ARGUMENTS, SiteLock
from ansible.module_utils.prestage.manifest import Manifest, parse_manifest
from ansible.module_utils.prestage.package_staging import PackageStaging, stats
from ansible.module_utils.prestage.results import report
from ansible.module_utils.prestage.safe_names import release_number


def work(params: dict) -> dict:
    """Stage under the lock of the site."""
    release = release_number(params["release"])
    release_number(params["site_version"])
    staging = PackageStaging(
        os.path.join(params["backup_dir"], release), params["feed_directory"], params["min_free_bytes"]
    )
    with SiteLock(params) as lock:
        remove_incoming(params["backup_dir"], keep=lock.run)
        manifest = find_manifest(params, staging)
        if staging.is_complete(manifest):
            removed = staging.remove_strangers(manifest)
            lock.release()
            return answer(lock, manifest, changed=removed > 0)
        return stage(params, staging, manifest, lock)


def find_manifest(params: dict, staging: PackageStaging) -> Manifest:
    """Return what the site must hold: from its own feed, the controller, or an earlier complete run."""
    release, version = params["release"], params["site_version"]
    if release == version:
        return own_manifest(read_feed(params["feed_directory"]), release)
    if not params["manifest"]:
        earlier = staging.own_manifest()
        if earlier is not None and staging.is_complete(earlier):
            return earlier
        raise PrestageError(
            f"The packages of release {release} have not been prepared on the controller for sites of release "
            f"{version}: {params['manifest_source']} is missing. Run prepare_prestage_packages.yml first.",
            "controller",
        )
    manifest = parse_manifest(params["manifest"], params["manifest_source"])
    if (manifest.release, manifest.from_release) != (release, version):
        raise PrestageError(
            f"The package manifest {params['manifest_source']} is for release {manifest.release} from "
            f"{manifest.from_release}, not for {release} from {version}. Prepare the release again.",
            "controller",
        )
    return manifest


def stage(params: dict, staging: PackageStaging, manifest: Manifest, lock: SiteLock) -> dict:
    """Take in what is there; mark the release complete when that was all."""
    staged = staging.stage(manifest, params["archive"])
    if staged.missing and (params["archive"] or manifest.release == manifest.from_release):
        raise PrestageError(missing_sentence(params, [entry.path for entry in staged.missing]), "controller")
    if staged.missing:
        lock.await_transfer(sum(entry.size for entry in staged.missing))
        result = answer(lock, manifest, changed=staged.own_count > 0)
        return dict(
            result,
            missing=[entry.path for entry in staged.missing],
            upload=incoming_path(params["backup_dir"], lock.run),
        )
    staging.complete(manifest)
    remove_incoming(params["backup_dir"], keep="")
    lock.release()
    return answer(lock, manifest, changed=True, transferred=staged.carried_count)


def missing_sentence(params: dict, paths: list) -> str:
    """Say what the site could not get."""
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    if params["archive"]:
        return f"{paths[0]}{more} did not reach the site with the archive. Prestage again."
    return (
        f"{paths[0]}{more} is missing or damaged in the site's own feed {params['feed_directory']}. "
        "Repair the site's feed, then prestage again."
    )


def answer(lock: SiteLock, manifest: Manifest, *, changed: bool, transferred: int = 0) -> dict:
    """Return the module's result; without `missing` the release is complete."""
    return {
        "changed": changed,
        "run": lock.run,
        "released": lock.released,
        "missing": [],
        "stats": dict(stats(manifest, transferred), prestaged_release=manifest.release),
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=dict(
            LOCK_ARGUMENTS,
            release={"type": "str", "required": True},
            site_version={"type": "str", "required": True},
            feed_directory={"type": "path", "required": True},
            manifest={"type": "str", "default": ""},
            manifest_source={"type": "str", "default": ""},
            archive={"type": "path", "default": ""},
            min_free_bytes={"type": "int", "default": 0},
        )
    )
    report(module, lambda: work(module.params))


if __name__ == "__main__":
    main()
