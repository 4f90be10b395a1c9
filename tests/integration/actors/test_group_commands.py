"""Commands about subcloud groups: texts and rules of contract 5."""

from __future__ import annotations

from typing import Any

import pytest

from messages.commands import CommandType
from tests.support.installation import Installation

DEPLOYING = "Prestage operation is not allowed when subcloud deploy is in progress."
WAITING = (
    "Subcloud a has a step in a strategy that has not been worked on. "
    "Please wait for the strategy to end, or delete it, before running this operation."
)
BUSY = (
    "Subcloud a current prestage_status is 'prestaging'. Please wait until it finishes before running this operation."
)


class TestGroups:
    def group(self, installation: Installation, kind: CommandType, subject: str | None = None, **data: Any) -> Any:
        """Send a group command."""
        return installation.ask(kind, subject=subject, **data)

    @pytest.mark.parametrize(
        ("data", "detail"),
        [
            ({"name": ""}, "Invalid group name"),
            ({"descripton": "x"}, "Unknown field: descripton; did you mean description?"),
            ({"name": "edge"}, "A subcloud group with this name already exists"),
        ],
    )
    def test_wrong_fields_are_refused(self, installation: Installation, data: dict[str, Any], detail: str) -> None:
        """A wrong field of a group is a 400 with the contract's text, on add and on update alike."""
        installation.add_group("edge")
        installation.add_group("other")
        good = {"name": "g", "description": "d", "update_apply_type": "serial", "max_parallel_subclouds": "3"}

        added = self.group(installation, CommandType.GROUP_CREATE, **(good | data))

        assert (400, detail) == (added.status, added.detail)

    def test_a_group_is_made_as_the_client_sends_it(self, installation: Installation) -> None:
        """The width arrives as text on add and as a number on update."""
        made = self.group(
            installation,
            CommandType.GROUP_CREATE,
            name="g1",
            description="group one",
            update_apply_type="serial",
            max_parallel_subclouds="3",
        )
        changed = self.group(
            installation, CommandType.GROUP_UPDATE, "g1", update_apply_type="parallel", max_parallel_subclouds=7
        )

        assert ("serial", 3) == (made.body["update_apply_type"], made.body["max_parallel_subclouds"])
        assert ("parallel", 7) == (changed.body["update_apply_type"], changed.body["max_parallel_subclouds"])

    def test_the_default_group_keeps_its_name_and_place(self, installation: Installation) -> None:
        """The Default group is neither renamed nor removed."""
        renamed = self.group(installation, CommandType.GROUP_UPDATE, "Default", name="x")
        removed = self.group(installation, CommandType.GROUP_DELETE, "1")

        assert (400, "Default group name cannot be changed") == (renamed.status, renamed.detail)
        assert (400, "Default Subcloud Group may not be deleted") == (removed.status, removed.detail)

    def test_only_an_empty_group_is_removed(self, installation: Installation) -> None:
        """A group with members stays; an empty one goes; an unknown one is 404; nothing to update is told."""
        installation.add_group("edge")
        installation.add_site("a", group_id="edge")
        full = self.group(installation, CommandType.GROUP_DELETE, "edge")
        installation.ask(CommandType.SUBCLOUD_UPDATE, subject="a", group_id="Default")
        idle = self.group(installation, CommandType.GROUP_UPDATE, "edge", name=None)
        empty = self.group(installation, CommandType.GROUP_DELETE, "edge")
        gone = self.group(installation, CommandType.GROUP_DELETE, "edge")

        assert (400, "Subcloud Group not empty") == (full.status, full.detail)
        assert (400, "nothing to update") == (idle.status, idle.detail)
        assert (200, None) == (empty.status, empty.body)
        assert (404, "Subcloud Group not found") == (gone.status, gone.detail)

    def test_renaming_to_a_taken_name_is_refused(self, installation: Installation) -> None:
        """Renaming a group to an existing name is a 400, where upstream breaks."""
        installation.add_group("a1")
        installation.add_group("b1")

        answer = self.group(installation, CommandType.GROUP_UPDATE, "a1", name="b1")

        assert (400, "A subcloud group with this name already exists") == (answer.status, answer.detail)
