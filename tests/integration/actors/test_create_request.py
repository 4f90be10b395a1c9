"""The fields of a create request: every text and the order of contract 3.3.1 and 3.3.2."""

from __future__ import annotations

from typing import Any

import pytest

from db.schema import strategies
from messages.commands import Command, CommandType
from tests.support.installation import Installation

UNABLE = "Unable to create strategy of type 'prestage': Bad strategy request: "
DEPLOYING = "Prestage operation is not allowed when subcloud deploy is in progress."


class TestCreateFields:
    @pytest.mark.parametrize(
        ("data", "detail"),
        [
            ({"type": ""}, "type required"),
            ({"subcloud_group": "nowhere"}, "Invalid group_id"),
            ({"group": "nowhere"}, "Invalid group_id"),
            ({"subcloud_group": "77"}, "Invalid group_id"),
        ],
    )
    def test_wrong_fields_are_refused_with_the_contracts_text(
        self, installation: Installation, data: dict[str, Any], detail: str
    ) -> None:
        """A wrong field is a 400 with the exact text, and nothing is created."""
        installation.add_site("a")

        answer = installation.create(**data)

        assert (400, detail) == (answer.status, answer.detail)
        assert [] == installation.rows(strategies)

    def test_missing_password_is_named(self, installation: Installation) -> None:
        """A create without a password is a 400 that names sysadmin_password."""
        answer = installation.ask(CommandType.STRATEGY_CREATE, password=None, type="prestage")

        assert (400, "subcloud sysadmin_password required") == (answer.status, answer.detail)

    def test_undecodable_password_is_named(self, installation: Installation) -> None:
        """A password that is not base64 is a 400 that says so."""
        command = Command(type=CommandType.STRATEGY_CREATE, data={"type": "prestage"}, password_fault="undecodable")

        answer = installation.coordinator.execute(command)

        assert 400 == answer.status
        assert "Failed to decode subcloud sysadmin_password, verify the password is base64 encoded" == answer.detail

    def test_faults_are_reported_in_the_contracts_order(self, installation: Installation) -> None:
        """With everything wrong at once, each repaired field uncovers the next in the contract's order."""
        data: dict[str, Any] = {
            "type": "x",
            "subcloud-apply-type": "x",
            "max-parallel-subclouds": "x",
            "stop-on-failure": "x",
            "force": "x",
            "cloud_name": "ghost",
            "subcloud_group": "g",
            "release": "x",
        }
        seen = []
        for repair in (
            {"type": "prestage"},
            {"subcloud-apply-type": None},
            {"max-parallel-subclouds": None},
            {"stop-on-failure": None},
            {"force": None},
            {"cloud_name": None},
            {"subcloud_group": None},
        ):
            seen.append(installation.ask(CommandType.STRATEGY_CREATE, password=None, **data).detail.split()[0])
            data |= repair
        seen.append(installation.ask(CommandType.STRATEGY_CREATE, password=None, **data).detail)
        seen.append(installation.ask(CommandType.STRATEGY_CREATE, **data).detail.split(".")[0])
        seen.append(installation.ask(CommandType.STRATEGY_CREATE, **(data | {"release": None})).detail)

        assert [
            "type",
            "subcloud-apply-type",
            "max-parallel-subclouds",
            "stop-on-failure",
            "Invalid",
            "cloud_name",
            "Invalid",
            "subcloud sysadmin_password required",
            "Specified release format is not supported",
            UNABLE + "Strategy has no steps to apply",
        ] == seen

    def test_release_must_come_from_somewhere(self, installation: Installation) -> None:
        """Without a configured release a request must name one."""
        installation.coordinator._rules = type(installation.coordinator._rules)(release=None)
        installation.add_site("a")

        assert 400 == installation.create().status
        assert 200 == installation.create(release="24.09").status


def test_fields_of_dcmanager_are_named(installation: Installation) -> None:
    """What dcmanager knows of other types of strategy is ignored and named in the answer; any other name is refused."""
    installation.add_site("a")
    installation.add_site("b")

    refused = installation.create(cloud_name="a", stop_on_failure="true")
    created = installation.create(cloud_name="a", rollback=False, **{"to-version": "v1.31"})
    prestaged = installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="b", snapshot="true")
    changed = installation.ask(CommandType.SUBCLOUD_UPDATE, subject="b", location="north", on_site="true")

    told = "Prestager does not use, and did not keep: "
    assert (400, "Unknown field: stop_on_failure; did you mean stop-on-failure?") == (refused.status, refused.detail)
    assert created.body["info_message"].endswith(f"{told}rollback, to-version.")
    assert prestaged.body["info_message"].endswith(f"{told}snapshot.")
    assert f"{told}on_site." == changed.body["info_message"]
