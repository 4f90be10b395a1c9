#!/usr/bin/python
"""Pack the packages that a site lacks, on the controller."""

DOCUMENTATION = r"""
module: prestage_pack_packages
short_description: Pack exactly the packages that a site lacks into one archive
description:
  - Runs on the controller. Takes new and changed packages from the prepared set, unchanged ones (which a site lacks
    only when its own feed is damaged) from the target feed, verifies them, and returns the archive's path.
options:
  set_directory: {type: path, required: true, description: The prepared set.}
  feed_directory: {type: path, required: true, description: The controller's feed of the target release.}
  files: {type: list, elements: str, required: true, description: Paths from the manifest.}
  archive_directory: {type: path, required: true, description: Where archives are kept for other sites.}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.prestage.archive import Part, pack
from ansible.module_utils.prestage.errors import PrestageError
from ansible.module_utils.prestage.files import open_regular, require_inside
from ansible.module_utils.prestage.manifest import UNCHANGED, Entry
from ansible.module_utils.prestage.prepared_set import load_set
from ansible.module_utils.prestage.results import report
from ansible.module_utils.prestage.safe_names import excerpt


def work(params: dict) -> dict:
    """Pack the named files."""
    entries = {entry.path: entry for entry in load_set(params["set_directory"]).entries}
    unknown = sorted(set(params["files"]) - set(entries))
    if unknown:
        raise PrestageError(
            f"The prepared package set changed meanwhile: it has no {excerpt(unknown[0])}. Prestage again."
        )
    packed = pack([part(entries[path], params) for path in params["files"]], params["archive_directory"])
    # Moves the deadline of the run.
    return dict(packed, prestage_transfer_bytes=packed["bytes"])


def part(entry: Entry, params: dict) -> Part:
    """Describe one file of the archive."""
    own = entry.change == UNCHANGED
    directory = params["feed_directory"] if own else params["set_directory"]
    advice = f"It belongs in {directory} on the controller. " + (
        "Load the release again." if own else "Prepare the release again."
    )
    # The feed may link to packages elsewhere; what is packed is verified.
    path = os.path.join(directory, entry.path) if own else require_inside(directory, entry.path)
    return Part(entry.path, entry.sha256, entry.size, lambda: open_regular(path), advice)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "set_directory": {"type": "path", "required": True},
            "feed_directory": {"type": "path", "required": True},
            "files": {"type": "list", "elements": "str", "required": True},
            "archive_directory": {"type": "path", "required": True},
        }
    )
    report(module, lambda: work(module.params))


if __name__ == "__main__":
    main()
