#!/usr/bin/python
"""Read which release a site runs."""

DOCUMENTATION = r"""
module: prestage_site_version
short_description: Read which release a site runs
description:
  - Reads a file with a line C(SW_VERSION="22.12"), or with nothing but the number.
options:
  path: {type: path, required: true, description: The file.}
"""

import re

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.prestage.errors import PrestageError
from ansible.module_utils.prestage.files import read_text
from ansible.module_utils.prestage.results import report

VERSION = re.compile(r"""^(?:SW_VERSION=)?["']?([0-9]+(?:\.[0-9]+){1,3})["']?\s*$""", re.MULTILINE)

# A file with a version has some lines.
LARGEST_BYTES = 1024 * 1024


def work(params: dict) -> dict:
    """Return the version."""
    path = params["path"]
    advice = "Set subcloud_software_version for this site, or site_version_file to a file that holds SW_VERSION."
    try:
        found = VERSION.search(read_text(path, LARGEST_BYTES))
    except FileNotFoundError as error:
        raise PrestageError(
            f"The release of this site is unknown: {path} does not exist. {advice}", "version"
        ) from error
    except ValueError as error:
        raise PrestageError(f"The release of this site is unknown: {path} is not text. {advice}", "version") from error
    if found is None:
        raise PrestageError(f"The release of this site is unknown: {path} holds no version. {advice}", "version")
    return {"changed": False, "version": found.group(1)}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={"path": {"type": "path", "required": True}})
    report(module, lambda: work(module.params))


if __name__ == "__main__":
    main()
