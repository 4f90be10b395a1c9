"""The standalone prestage: texts and rules of contract 4.3."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from db.inventory import declare_upgrading
from db.schema import secrets, steps, subclouds
from messages.commands import CommandType
from messages.serializers import subcloud_resource
from tests.support.installation import Installation

DEPLOYING = "Prestage operation is not allowed when subcloud deploy is in progress."
WAITING = (
    "Subcloud a has a step in a strategy that has not been worked on. "
    "Please wait for the strategy to end, or delete it, before running this operation."
)
BUSY = (
    "Subcloud a current prestage_status is 'prestaging'. Please wait until it finishes before running this operation."
)


class TestStandalone:
    def prestage(self, installation: Installation, name: str = "a", **data: Any) -> Any:
        """Ask for a standalone prestage."""
        return installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject=name, **data)

    def test_it_is_accepted_and_handed_out(self, installation: Installation) -> None:
        """The answer is the subcloud, prestaging, with the release; the precheck is handed out."""
        installation.add_site("a")

        answer = self.prestage(installation)

        assert (200, "prestaging", "23.09") == (
            answer.status,
            answer.body["prestage-status"],
            answer.body["prestage-software-version"],
        )
        assert 1 == len(installation.queued())
        assert None is installation.step("a")["strategy_id"]

    @pytest.mark.parametrize("before", [None, "failed", "complete"])
    def test_it_shows_as_prestaging_at_once(self, installation: Installation, before: str | None) -> None:
        """From the answer on the subcloud is prestaging, before any worker looks: an old result is not taken for it."""
        installation.add_site("a")
        with installation.database.write() as connection:
            connection.execute(update(subclouds).values(prestage_status=before))

        answer = self.prestage(installation)

        site = installation.site("a")
        assert ("initial", "prestaging") == (installation.step("a")["state"], site["prestage_status"])
        assert answer.body["updated-at"] == subcloud_resource(site)["updated-at"]

    def test_its_status_and_its_step_come_together(
        self, installation: Installation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """When the status cannot be set there is no step, no secret and no message either."""
        installation.add_site("a")

        def broken(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr("actors.coordinator.prestage_subcloud.change", broken)

        answer = self.prestage(installation)

        assert 500 == answer.status
        assert None is installation.site("a")["prestage_status"]
        assert ([], [], []) == (installation.rows(steps), installation.rows(secrets), installation.messages())

    @pytest.mark.parametrize(
        ("data", "for_sw_deploy"),
        [
            ({}, False),
            ({"for_install": "true"}, False),
            ({"for_install": True, "for_sw_deploy": "F"}, False),
            ({"for_sw_deploy": "true"}, True),
            ({"for_sw_deploy": True, "for_install": False}, True),
        ],
    )
    def test_what_it_is_for(self, installation: Installation, data: dict[str, object], for_sw_deploy: bool) -> None:
        """A prestage is for an install unless it is said to be for a deploy."""
        installation.add_site("a")

        assert 200 == self.prestage(installation, release="24.09", **data).status
        assert for_sw_deploy is installation.step("a")["for_sw_deploy"]

    @pytest.mark.parametrize(
        ("site", "data", "detail"),
        [
            ({}, {"force": "x"}, "Invalid value for force option: x"),
            (
                {"software_version": "25.03"},
                {"release": "24.09", "for_sw_deploy": "true"},
                "Prestage failed 'a': The requested software version (24.09) is lower than the current subcloud "
                "software version (25.03).",
            ),
            (
                {},
                {"release": "23.09", "for_sw_deploy": "true"},
                "Prestage failed 'a': The requested software version is not supported, cannot prestage for software "
                "deploy. The first that is supported is 24.09.",
            ),
            ({"availability-status": "offline"}, {}, "Prestage skipped 'a': Subcloud is offline."),
            ({"management-state": "unmanaged"}, {}, "Prestage skipped 'a': Subcloud is not managed."),
            ({"deploy-status": "installing"}, {}, f"Prestage skipped 'a': {DEPLOYING}"),
            (
                {"system_mode": "duplex"},
                {},
                "Prestage skipped 'a': Prestage operation is only accepted for a simplex subcloud.",
            ),
            (
                {"management-alarms": 1},
                {},
                "Prestage failed 'a': Subcloud has management affecting alarm(s). Please resolve the alarm "
                "condition(s) or use --force option and try again.",
            ),
        ],
    )
    def test_the_unfit_are_refused(
        self, installation: Installation, site: dict[str, Any], data: dict[str, Any], detail: str
    ) -> None:
        """What may not be prestaged is a 400 with the contract's text, and starts nothing."""
        installation.add_site("a", **site)

        answer = self.prestage(installation, **data)

        assert (400, detail) == (answer.status, answer.detail)
        assert [] == installation.rows(steps)
        assert None is installation.site("a")["prestage_status"]

    def test_force_passes_over_alarms(self, installation: Installation) -> None:
        """Force passes over management-affecting alarms and nothing else."""
        installation.add_site("a", **{"management-alarms": 3})

        assert 200 == self.prestage(installation, force="true").status

    def test_passwords_are_required(self, installation: Installation) -> None:
        """A missing password is a 400 with the text of this verb."""
        installation.add_site("a")

        answer = installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="a", password=None)

        assert (400, "sysadmin_password is required.") == (answer.status, answer.detail)

    @pytest.mark.parametrize(("applied", "reason"), [(False, WAITING), (True, BUSY)])
    def test_a_subcloud_in_a_strategy_is_refused(self, installation: Installation, applied: bool, reason: str) -> None:
        """While the subcloud has a step in a strategy that has not ended, a standalone prestage is rejected.

        The reason tells a step that nobody works on, which must be applied or deleted, from one that will end.
        """
        installation.add_site("a")
        installation.create()
        if applied:
            installation.verb("apply")

        answer = self.prestage(installation)

        assert (400, f"Prestage skipped 'a': {reason}") == (answer.status, answer.detail)
        assert None is installation.site("a")["prestage_status"]

    def test_a_second_one_is_refused(self, installation: Installation) -> None:
        """A subcloud is prestaged once at a time."""
        installation.add_site("a")
        self.prestage(installation)

        answer = self.prestage(installation)

        assert (400, f"Prestage skipped 'a': {BUSY}") == (answer.status, answer.detail)
        assert 1 == len(installation.rows(steps))

    def test_an_upgrading_controller_refuses(self, installation: Installation) -> None:
        """While the system controller upgrades nothing is prestaged."""
        installation.add_site("a")
        with installation.database.write() as connection:
            declare_upgrading(connection, upgrading=True)

        answer = self.prestage(installation)

        assert 400 == answer.status
        assert "system controller upgrade is in progress" in answer.detail

    def test_each_has_a_secret_of_its_own(self, installation: Installation) -> None:
        """The passwords of two standalone prestages are kept apart, sealed."""
        installation.add_site("a")
        installation.add_site("b")
        self.prestage(installation, "a")
        self.prestage(installation, "b")

        kept = installation.rows(secrets)
        assert 2 == len({row["step_id"] for row in kept})
        assert ["pw", "pw"] == [installation.sealer.open(row["sealed"], bound_to=row["bound_to"]) for row in kept]
        assert not any("pw" == row["sealed"] for row in kept)
