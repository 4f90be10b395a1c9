"""The command that adds a subcloud."""

from __future__ import annotations

from typing import Any

import pytest

from db.schema import subclouds
from messages.commands import CommandType
from tests.support.installation import Installation


class TestAddSubcloud:
    def test_a_site_is_registered_as_deployed(self, installation: Installation) -> None:
        """Without more, a new subcloud is deployed, unmanaged, offline and in the Default group."""
        answer = installation.ask(CommandType.SUBCLOUD_ADD, name="a")

        assert 200 == answer.status
        assert {
            "name": "a",
            "management-state": "unmanaged",
            "availability-status": "offline",
            "deploy-status": "complete",
            "software-version": "23.09",
            "group_id": 1,
            "prestage-status": None,
            "error-description": "No errors present",
            "region-name": "a",
        }.items() <= answer.body.items()

    def test_bootstrap_values_fill_the_network_fields(self, installation: Installation) -> None:
        """The keys of upstream's bootstrap values land in the fields that the client shows."""
        body = installation.ask(
            CommandType.SUBCLOUD_ADD,
            name="a",
            system_mode="duplex",
            management_subnet="192.168.101.0/24",
            management_start_address="192.168.101.2",
            management_end_address="192.168.101.50",
            management_gateway_address="192.168.101.1",
            systemcontroller_gateway_address="192.168.204.101",
            external_oam_floating_address="2620:10a::15",
        ).body

        assert {
            "management-subnet": "192.168.101.0/24",
            "management-start-ip": "192.168.101.2",
            "management-end-ip": "192.168.101.50",
            "management-gateway-ip": "192.168.101.1",
            "systemcontroller-gateway-ip": "192.168.204.101",
            "system-mode": "duplex",
        }.items() <= body.items()
        assert "2620:10a::15" == installation.site("a")["oam_floating_ip"]

    @pytest.mark.parametrize(
        ("given", "address"),
        [
            ({"bootstrap-address": "10.10.10.13"}, "10.10.10.13"),
            ({"bootstrap-address": "2620:10a:0::15, 10.10.10.13"}, "2620:10a::15"),
            ({"bootstrap-address": "10.10.10.13", "external_oam_floating_address": "10.10.10.2"}, "10.10.10.2"),
            ({"external_oam_floating_address": "10.10.10.2", "bootstrap-address": "10.10.10.13"}, "10.10.10.2"),
            ({}, None),
        ],
    )
    def test_the_bootstrap_address_stands_in(
        self, installation: Installation, given: dict[str, str], address: str | None
    ) -> None:
        """Without an OAM address the site is reached where it was to be bootstrapped."""
        answer = installation.ask(CommandType.SUBCLOUD_ADD, name="a", **given)

        assert 200 == answer.status
        assert address == installation.site("a")["oam_floating_ip"]

    @pytest.mark.parametrize("key", ["software_version", "software-version"])
    @pytest.mark.parametrize("version", ["22.12.1"])
    def test_a_version_is_a_release(self, installation: Installation, key: str, version: str) -> None:
        """What is no release is refused on add and on change alike: it could not be compared."""
        installation.add_site("a")

        added = installation.ask(CommandType.SUBCLOUD_ADD, name="b", **{key: version})
        changed = installation.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **{key: version})

        expected = (400, f"Invalid {key}: give the version as MM.mm, such as 22.12")
        assert [expected, expected] == [(answer.status, answer.detail) for answer in (added, changed)]
        assert [("a", "22.12")] == [(row["name"], row["software_version"]) for row in installation.rows(subclouds)]

    @pytest.mark.parametrize("status", ["Complete"])
    def test_a_deploy_status_is_a_word(self, installation: Installation, status: str) -> None:
        """What no deploy can have come to is refused on add and on change alike."""
        installation.add_site("a")

        added = installation.ask(CommandType.SUBCLOUD_ADD, name="b", **{"deploy-status": status})
        changed = installation.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **{"deploy-status": status})

        expected = (400, "Invalid deploy-status: give a status such as complete, at most 64 small letters and dashes")
        assert [expected, expected] == [(answer.status, answer.detail) for answer in (added, changed)]
        assert [("a", "complete")] == [(row["name"], row["deploy_status"]) for row in installation.rows(subclouds)]

    @pytest.mark.parametrize("status", ["pre-install-failed"])
    def test_deploy_statuses(self, installation: Installation, status: str) -> None:
        """Small letters and dashes make a deploy status, up to 64 of them."""
        installation.add_site("a", **{"deploy-status": status})

        assert status == installation.site("a")["deploy_status"]

    @pytest.mark.parametrize(
        ("data", "status", "fragment"),
        [
            ({}, 400, "name required"),
            ({"name": "b", "group_id": "nowhere"}, 400, "Invalid group_id"),
            ({"name": "a"}, 409, "Subcloud with name=a already exists"),
        ],
    )
    def test_wrong_fields_are_refused(
        self, installation: Installation, data: dict[str, Any], status: int, fragment: str
    ) -> None:
        """A wrong field is refused by name and adds nothing."""
        installation.add_site("a")

        answer = installation.ask(CommandType.SUBCLOUD_ADD, **data)

        assert status == answer.status
        assert fragment in answer.detail
        assert 1 == len(installation.rows(subclouds))

    def test_the_group_is_given_by_id_or_name(self, installation: Installation) -> None:
        """Both spellings of a group are understood, for the client sends the name."""
        installation.add_group("edge")
        installation.add_site("a", group_id="edge")
        installation.add_site("b", group_id="2")
        installation.add_site("c", group_id=2)

        assert [2, 2, 2] == [row["group_id"] for row in installation.rows(subclouds)]
