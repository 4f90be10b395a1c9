#!/usr/bin/python
"""Read an image list on the controller."""

DOCUMENTATION = r"""
module: prestage_image_sources
short_description: Read an image list and the OCI layouts it names
description:
  - Runs on the controller. Answers what each line stands for, so that the site can say what it lacks.
options:
  list_file: {type: path, required: true, description: The list; layouts are relative to its directory.}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.prestage.image_sources import read_sources
from ansible.module_utils.prestage.results import report


def work(params: dict) -> dict:
    """Resolve the list."""
    return {"changed": False, "sources": [source.as_dict() for source in read_sources(params["list_file"])]}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={"list_file": {"type": "path", "required": True}})
    report(module, lambda: work(module.params))


if __name__ == "__main__":
    main()
