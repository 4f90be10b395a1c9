"""Commands about subclouds: texts and rules of contract 4."""

from __future__ import annotations

from typing import Any

import pytest

from db.schema import steps, subclouds
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
    @pytest.mark.parametrize("version", ["nightly", "22", "22.", ".12", "22.12.1", " 22.12", "22.12\n", "22,12", ""])
    def test_a_version_is_a_release(self, installation: Installation, key: str, version: str) -> None:
        """What is no release is refused on add and on change alike: it could not be compared."""
        installation.add_site("a")

        added = installation.ask(CommandType.SUBCLOUD_ADD, name="b", **{key: version})
        changed = installation.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **{key: version})

        expected = (400, f"Invalid {key}: give the version as MM.mm, such as 22.12")
        assert [expected, expected] == [(answer.status, answer.detail) for answer in (added, changed)]
        assert [("a", "22.12")] == [(row["name"], row["software_version"]) for row in installation.rows(subclouds)]

    @pytest.mark.parametrize(
        "status", ["", "Complete", "-complete", "pre staging", "a_b", "v1", "complete\n", "x" * 65]
    )
    def test_a_deploy_status_is_a_word(self, installation: Installation, status: str) -> None:
        """What no deploy can have come to is refused on add and on change alike."""
        installation.add_site("a")

        added = installation.ask(CommandType.SUBCLOUD_ADD, name="b", **{"deploy-status": status})
        changed = installation.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **{"deploy-status": status})

        expected = (400, "Invalid deploy-status: give a status such as complete, at most 64 small letters and dashes")
        assert [expected, expected] == [(answer.status, answer.detail) for answer in (added, changed)]
        assert [("a", "complete")] == [(row["name"], row["deploy_status"]) for row in installation.rows(subclouds)]

    @pytest.mark.parametrize("status", ["c", "rehome-pending", "pre-install-failed", "x" * 64])
    def test_deploy_statuses(self, installation: Installation, status: str) -> None:
        """Small letters and dashes make a deploy status, up to 64 of them."""
        installation.add_site("a", **{"deploy-status": status})

        assert status == installation.site("a")["deploy_status"]

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


