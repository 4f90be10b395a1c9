"""Commands about subclouds: texts and rules of contract 4."""

from __future__ import annotations

from typing import Any

import pytest

from db.schema import steps, subclouds
from messages.commands import CommandType
from tests.integration.actors.coordinator_house import House

DEPLOYING = "Prestage operation is not allowed when subcloud deploy is in progress."
WAITING = (
    "Subcloud a has a step in a strategy that has not been worked on. "
    "Please wait for the strategy to end, or delete it, before running this operation."
)
BUSY = (
    "Subcloud a current prestage_status is 'prestaging'. Please wait until it finishes before running this operation."
)


class TestAddSubcloud:
    def test_a_site_is_registered_as_deployed(self, house: House) -> None:
        """Without more, a new subcloud is deployed, unmanaged, offline and in the Default group."""
        answer = house.ask(CommandType.SUBCLOUD_ADD, name="a")

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

    def test_bootstrap_values_fill_the_network_fields(self, house: House) -> None:
        """The keys of upstream's bootstrap values land in the fields that the client shows."""
        body = house.ask(
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
        assert "2620:10a::15" == house.site("a")["oam_floating_ip"]

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
    def test_the_bootstrap_address_stands_in(self, house: House, given: dict[str, str], address: str | None) -> None:
        """Without an OAM address the site is reached where it was to be bootstrapped."""
        answer = house.ask(CommandType.SUBCLOUD_ADD, name="a", **given)

        assert 200 == answer.status
        assert address == house.site("a")["oam_floating_ip"]

    @pytest.mark.parametrize("key", ["software_version", "software-version"])
    @pytest.mark.parametrize("version", ["nightly", "22", "22.", ".12", "22.12.1", " 22.12", "22.12\n", "22,12", ""])
    def test_a_version_is_a_release(self, house: House, key: str, version: str) -> None:
        """What is no release is refused on add and on change alike: it could not be compared."""
        house.add_site("a")

        added = house.ask(CommandType.SUBCLOUD_ADD, name="b", **{key: version})
        changed = house.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **{key: version})

        expected = (400, f"Invalid {key}: give the version as MM.mm, such as 22.12")
        assert [expected, expected] == [(answer.status, answer.detail) for answer in (added, changed)]
        assert [("a", "22.12")] == [(row["name"], row["software_version"]) for row in house.rows(subclouds)]

    @pytest.mark.parametrize(
        "status", ["", "Complete", "-complete", "pre staging", "a_b", "v1", "complete\n", "x" * 65]
    )
    def test_a_deploy_status_is_a_word(self, house: House, status: str) -> None:
        """What no deploy can have come to is refused on add and on change alike."""
        house.add_site("a")

        added = house.ask(CommandType.SUBCLOUD_ADD, name="b", **{"deploy-status": status})
        changed = house.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **{"deploy-status": status})

        expected = (400, "Invalid deploy-status: give a status such as complete, at most 64 small letters and dashes")
        assert [expected, expected] == [(answer.status, answer.detail) for answer in (added, changed)]
        assert [("a", "complete")] == [(row["name"], row["deploy_status"]) for row in house.rows(subclouds)]

    @pytest.mark.parametrize("status", ["c", "rehome-pending", "pre-install-failed", "x" * 64])
    def test_deploy_statuses(self, house: House, status: str) -> None:
        """Small letters and dashes make a deploy status, up to 64 of them."""
        house.add_site("a", **{"deploy-status": status})

        assert status == house.site("a")["deploy_status"]

    @pytest.mark.parametrize(
        ("data", "status", "fragment"),
        [
            ({}, 400, "name required"),
            ({"name": "123"}, 400, "name must contain alphabetic characters"),
            ({"name": "../etc"}, 400, "name must have"),
            ({"name": "b", "group_id": "nowhere"}, 400, "Invalid group_id"),
            ({"name": "b", "system_mode": "triplex"}, 400, "Invalid system_mode"),
            ({"name": "b", "management_subnet": "there"}, 400, "Invalid management_subnet"),
            ({"name": "b", "management-state": "x"}, 400, "Invalid management-state"),
            ({"name": "b", "availability-status": "x"}, 400, "Invalid availability-status"),
            ({"name": "b", "connection": {"ansible_ssh_pass": "x"}}, 400, "looks like a secret"),
            ({"name": "b", "connection": "no json"}, 400, "Invalid connection"),
            ({"name": "b", "bootstrap-address": "edge.example.com"}, 400, "Invalid bootstrap-address"),
            ({"name": "b", "bootstrap-address": ""}, 400, "Invalid bootstrap-address"),
            ({"name": "a"}, 409, "Subcloud with name=a already exists"),
        ],
    )
    def test_wrong_fields_are_refused(self, house: House, data: dict[str, Any], status: int, fragment: str) -> None:
        """A wrong field is refused by name and adds nothing."""
        house.add_site("a")

        answer = house.ask(CommandType.SUBCLOUD_ADD, **data)

        assert status == answer.status
        assert fragment in answer.detail
        assert 1 == len(house.rows(subclouds))

    def test_the_group_is_given_by_id_or_name(self, house: House) -> None:
        """Both spellings of a group are understood, for the client sends the name."""
        house.add_group("edge")
        house.add_site("a", group_id="edge")
        house.add_site("b", group_id="2")
        house.add_site("c", group_id=2)

        assert [2, 2, 2] == [row["group_id"] for row in house.rows(subclouds)]


