#!/usr/bin/python
"""Build the shared set of new and changed packages on the controller."""

DOCUMENTATION = r"""
module: prestage_prepare
short_description: Build the shared set of new and changed packages of a release
description:
  - Runs on the controller. Compares the feeds of the previous and the target release by their metadata and makes one
    directory with the packages that sites of the previous release lack, the target's metadata, a manifest and a marker.
  - Changes nothing when the set of the same feed contents is complete and intact. When it fails an intact set
    that is there already stays, for other runs may be using it; a damaged one is removed.
  - For sites of the target release itself it makes no set and answers the digest of the target's feed alone.
options:
  release: {type: str, required: true, description: The target release.}
  previous: {type: str, required: true, description: The release that the sites run.}
  feed_root: {type: path, required: true, description: Directory that holds rel-RELEASE of both releases.}
  shared_root: {type: path, required: true, description: Where sets are made.}
  wait_s: {type: float, default: 1800, description: Longest wait for another prepare, in seconds.}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.prestage.feed import own_manifest, read_feed
from ansible.module_utils.prestage.prepared_set import discard_damaged, exclusive, prepare
from ansible.module_utils.prestage.results import report
from ansible.module_utils.prestage.safe_names import release_number


def work(params: dict) -> dict:
    """Make the set complete, or fail."""
    release, previous, root = (
        release_number(params["release"]),
        release_number(params["previous"]),
        params["shared_root"],
    )
    if previous == release:
        # Its sites take the packages from their own feeds; what those should hold is all that there is to say.
        manifest = own_manifest(read_feed(os.path.join(params["feed_root"], f"rel-{release}")), release)
        nothing = {"package_count": 0, "new_count": 0, "changed_count": 0, "bytes": 0}
        return dict(nothing, changed=False, content_digest=manifest.digest)
    with exclusive(root, params["wait_s"]):
        try:
            target = read_feed(os.path.join(params["feed_root"], f"rel-{release}"))
            old = read_feed(os.path.join(params["feed_root"], f"rel-{previous}"))
            return prepare(target, old, root, release, previous)
        except BaseException:
            discard_damaged(root, previous)
            raise


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "release": {"type": "str", "required": True},
            "previous": {"type": "str", "required": True},
            "feed_root": {"type": "path", "required": True},
            "shared_root": {"type": "path", "required": True},
            "wait_s": {"type": "float", "default": 1800.0},
        }
    )
    report(module, lambda: work(module.params))


if __name__ == "__main__":
    main()
