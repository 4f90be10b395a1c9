"""What create makes of the fleet, and what it answers (contract 3.3.3 to 3.3.5)."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from db.inventory import declare_upgrading
from db.schema import secrets, strategies
from messages.commands import CommandType
from tests.support.installation import Installation

UNABLE = "Unable to create strategy of type 'prestage': Bad strategy request: "
DEPLOYING = "Prestage operation is not allowed when subcloud deploy is in progress."


class TestCreateState:
    def test_a_second_strategy_is_refused(self, installation: Installation) -> None:
        """At most one strategy exists; a second create is a 422 that names the type of the first."""
        installation.add_site("a")
        installation.create()

        answer = installation.create()

        assert (422, UNABLE + "Strategy of type: 'prestage' already exists") == (answer.status, answer.detail)

    def test_twenty_creates_at_once_make_one_strategy(self, installation: Installation) -> None:
        """Of twenty creates at the same moment exactly one wins, and the others say why."""
        installation.add_site("a")
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: installation.create(), range(20)))

        assert [200] + [422] * 19 == sorted(answer.status for answer in answers)
        assert 1 == len(installation.rows(strategies))

    def test_unknown_subcloud_is_named(self, installation: Installation) -> None:
        """A single subcloud that is not there is a 422 that names it."""
        answer = installation.create(cloud_name="ghost")

        assert (422, UNABLE + "Subcloud ghost does not exist") == (answer.status, answer.detail)

    @pytest.mark.parametrize(
        ("site", "reason"),
        [
            ({"availability-status": "offline"}, "Subcloud is offline."),
            ({"management-state": "unmanaged"}, "Subcloud is not managed."),
            (
                {"deploy-status": "installing"},
                "Prestage operation is not allowed when subcloud deploy is in progress.",
            ),
        ],
    )
    def test_a_single_subcloud_must_be_fit(self, installation: Installation, site: dict[str, str], reason: str) -> None:
        """A single subcloud that may not be prestaged is a 422 with its skip reason."""
        installation.add_site("a", **site)

        answer = installation.create(cloud_name="a")

        assert (422, f"{UNABLE}Prestage skipped 'a': {reason}") == (answer.status, answer.detail)

    @pytest.mark.parametrize("site", [{}, {"availability-status": "offline"}])
    def test_a_single_subcloud_is_not_deployed_backwards(
        self, installation: Installation, site: dict[str, str]
    ) -> None:
        """A deployment of what is older than the single subcloud is a 422, told before what else is in the way."""
        installation.add_site("a", software_version="25.03", **site)

        answer = installation.create(cloud_name="a", release="24.09", for_sw_deploy="true")

        assert (
            422,
            f"{UNABLE}Prestage failed 'a': The requested software version (24.09) is lower than the current subcloud "
            "software version (25.03).",
        ) == (answer.status, answer.detail)
        assert [] == installation.rows(strategies)

    def test_an_older_release_for_an_install(self, installation: Installation) -> None:
        """A subcloud may be installed anew with an older release."""
        installation.add_site("a")

        assert 200 == installation.create(cloud_name="a", release="21.12").status

    def test_a_fleet_is_not_deployed_backwards(self, installation: Installation) -> None:
        """A create for all leaves out those that run more than what is to be deployed, and tells why."""
        installation.add_site("a", software_version="25.03")
        installation.add_site("b")

        answer = installation.create(release="24.09", for_sw_deploy="true")

        assert [("b", 1)] == installation.stages()
        assert [
            {
                "name": "a",
                "reason": "Prestage failed 'a': The requested software version (24.09) is lower than the current "
                "subcloud software version (25.03).",
            }
        ] == answer.body["excluded-subclouds"]

    def test_the_unfit_are_left_out_with_their_reason(self, installation: Installation) -> None:
        """A create for all leaves the unfit out and tells why; the fit get steps."""
        installation.add_site("a")
        installation.add_site("b", **{"availability-status": "offline"})
        installation.add_site("c", **{"deploy-status": "installing"})

        answer = installation.create()

        assert [("a", 1)] == installation.stages()
        assert [
            {"name": "b", "reason": "Prestage skipped 'b': Subcloud is offline."},
            {
                "name": "c",
                "reason": f"Prestage skipped 'c': {DEPLOYING}",
            },
        ] == answer.body["excluded-subclouds"]

    def test_nobody_left_leaves_no_strategy(self, installation: Installation) -> None:
        """When nobody is fit the create is refused and the next one is not in its way."""
        installation.add_site("a", **{"availability-status": "offline"})

        answer = installation.create()

        assert (422, UNABLE + "Strategy has no steps to apply") == (answer.status, answer.detail)
        assert [] == installation.rows(strategies)
        assert [] == installation.rows(secrets)

    def test_an_upgrading_controller_refuses(self, installation: Installation) -> None:
        """While the system controller upgrades no strategy is created."""
        installation.add_site("a")
        with installation.database.write() as connection:
            declare_upgrading(connection, upgrading=True)

        answer = installation.create()

        assert 422 == answer.status
        assert (
            UNABLE + "Prestage failed 'SystemController': Prestage operations not allowed while system controller "
            "upgrade is in progress." == answer.detail
        )

    def test_a_subcloud_under_standalone_prestage_is_left_out(self, installation: Installation) -> None:
        """What a standalone prestage works on gets no step."""
        installation.add_site("a")
        installation.add_site("b")
        installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="a")
        busy = (
            "Prestage skipped 'a': Subcloud a current prestage_status is 'prestaging'. "
            "Please wait until it finishes before running this operation."
        )

        single = installation.create(cloud_name="a")
        answer = installation.create()

        assert (422, UNABLE + busy) == (single.status, single.detail)
        assert [("b", 1)] == installation.stages()
        assert [{"name": "a", "reason": busy}] == answer.body["excluded-subclouds"]


class TestCreateAnswer:
    def test_the_answer_has_every_key_and_no_password(self, installation: Installation) -> None:
        """The answer is the strategy with all keys of contract 3.1, and no trace of the password."""
        installation.add_site("a")

        answer = installation.create(force="TRUE", **{"max-parallel-subclouds": "50", "stop-on-failure": "true"})

        body = answer.body
        assert {
            "type": "prestage",
            "subcloud-apply-type": None,
            "max-parallel-subclouds": 50,
            "stop-on-failure": True,
            "state": "initial",
            "updated-at": None,
        }.items() <= body.items()
        assert {"force": True, "prestage-software-version": "23.09", "for_sw_deploy": False} == body["extra-args"]
        assert [] == body["excluded-subclouds"]
        assert "T" in body["created-at"]
        assert "password" not in json.dumps(body)

    @pytest.mark.parametrize(
        ("data", "for_sw_deploy"),
        [
            ({}, False),
            ({"for_install": "true"}, False),
            ({"for_install": True, "for_sw_deploy": "f"}, False),
            ({"for_sw_deploy": "true"}, True),
            ({"for_sw_deploy": "T", "for_install": "False"}, True),
            ({"for_sw_deploy": True}, True),
        ],
    )
    def test_what_it_is_for(self, installation: Installation, data: dict[str, object], for_sw_deploy: bool) -> None:
        """A prestage is for an install unless it is said to be for a deploy; the steps know it too."""
        installation.add_site("a")

        answer = installation.create(release="24.09", **data)

        assert (200, for_sw_deploy) == (answer.status, answer.body["extra-args"]["for_sw_deploy"])
        assert for_sw_deploy is installation.step("a")["for_sw_deploy"]

    def test_a_named_group_lends_its_way(self, installation: Installation) -> None:
        """With a group named, the answer shows the group's apply type and width."""
        installation.add_group("g", "serial", 7)
        installation.add_site("a", group_id="g")

        body = installation.create(subcloud_group="g").body

        assert ("serial", 7) == (body["subcloud-apply-type"], body["max-parallel-subclouds"])

    def test_the_seeds_group_key_selects_with_a_width(self, installation: Installation) -> None:
        """`group` selects a group and may come with a width of its own (contract 3.3.4)."""
        installation.add_group("g", "parallel", 2)
        for name in ("a", "b", "c"):
            installation.add_site(name, group_id="g")
        installation.add_site("other")

        body = installation.create(group="g", **{"max-parallel-subclouds": 50}).body

        assert 50 == body["max-parallel-subclouds"]
        assert [("a", 1), ("b", 1), ("c", 1)] == installation.stages()

    def test_stages_follow_the_groups(self, installation: Installation) -> None:
        """Groups in id order, serial and parallel, never spanning groups (contract 8.1)."""
        installation.add_group("g1", "serial", 5)
        installation.add_group("g2", "parallel", 3)
        for name, group in (("a", "g1"), ("b", "g1"), ("c", "g2"), ("d", "g2"), ("e", "g2"), ("f", "g2")):
            installation.add_site(name, group_id=group)

        installation.create()

        assert [("a", 1), ("b", 2), ("c", 3), ("d", 3), ("e", 3), ("f", 4)] == installation.stages()

    def test_create_clears_old_errors(self, installation: Installation) -> None:
        """A create resets the error description of what it selects."""
        installation.add_site("a")
        with installation.database.write() as connection:
            connection.exec_driver_sql("UPDATE subclouds SET error_description = 'old'")

        installation.create()

        assert "No errors present" == installation.site("a")["error_description"]