class TestUpdateSubcloud:
    def update(self, house: House, **data: Any) -> Any:
        """Change a subcloud."""
        return house.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **data)

    def test_fields_change(self, house: House) -> None:
        """Description, location, group, availability and deploy status are settable."""
        house.add_group("edge")
        house.add_site("a")

        body = self.update(
            house,
            description="d",
            location="l",
            group_id="edge",
            **{"availability-status": "offline", "deploy-status": "installing"},
        ).body

        assert ("d", "l", 2, "offline", "installing") == tuple(
            body[key] for key in ("description", "location", "group_id", "availability-status", "deploy-status")
        )
        assert "T" in body["updated-at"]

    def test_the_network_of_an_unmanaged_one_changes(self, house: House) -> None:
        """The client's network options all reach their columns, and its bootstrap address is where the site is."""
        house.add_site("a", **{"management-state": "unmanaged"})

        answer = self.update(
            house,
            management_subnet="192.168.103.0/24",
            management_gateway_ip="192.168.103.1",
            management_start_ip="192.168.103.2",
            management_end_ip="192.168.103.50",
            bootstrap_address="10.10.10.77",
        )

        assert 200 == answer.status
        assert {
            "management_subnet": "192.168.103.0/24",
            "management_gateway_ip": "192.168.103.1",
            "management_start_ip": "192.168.103.2",
            "management_end_ip": "192.168.103.50",
            "oam_floating_ip": "10.10.10.77",
        }.items() <= house.site("a").items()

    @pytest.mark.parametrize(
        "field",
        ["management_subnet", "management-subnet", "management_gateway_ip", "management-start-ip", "management_end_ip"],
    )
    def test_the_network_of_a_managed_one_stays(self, house: House, field: str) -> None:
        """A managed subcloud refuses a change of its management network, also together with unmanaging it."""
        house.add_site("a")
        before = house.site("a")

        alone = self.update(house, **{field: "192.168.103.0"})
        together = self.update(house, **{field: "192.168.103.0", "management-state": "unmanaged"})

        assert (422, "A subcloud must be unmanaged to perform network reconfiguration") == (alone.status, alone.detail)
        assert (422, "Management state and network reconfiguration must be updated separately") == (
            together.status,
            together.detail,
        )
        assert before == house.site("a")

    def test_a_managed_one_may_be_reached_elsewhere(self, house: House) -> None:
        """A bootstrap address alone is no change of the network; an OAM address beside it counts before it."""
        house.add_site("a")

        assert 200 == self.update(house, bootstrap_address="10.10.10.78").status
        assert "10.10.10.78" == house.site("a")["oam_floating_ip"]
        assert 200 == self.update(house, bootstrap_address="10.10.10.79", oam_floating_ip="10.10.10.80").status
        assert "10.10.10.80" == house.site("a")["oam_floating_ip"]

    @pytest.mark.parametrize(
        ("site", "change", "detail"),
        [
            ({}, {"management-state": "managed"}, "Bad subcloud request: Subcloud a already managed"),
            (
                {"management-state": "unmanaged"},
                {"management-state": "unmanaged"},
                "Bad subcloud request: Subcloud a already unmanaged",
            ),
            (
                {"management-state": "unmanaged", "deploy-status": "installing"},
                {"management-state": "managed"},
                "Bad subcloud request: Unable to manage a: its deploy_status must be either 'complete' or "
                "'rehome-pending'",
            ),
            (
                {"management-state": "unmanaged", "availability-status": "offline"},
                {"management-state": "managed"},
                "Subcloud is not online.",
            ),
        ],
    )
    def test_managing_has_conditions(
        self, house: House, site: dict[str, str], change: dict[str, str], detail: str
    ) -> None:
        """Managing what is not ready is a 422 with the contract's text."""
        house.add_site("a", **site)

        answer = self.update(house, **change)

        assert (422, detail) == (answer.status, answer.detail)

    @pytest.mark.parametrize("deploy_status", ["complete", "rehome-pending", "prestage-complete"])
    def test_a_deployed_one_may_be_managed(self, house: House, deploy_status: str) -> None:
        """What is deployed, or waits to be taken over from another controller, may be managed."""
        house.add_site("a", **{"management-state": "unmanaged", "deploy-status": deploy_status})

        answer = self.update(house, **{"management-state": "managed"})

        assert (200, "managed") == (answer.status, answer.body["management-state"])

    def test_rehoming_is_no_fit_state_for_a_prestage(self, house: House) -> None:
        """A managed site that waits to be taken over is not prestaged."""
        house.add_site("a", **{"deploy-status": "rehome-pending"})

        answer = house.ask(CommandType.SUBCLOUD_PRESTAGE, subject="a")

        assert (400, f"Prestage skipped 'a': {DEPLOYING}") == (answer.status, answer.detail)

    def test_a_new_name_shows_on_the_steps(self, house: House) -> None:
        """The steps of the strategy that is shown, and what runs by itself, go by the new name."""
        house.add_site("a")
        house.add_site("b")
        house.create(cloud_name="a")
        house.ask(CommandType.SUBCLOUD_PRESTAGE, subject="b")

        self.update(house, name="a2")
        house.ask(CommandType.SUBCLOUD_UPDATE, subject="b", name="b2")

        assert ["a2", "b2"] == [row["subcloud_name"] for row in house.rows(steps)]

    def test_a_new_name_shows_on_ended_steps(self, house: House) -> None:
        """As long as an ended strategy is shown its steps go by the name that the subcloud has now."""
        house.add_site("a")
        house.create()
        house.verb("apply")
        house.verb("abort")

        self.update(house, name="b")

        assert [("b", "aborted")] == [(row["subcloud_name"], row["state"]) for row in house.rows(steps)]

    def test_a_new_name_leaves_history_and_others_alone(self, house: House) -> None:
        """Steps of past strategies keep the name of their time; those of other subclouds keep theirs."""
        house.add_site("a")
        house.add_site("other")
        house.create()
        house.verb("apply")
        house.verb("abort")
        house.verb("delete")
        house.create()

        self.update(house, name="b")

        assert ["a", "other", "b", "other"] == [row["subcloud_name"] for row in house.rows(steps)]

    def test_a_refused_name_renames_nothing(self, house: House) -> None:
        """A name that is taken leaves the steps as they are."""
        house.add_site("a")
        house.add_site("b")
        house.create()

        answer = self.update(house, name="b")

        assert 409 == answer.status
        assert ["a", "b"] == [row["subcloud_name"] for row in house.rows(steps)]

    def test_force_manages_all_the_same(self, house: House) -> None:
        """With force only `already managed` is checked."""
        house.add_site("a", **{"management-state": "unmanaged", "availability-status": "offline"})

        answer = self.update(house, force="true", **{"management-state": "managed"})

        assert 200 == answer.status
        assert "managed" == house.site("a")["management_state"]

    @pytest.mark.parametrize(
        ("change", "status", "detail"),
        [
            ({"management-state": "maybe"}, 400, "Invalid management-state"),
            ({"force": "maybe", "management-state": "managed"}, 400, "Invalid force value"),
            ({"force": "true", "description": "x"}, 400, "Invalid option: force"),
            ({"group_id": "nowhere"}, 400, "Invalid group"),
            ({"region_name": "x"}, 400, "nothing to update"),
            ({"locaton": "x"}, 400, "Unknown field: locaton; did you mean location?"),
            ({"name": "b"}, 409, "Subcloud with name=b already exists"),
        ],
    )
    def test_wrong_changes_are_refused(self, house: House, change: dict[str, str], status: int, detail: str) -> None:
        """A wrong change is refused with the contract's text and changes nothing."""
        house.add_site("a")
        house.add_site("b")
        before = house.rows(subclouds)

        answer = self.update(house, **change)

        assert (status, detail) == (answer.status, answer.detail)
        assert before == house.rows(subclouds)

    def test_an_unknown_subcloud_is_404(self, house: House) -> None:
        """A subcloud that is not there cannot be changed, removed or prestaged."""
        kinds = (CommandType.SUBCLOUD_UPDATE, CommandType.SUBCLOUD_DELETE, CommandType.SUBCLOUD_PRESTAGE)

        for kind in kinds:
            answer = house.ask(kind, subject="ghost", description="x")
            assert (404, "Subcloud not found") == (answer.status, answer.detail)