class TestUpdateSubcloud:
    def update(self, installation: Installation, **data: Any) -> Any:
        """Change a subcloud."""
        return installation.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **data)

    def test_fields_change(self, installation: Installation) -> None:
        """Description, location, group, availability and deploy status are settable."""
        installation.add_group("edge")
        installation.add_site("a")

        body = self.update(
            installation,
            description="d",
            location="l",
            group_id="edge",
            **{"availability-status": "offline", "deploy-status": "installing"},
        ).body

        assert ("d", "l", 2, "offline", "installing") == tuple(
            body[key] for key in ("description", "location", "group_id", "availability-status", "deploy-status")
        )
        assert "T" in body["updated-at"]

    def test_the_network_of_an_unmanaged_one_changes(self, installation: Installation) -> None:
        """The client's network options all reach their columns, and its bootstrap address is where the site is."""
        installation.add_site("a", **{"management-state": "unmanaged"})

        answer = self.update(
            installation,
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
        }.items() <= installation.site("a").items()

    @pytest.mark.parametrize(
        "field",
        ["management_subnet", "management-subnet", "management_gateway_ip", "management-start-ip", "management_end_ip"],
    )
    def test_the_network_of_a_managed_one_stays(self, installation: Installation, field: str) -> None:
        """A managed subcloud refuses a change of its management network, also together with unmanaging it."""
        installation.add_site("a")
        before = installation.site("a")

        alone = self.update(installation, **{field: "192.168.103.0"})
        together = self.update(installation, **{field: "192.168.103.0", "management-state": "unmanaged"})

        assert (422, "A subcloud must be unmanaged to perform network reconfiguration") == (alone.status, alone.detail)
        assert (422, "Management state and network reconfiguration must be updated separately") == (
            together.status,
            together.detail,
        )
        assert before == installation.site("a")

    def test_a_managed_one_may_be_reached_elsewhere(self, installation: Installation) -> None:
        """A bootstrap address alone is no change of the network; an OAM address beside it counts before it."""
        installation.add_site("a")

        assert 200 == self.update(installation, bootstrap_address="10.10.10.78").status
        assert "10.10.10.78" == installation.site("a")["oam_floating_ip"]
        assert 200 == self.update(installation, bootstrap_address="10.10.10.79", oam_floating_ip="10.10.10.80").status
        assert "10.10.10.80" == installation.site("a")["oam_floating_ip"]

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
        self, installation: Installation, site: dict[str, str], change: dict[str, str], detail: str
    ) -> None:
        """Managing what is not ready is a 422 with the contract's text."""
        installation.add_site("a", **site)

        answer = self.update(installation, **change)

        assert (422, detail) == (answer.status, answer.detail)

    @pytest.mark.parametrize("deploy_status", ["complete", "rehome-pending", "prestage-complete"])
    def test_a_deployed_one_may_be_managed(self, installation: Installation, deploy_status: str) -> None:
        """What is deployed, or waits to be taken over from another controller, may be managed."""
        installation.add_site("a", **{"management-state": "unmanaged", "deploy-status": deploy_status})

        answer = self.update(installation, **{"management-state": "managed"})

        assert (200, "managed") == (answer.status, answer.body["management-state"])

    def test_rehoming_is_no_fit_state_for_a_prestage(self, installation: Installation) -> None:
        """A managed site that waits to be taken over is not prestaged."""
        installation.add_site("a", **{"deploy-status": "rehome-pending"})

        answer = installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="a")

        assert (400, f"Prestage skipped 'a': {DEPLOYING}") == (answer.status, answer.detail)

    def test_a_new_name_shows_on_the_steps(self, installation: Installation) -> None:
        """The steps of the strategy that is shown, and what runs by itself, go by the new name."""
        installation.add_site("a")
        installation.add_site("b")
        installation.create(cloud_name="a")
        installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="b")

        self.update(installation, name="a2")
        installation.ask(CommandType.SUBCLOUD_UPDATE, subject="b", name="b2")

        assert ["a2", "b2"] == [row["subcloud_name"] for row in installation.rows(steps)]

    def test_a_new_name_shows_on_ended_steps(self, installation: Installation) -> None:
        """As long as an ended strategy is shown its steps go by the name that the subcloud has now."""
        installation.add_site("a")
        installation.create()
        installation.verb("apply")
        installation.verb("abort")

        self.update(installation, name="b")

        assert [("b", "aborted")] == [(row["subcloud_name"], row["state"]) for row in installation.rows(steps)]

    def test_a_new_name_leaves_history_and_others_alone(self, installation: Installation) -> None:
        """Steps of past strategies keep the name of their time; those of other subclouds keep theirs."""
        installation.add_site("a")
        installation.add_site("other")
        installation.create()
        installation.verb("apply")
        installation.verb("abort")
        installation.verb("delete")
        installation.create()

        self.update(installation, name="b")

        assert ["a", "other", "b", "other"] == [row["subcloud_name"] for row in installation.rows(steps)]

    def test_a_refused_name_renames_nothing(self, installation: Installation) -> None:
        """A name that is taken leaves the steps as they are."""
        installation.add_site("a")
        installation.add_site("b")
        installation.create()

        answer = self.update(installation, name="b")

        assert 409 == answer.status
        assert ["a", "b"] == [row["subcloud_name"] for row in installation.rows(steps)]

    def test_force_manages_all_the_same(self, installation: Installation) -> None:
        """With force only `already managed` is checked."""
        installation.add_site("a", **{"management-state": "unmanaged", "availability-status": "offline"})

        answer = self.update(installation, force="true", **{"management-state": "managed"})

        assert 200 == answer.status
        assert "managed" == installation.site("a")["management_state"]

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
    def test_wrong_changes_are_refused(
        self, installation: Installation, change: dict[str, str], status: int, detail: str
    ) -> None:
        """A wrong change is refused with the contract's text and changes nothing."""
        installation.add_site("a")
        installation.add_site("b")
        before = installation.rows(subclouds)

        answer = self.update(installation, **change)

        assert (status, detail) == (answer.status, answer.detail)
        assert before == installation.rows(subclouds)

    def test_an_unknown_subcloud_is_404(self, installation: Installation) -> None:
        """A subcloud that is not there cannot be changed, removed or prestaged."""
        kinds = (CommandType.SUBCLOUD_UPDATE, CommandType.SUBCLOUD_DELETE, CommandType.SUBCLOUD_PRESTAGE)

        for kind in kinds:
            answer = installation.ask(kind, subject="ghost", description="x")
            assert (404, "Subcloud not found") == (answer.status, answer.detail)


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
