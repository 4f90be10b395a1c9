#!/usr/bin/python
"""Remove staged releases from a site."""

DOCUMENTATION = r"""
module: prestage_remove_releases
short_description: Remove one staged release from a site, or old ones so that a number of them stays
description:
  - With C(release) removes this one, also where its staging was broken off; fails when it is protected.
  - Otherwise removes complete releases that these playbooks have staged, the oldest first.
  - Of the directories of releases only what the playbooks made is removed. Changes nothing else.
  - Works only while it holds the lock of the site.
options:
  release: {type: str, default: "", description: The only release to remove.}
  keep: {type: int, default: 0, description: How many stay, with the newest one; 0 removes nothing.}
  protected: {type: list, elements: str, required: true, description: Releases that stay in any case.}
  backup_dir, origin, token, run, lock_wait_s, lock_lease_s: {description: See README.md, locking.}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.prestage.errors import PrestageError
from ansible.module_utils.prestage.lock import LOCK_ARGUMENTS, SiteLock
from ansible.module_utils.prestage.results import report
from ansible.module_utils.prestage.safe_names import release_number
from ansible.module_utils.prestage.staged_releases import (
    is_touched,
    outdated_releases,
    remove_release,
    staged_releases,
)


def work(params: dict) -> dict:
    """Remove what is too much; answer which releases went."""
    with SiteLock(params) as lock:
        unwanted = chosen(params) if params["release"] else outdated(params)
        for release in unwanted:
            remove_release(params["backup_dir"], release)
        lock.release()
    return {"changed": bool(unwanted), "removed": unwanted}


def outdated(params: dict) -> list:
    """Return what is too much."""
    return outdated_releases(staged_releases(params["backup_dir"]), params["keep"], set(params["protected"]))


def chosen(params: dict) -> list:
    """Return the release that shall go, if there is something of ours."""
    release = release_number(params["release"])
    # A site may name the patch that it runs too, such as 23.09.1.
    if any(version == release or version.startswith(f"{release}.") for version in params["protected"]):
        raise PrestageError(f"Release {release} stays on this site, for the site runs it.", "version")
    return [release] if is_touched(params["backup_dir"], release) else []


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=dict(
            LOCK_ARGUMENTS,
            release={"type": "str", "default": ""},
            keep={"type": "int", "default": 0},
            protected={"type": "list", "elements": "str", "required": True},
        )
    )
    report(module, lambda: work(module.params))


if __name__ == "__main__":
    main()
