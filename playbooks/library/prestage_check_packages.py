#!/usr/bin/python
"""Check that the packages which an earlier run staged are on a site still."""

DOCUMENTATION = r"""
module: prestage_check_packages
short_description: Check that the packages which an earlier run staged are on a site still
description:
  - Compares the digest of the complete release with the one that is asked for, and verifies every checksum.
  - Changes nothing. Fails with the class C(proof) when something is missing, damaged, or of another content.
options:
  release: {type: str, required: true, description: The release that was staged.}
  backup_dir: {type: path, required: true, description: Where releases are staged.}
  content_digest: {type: str, required: true, description: Digest of the packages, as the earlier run reported it.}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.prestage.errors import PrestageError
from ansible.module_utils.prestage.package_staging import PackageStaging
from ansible.module_utils.prestage.results import report
from ansible.module_utils.prestage.safe_names import release_number


def work(params: dict) -> dict:
    """Fail unless the release is complete there with this very content."""
    release = release_number(params["release"])
    fault = PackageStaging(os.path.join(params["backup_dir"], release), "", 0).fault(params["content_digest"])
    if fault:
        raise PrestageError(
            f"The packages of release {release} that an earlier run staged are not on this site any more: {fault}. "
            "Retry: the next retry begins at this site with the packages.",
            "proof",
        )
    return {"changed": False}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "release": {"type": "str", "required": True},
            "backup_dir": {"type": "path", "required": True},
            "content_digest": {"type": "str", "required": True},
        }
    )
    report(module, lambda: work(module.params))


if __name__ == "__main__":
    main()
