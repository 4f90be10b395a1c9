#!/usr/bin/python
"""Release the lock record of a run that cannot go on."""

DOCUMENTATION = r"""
module: prestage_unlock
short_description: Release the lock of the site
description:
  - For a run that failed between two modules. Also removes the archive that the run had transferred.
options:
  backup_dir, origin, token, run, lock_wait_s, lock_lease_s: {description: See README.md, locking.}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.prestage.incoming import remove_incoming
from ansible.module_utils.prestage.lock import LOCK_ARGUMENTS, SiteLock
from ansible.module_utils.prestage.results import report


def work(params: dict) -> dict:
    """Release; fails when the site belongs to another run by now."""
    with SiteLock(params) as lock:
        remove_incoming(params["backup_dir"], keep="")
        lock.release()
    return {"changed": False}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=dict(LOCK_ARGUMENTS))
    report(module, lambda: work(module.params))


if __name__ == "__main__":
    main()
