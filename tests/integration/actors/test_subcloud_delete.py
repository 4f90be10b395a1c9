"""The command that deletes a subcloud."""

from __future__ import annotations

from db.schema import steps, subclouds
from messages.commands import CommandType
from tests.support.installation import Installation


class TestDeleteSubcloud:
    def test_a_managed_one_stays(self, installation: Installation) -> None:
        """A managed subcloud is not removed."""
        installation.add_site("a")

        answer = installation.ask(CommandType.SUBCLOUD_DELETE, subject="a")

        assert (400, "Cannot delete a subcloud that is 'managed' status") == (answer.status, answer.detail)

    def test_one_at_work_stays(self, installation: Installation) -> None:
        """A subcloud with a step in a strategy that is applied is not removed."""
        installation.add_site("a")
        installation.create()
        installation.verb("apply")
        installation.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **{"management-state": "unmanaged"})

        answer = installation.ask(CommandType.SUBCLOUD_DELETE, subject="a")

        assert (400, "Cannot delete a subcloud during an active operation.") == (answer.status, answer.detail)

    def test_an_online_one_stays(self, installation: Installation) -> None:
        """A subcloud that answers is not removed."""
        installation.add_site("a", **{"management-state": "unmanaged"})
        before = installation.rows(subclouds)

        answer = installation.ask(CommandType.SUBCLOUD_DELETE, subject="a")

        assert (422, "Subcloud must be powered down to perform this operation.") == (answer.status, answer.detail)
        assert before == installation.rows(subclouds)

    def test_its_waiting_step_goes_with_it(self, installation: Installation) -> None:
        """A removed subcloud takes its step out of a strategy that was not applied."""
        installation.add_site("a")
        installation.add_site("b")
        installation.create()
        installation.ask(
            CommandType.SUBCLOUD_UPDATE,
            subject="a",
            **{"management-state": "unmanaged", "availability-status": "offline"},
        )

        answer = installation.ask(CommandType.SUBCLOUD_DELETE, subject="a")

        assert (200, None) == (answer.status, answer.body)
        assert ["b"] == [row["subcloud_name"] for row in installation.rows(steps)]

    def test_history_keeps_its_name(self, installation: Installation) -> None:
        """The steps of past strategies keep the name of a removed subcloud."""
        installation.add_site("a", **{"management-state": "managed"})
        installation.create()
        installation.verb("apply")
        installation.verb("abort")
        installation.verb("delete")
        installation.ask(
            CommandType.SUBCLOUD_UPDATE,
            subject="a",
            **{"management-state": "unmanaged", "availability-status": "offline"},
        )

        installation.ask(CommandType.SUBCLOUD_DELETE, subject="a")

        assert [("a", None)] == [(row["subcloud_name"], row["subcloud_id"]) for row in installation.rows(steps)]