class TestDeleteSubcloud:
    def test_a_managed_one_stays(self, house: House) -> None:
        """A managed subcloud is not removed."""
        house.add_site("a")

        answer = house.ask(CommandType.SUBCLOUD_DELETE, subject="a")

        assert (400, "Cannot delete a subcloud that is 'managed' status") == (answer.status, answer.detail)

    def test_one_at_work_stays(self, house: House) -> None:
        """A subcloud with a step in a strategy that is applied is not removed."""
        house.add_site("a")
        house.create()
        house.verb("apply")
        house.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **{"management-state": "unmanaged"})

        answer = house.ask(CommandType.SUBCLOUD_DELETE, subject="a")

        assert (400, "Cannot delete a subcloud during an active operation.") == (answer.status, answer.detail)

    def test_an_online_one_stays(self, house: House) -> None:
        """A subcloud that answers is not removed."""
        house.add_site("a", **{"management-state": "unmanaged"})
        before = house.rows(subclouds)

        answer = house.ask(CommandType.SUBCLOUD_DELETE, subject="a")

        assert (422, "Subcloud must be powered down to perform this operation.") == (answer.status, answer.detail)
        assert before == house.rows(subclouds)

    def test_its_waiting_step_goes_with_it(self, house: House) -> None:
        """A removed subcloud takes its step out of a strategy that was not applied."""
        house.add_site("a")
        house.add_site("b")
        house.create()
        house.ask(
            CommandType.SUBCLOUD_UPDATE,
            subject="a",
            **{"management-state": "unmanaged", "availability-status": "offline"},
        )

        answer = house.ask(CommandType.SUBCLOUD_DELETE, subject="a")

        assert (200, None) == (answer.status, answer.body)
        assert ["b"] == [row["subcloud_name"] for row in house.rows(steps)]

    def test_history_keeps_its_name(self, house: House) -> None:
        """The steps of past strategies keep the name of a removed subcloud."""
        house.add_site("a", **{"management-state": "managed"})
        house.create()
        house.verb("apply")
        house.verb("abort")
        house.verb("delete")
        house.ask(
            CommandType.SUBCLOUD_UPDATE,
            subject="a",
            **{"management-state": "unmanaged", "availability-status": "offline"},
        )

        house.ask(CommandType.SUBCLOUD_DELETE, subject="a")

        assert [("a", None)] == [(row["subcloud_name"], row["subcloud_id"]) for row in house.rows(steps)]
