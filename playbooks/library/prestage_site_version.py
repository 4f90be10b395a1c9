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
from ansible.module_utils.prestage.results import report

VERSION = re.compile(r"""^(?:SW_VERSION=)?["']?([0-9]+(?:\.[0-9]+){1,3})["']?\s*$""", re.MULTILINE)


def work(params: dict) -> dict:
    """Return the version."""
    path = params["path"]
    advice = "Set subcloud_software_version for this site, or site_version_file to a file that holds SW_VERSION."
    try:
        with open(path, encoding="utf-8") as source:
            found = VERSION.search(source.read())
    except FileNotFoundError as error:
        raise PrestageError(f"The release of this site is unknown: {path} does not exist. {advice}") from error
    if found is None:
        raise PrestageError(f"The release of this site is unknown: {path} holds no version. {advice}")
    return {"changed": False, "version": found.group(1)}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={"path": {"type": "path", "required": True}})
    report(module, lambda: work(module.params))


if __name__ == "__main__":
    main()
