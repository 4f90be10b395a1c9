#!/usr/bin/python
"""Check that a transfer fits into the directory that it passes through on a site."""

DOCUMENTATION = r"""
module: prestage_space
short_description: Check that a transfer fits into the login user's temporary directory on a site
description:
  - Ansible writes what it copies there first, and moves it as another user afterwards. Run it as the login user.
  - Changes nothing; the directory need not exist yet.
options:
  directory: {type: path, required: true, description: The remote_tmp of the connection.}
  bytes: {type: int, required: true, description: Size of what is transferred.}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.prestage.results import report
from ansible.module_utils.prestage.space import nearest_directory, require_space


def work(params: dict) -> dict:
    """Refuse what does not fit."""
    directory = nearest_directory(params["directory"])
    advice = ", or set ansible_remote_tmp for this site to a directory with more"
    require_space(directory, params["bytes"], 0, "the transfer", advice)
    return {"changed": False}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "bytes": {"type": "int", "required": True},
        }
    )
    report(module, lambda: work(module.params))


if __name__ == "__main__":
    main()
