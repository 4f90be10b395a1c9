"""Names that Ansible keeps for itself, so that no subcloud may have them.

A subcloud is the one host of its run's inventory. A host called `localhost` would take the tasks that belong on the
controller, and one called like a group of Ansible's breaks the inventory. Other spellings, such as `Localhost`, are
ordinary names to Ansible.
"""

from __future__ import annotations

from typing import Final

# Names of the implicit host (`ansible.constants.LOCALHOST`) and of the groups that each inventory has.
_RESERVED: Final = frozenset({"localhost", "127.0.0.1", "::1", "all", "ungrouped"})


def is_reserved_host_name(name: str) -> bool:
    """Return whether Ansible gives the name a meaning of its own."""
    return name in _RESERVED


def rename_text(name: str) -> str:
    """Return the sentence about a subcloud that got such a name in an earlier release."""
    return f"The name {name} is reserved by Ansible; give the subcloud another one before it is prestaged."


def reserved_name_text(name: str) -> str:
    """Return the sentence that refuses the name, without its full stop."""
    return f"name {name} is reserved by Ansible; choose another one"
