"""`prestager whoami`: the name and the roles that the service knows the caller by."""

from __future__ import annotations

from typing import Final

from client.client_command import Invocation, client_command
from client.output import ShownField, print_record


def _roles_text(roles: list[str]) -> str:
    return ", ".join(roles)


_FIELDS: Final = (
    ShownField(key="name", title="name"),
    ShownField(key="roles", title="roles", text=_roles_text),
    ShownField(key="project", title="project", is_wide=True),
)


@client_command
def whoami(invocation: Invocation) -> None:
    """Show the name by which the service knows you, as in its audit, and your roles."""
    print_record(invocation.api.read("whoami"), _FIELDS, invocation.form, "name")
