#!/usr/bin/python
"""Remove old staged releases from a site."""

DOCUMENTATION = r"""
module: prestage_remove_releases
short_description: Remove old staged releases from a site, so that a number of them stays
description:
  - Removes complete releases that these playbooks have staged, the oldest first, and of their directories only what
    the playbooks made. Changes nothing else.
  - Works only while it holds the lock of the site.
options:
  keep: {type: int, required: true, description: How many stay, with the newest one; 0 removes nothing.}
  protected: {type: list, elements: str, required: true, description: Releases that stay in any case.}
  backup_dir, origin, token, run, lock_wait_s, lock_lease_s: {description: See README.md, locking.}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.prestage.lock import LOCK_ARGUMENTS, SiteLock
from ansible.module_utils.prestage.results import report
from ansible.module_utils.prestage.staged_releases import outdated_releases, remove_release, staged_releases


def work(params: dict) -> dict:
    """Remove what is too much; answer which releases went."""
    with SiteLock(params) as lock:
        staged = staged_releases(params["backup_dir"])
        outdated = outdated_releases(staged, params["keep"], set(params["protected"]))
        for release in outdated:
            remove_release(params["backup_dir"], release)
        lock.release()
    return {"changed": bool(outdated), "removed": outdated}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=dict(
            LOCK_ARGUMENTS,
            keep={"type": "int", "required": True},
            protected={"type": "list", "elements": "str", "required": True},
        )
    )
    report(module, lambda: work(module.params))


if __name__ == "__main__":
    main()
