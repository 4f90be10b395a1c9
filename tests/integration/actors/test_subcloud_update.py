"""The command that changes a subcloud."""

from __future__ import annotations

from typing import Any

import pytest

from db.schema import steps, subclouds
from messages.commands import CommandType
from tests.support.installation import Installation

DEPLOYING = "Prestage operation is not allowed when subcloud deploy is in progress."


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

    def test_labels_are_merged(self, installation: Installation) -> None:
        """A change sets the labels that it names, removes those that it gives as null, and leaves others."""
        installation.add_site("a", labels={"region": "eu", "lab": "", "old": None})
        assert {"lab": "", "region": "eu"} == installation.site("a")["labels"]

        body = self.update(installation, labels={"region": "us", "lab": None, "tier": "gold", "new": None}).body

        assert {"region": "us", "tier": "gold"} == body["labels"] == installation.site("a")["labels"]
        assert {"region": "us"} == self.update(installation, labels='{"tier": null}').body["labels"]

    def test_a_subcloud_has_at_most_twenty_labels(self, installation: Installation) -> None:
        """One label too many is refused whatever way it comes, and the labels stay."""
        most = {f"l{number}": "" for number in range(20)}
        installation.add_site("a", labels=most)

        answer = self.update(installation, labels={"more": "1"})

        assert (400, "Invalid labels: a subcloud has at most 20 labels, these are 21") == (answer.status, answer.detail)
        assert most == installation.site("a")["labels"]
        assert 200 == self.update(installation, labels={"more": "1", "l0": None}).status
        added = installation.ask(CommandType.SUBCLOUD_ADD, name="b", labels={**most, "more": "1"})
        assert (400, answer.detail) == (added.status, added.detail)

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
