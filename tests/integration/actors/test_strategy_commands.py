"""Strategy commands against a real database: every text and order of contract 3.3 to 3.5."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from coordinator_house import House

from db.inventory import declare_upgrading
from db.schema import commands, secrets, steps, strategies
from messages.commands import Command, CommandType

UNABLE = "Unable to create strategy of type 'prestage': Bad strategy request: "
DEPLOYING = "Prestage operation is not allowed when subcloud deploy is in progress."


class TestCreateFields:
    @pytest.mark.parametrize(
        ("data", "detail"),
        [
            ({"type": None}, "type required"),
            ({"type": ""}, "type required"),
            ({"type": "upgrade"}, "type invalid"),
            ({"type": ["prestage"]}, "type invalid"),
            ({"subcloud-apply-type": "both"}, "subcloud-apply-type invalid"),
            ({"subcloud-apply-type": 1}, "subcloud-apply-type invalid"),
            ({"max-parallel-subclouds": "many"}, "max-parallel-subclouds invalid value. Value: many"),
            ({"max-parallel-subclouds": True}, "max-parallel-subclouds invalid value. Value: True"),
            ({"max-parallel-subclouds": 1.5}, "max-parallel-subclouds invalid value. Value: 1.5"),
            (
                {"max-parallel-subclouds": 0},
                "Invalid max-parallel-subclouds value: 0. For prestage, the value must be between 1 and 500.",
            ),
            (
                {"max-parallel-subclouds": "501"},
                "Invalid max-parallel-subclouds value: 501. For prestage, the value must be between 1 and 500.",
            ),
            (
                {"max-parallel-subclouds": -1},
                "Invalid max-parallel-subclouds value: -1. For prestage, the value must be between 1 and 500.",
            ),
            ({"stop-on-failure": "maybe"}, "stop-on-failure invalid"),
            ({"stop-on-failure": True}, "stop-on-failure invalid"),
            ({"force": "abc"}, "Invalid value 'abc' for force - must be True/False or 'true'/'false'"),
            ({"force": 1}, "Invalid value '1' for force - must be True/False or 'true'/'false'"),
            (
                {"cloud_name": "a", "subcloud_group": "Default"},
                "cloud_name and subcloud_group are mutually exclusive",
            ),
            ({"cloud_name": "a", "group": "Default"}, "cloud_name and subcloud_group are mutually exclusive"),
            (
                {"subcloud_group": "Default", "max-parallel-subclouds": 3},
                "subcloud-apply-type and max-parallel-subclouds are not allowed when subcloud_group is provided",
            ),
            (
                {"subcloud_group": "Default", "subcloud-apply-type": "serial"},
                "subcloud-apply-type and max-parallel-subclouds are not allowed when subcloud_group is provided",
            ),
            ({"cloud_name": ""}, "cloud_name invalid"),
            ({"cloud_name": 1}, "cloud_name invalid"),
            ({"cloud_name": False}, "cloud_name invalid"),
            ({"cloud_name": ["a"]}, "cloud_name invalid"),
            ({"cloud_name": {"name": "a"}}, "cloud_name invalid"),
            ({"for_install": "x"}, "Invalid value for for_install option: x"),
            ({"for_install": 1}, "Invalid value for for_install option: 1"),
            ({"for_sw_deploy": "x"}, "Invalid value for for_sw_deploy option: x"),
            ({"for_install": "x", "for_sw_deploy": "x"}, "Invalid value for for_install option: x"),
            ({"for_install": "true", "for_sw_deploy": "T"}, "for_install and for_sw_deploy are mutually exclusive"),
            ({"for_install": True, "for_sw_deploy": True}, "for_install and for_sw_deploy are mutually exclusive"),
            ({"subcloud_group": "nowhere"}, "Invalid group_id"),
            ({"group": "nowhere"}, "Invalid group_id"),
            ({"subcloud_group": "77"}, "Invalid group_id"),
            (
                {"release": "22.12.1"},
                "Specified release format is not supported. Version format must be MM.mm.",
            ),
            ({"release": 22.12}, "Specified release format is not supported. Version format must be MM.mm."),
        ],
    )
    def test_wrong_fields_are_refused_with_the_contracts_text(
        self, house: House, data: dict[str, Any], detail: str
    ) -> None:
        """A wrong field is a 400 with the exact text, and nothing is created."""
        house.add_site("a")

        answer = house.create(**data)

        assert (400, detail) == (answer.status, answer.detail)
        assert [] == house.rows(strategies)

    def test_missing_password_is_named(self, house: House) -> None:
        """A create without a password is a 400 that names sysadmin_password."""
        answer = house.ask(CommandType.STRATEGY_CREATE, password=None, type="prestage")

        assert (400, "subcloud sysadmin_password required") == (answer.status, answer.detail)

    def test_undecodable_password_is_named(self, house: House) -> None:
        """A password that is not base64 is a 400 that says so."""
        command = Command(type=CommandType.STRATEGY_CREATE, data={"type": "prestage"}, password_fault="undecodable")

        answer = house.coordinator.execute(command)

        assert 400 == answer.status
        assert "Failed to decode subcloud sysadmin_password, verify the password is base64 encoded" == answer.detail

    def test_faults_are_reported_in_the_contracts_order(self, house: House) -> None:
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
            seen.append(house.ask(CommandType.STRATEGY_CREATE, password=None, **data).detail.split()[0])
            data |= repair
        seen.append(house.ask(CommandType.STRATEGY_CREATE, password=None, **data).detail)
        seen.append(house.ask(CommandType.STRATEGY_CREATE, **data).detail.split(".")[0])
        seen.append(house.ask(CommandType.STRATEGY_CREATE, **(data | {"release": None})).detail)

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

    def test_release_must_come_from_somewhere(self, house: House) -> None:
        """Without a configured release a request must name one."""
        house.coordinator._rules = type(house.coordinator._rules)(release=None)
        house.add_site("a")

        assert 400 == house.create().status
        assert 200 == house.create(release="24.09").status


class TestCreateState:
    def test_a_second_strategy_is_refused(self, house: House) -> None:
        """At most one strategy exists; a second create is a 422 that names the type of the first."""
        house.add_site("a")
        house.create()

        answer = house.create()

        assert (422, UNABLE + "Strategy of type: 'prestage' already exists") == (answer.status, answer.detail)

    def test_twenty_creates_at_once_make_one_strategy(self, house: House) -> None:
        """Of twenty creates at the same moment exactly one wins, and the others say why."""
        house.add_site("a")
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: house.create(), range(20)))

        assert [200] + [422] * 19 == sorted(answer.status for answer in answers)
        assert 1 == len(house.rows(strategies))

    def test_unknown_subcloud_is_named(self, house: House) -> None:
        """A single subcloud that is not there is a 422 that names it."""
        answer = house.create(cloud_name="ghost")

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
    def test_a_single_subcloud_must_be_fit(self, house: House, site: dict[str, str], reason: str) -> None:
        """A single subcloud that may not be prestaged is a 422 with its skip reason."""
        house.add_site("a", **site)

        answer = house.create(cloud_name="a")

        assert (422, f"{UNABLE}Prestage skipped 'a': {reason}") == (answer.status, answer.detail)

    @pytest.mark.parametrize("site", [{}, {"availability-status": "offline"}])
    def test_a_single_subcloud_takes_no_older_release(self, house: House, site: dict[str, str]) -> None:
        """A release older than that of the single subcloud is a 422, told before what else is in the way."""
        house.add_site("a", **site)

        answer = house.create(cloud_name="a", release="21.12")

        assert (
            422,
            f"{UNABLE}Prestage failed 'a': The requested software version (21.12) is lower than the current subcloud "
            "software version (22.12).",
        ) == (answer.status, answer.detail)
        assert [] == house.rows(strategies)

    def test_an_older_release_leaves_a_fleet_to_its_prechecks(self, house: House) -> None:
        """A create for all does not judge the release: sites that are newer fail each by themselves."""
        house.add_site("a")

        assert 200 == house.create(release="21.12").status
        assert [("a", 1)] == house.stages()

    def test_the_unfit_are_left_out_with_their_reason(self, house: House) -> None:
        """A create for all leaves the unfit out and tells why; the fit get steps."""
        house.add_site("a")
        house.add_site("b", **{"availability-status": "offline"})
        house.add_site("c", **{"deploy-status": "installing"})

        answer = house.create()

        assert [("a", 1)] == house.stages()
        assert [
            {"name": "b", "reason": "Prestage skipped 'b': Subcloud is offline."},
            {
                "name": "c",
                "reason": f"Prestage skipped 'c': {DEPLOYING}",
            },
        ] == answer.body["excluded-subclouds"]

    def test_nobody_left_leaves_no_strategy(self, house: House) -> None:
        """When nobody is fit the create is refused and the next one is not in its way."""
        house.add_site("a", **{"availability-status": "offline"})

        answer = house.create()

        assert (422, UNABLE + "Strategy has no steps to apply") == (answer.status, answer.detail)
        assert [] == house.rows(strategies)
        assert [] == house.rows(secrets)

    def test_an_upgrading_controller_refuses(self, house: House) -> None:
        """While the system controller upgrades no strategy is created."""
        house.add_site("a")
        with house.database.write() as connection:
            declare_upgrading(connection, upgrading=True)

        answer = house.create()

        assert 422 == answer.status
        assert (
            UNABLE + "Prestage failed 'SystemController': Prestage operations not allowed while system controller "
            "upgrade is in progress." == answer.detail
        )

    def test_a_subcloud_under_standalone_prestage_is_left_out(self, house: House) -> None:
        """What a standalone prestage works on gets no step."""
        house.add_site("a")
        house.add_site("b")
        house.ask(CommandType.SUBCLOUD_PRESTAGE, subject="a")
        busy = (
            "Prestage skipped 'a': Subcloud a current prestage_status is 'prestaging'. "
            "Please wait until it finishes before running this operation."
        )

        single = house.create(cloud_name="a")
        answer = house.create()

        assert (422, UNABLE + busy) == (single.status, single.detail)
        assert [("b", 1)] == house.stages()
        assert [{"name": "a", "reason": busy}] == answer.body["excluded-subclouds"]


class TestCreateAnswer:
    def test_the_answer_has_every_key_and_no_password(self, house: House) -> None:
        """The answer is the strategy with all keys of contract 3.1, and no trace of the password."""
        house.add_site("a")

        answer = house.create(force="TRUE", **{"max-parallel-subclouds": "50", "stop-on-failure": "true"})

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
    def test_what_it_is_for(self, house: House, data: dict[str, object], for_sw_deploy: bool) -> None:
        """A prestage is for an install unless it is said to be for a deploy; the steps know it too."""
        house.add_site("a")

        answer = house.create(**data)

        assert (200, for_sw_deploy) == (answer.status, answer.body["extra-args"]["for_sw_deploy"])
        assert for_sw_deploy is house.step("a")["for_sw_deploy"]

    def test_a_named_group_lends_its_way(self, house: House) -> None:
        """With a group named, the answer shows the group's apply type and width."""
        house.add_group("g", "serial", 7)
        house.add_site("a", group_id="g")

        body = house.create(subcloud_group="g").body

        assert ("serial", 7) == (body["subcloud-apply-type"], body["max-parallel-subclouds"])

    def test_the_seeds_group_key_selects_with_a_width(self, house: House) -> None:
        """`group` selects a group and may come with a width of its own (contract 3.3.4)."""
        house.add_group("g", "parallel", 2)
        for name in ("a", "b", "c"):
            house.add_site(name, group_id="g")
        house.add_site("other")

        body = house.create(group="g", **{"max-parallel-subclouds": 50}).body

        assert 50 == body["max-parallel-subclouds"]
        assert [("a", 1), ("b", 1), ("c", 1)] == house.stages()

    def test_stages_follow_the_groups(self, house: House) -> None:
        """Groups in id order, serial and parallel, never spanning groups (contract 8.1)."""
        house.add_group("g1", "serial", 5)
        house.add_group("g2", "parallel", 3)
        for name, group in (("a", "g1"), ("b", "g1"), ("c", "g2"), ("d", "g2"), ("e", "g2"), ("f", "g2")):
            house.add_site(name, group_id=group)

        house.create()

        assert [("a", 1), ("b", 2), ("c", 3), ("d", 3), ("e", 3), ("f", 4)] == house.stages()

    def test_create_clears_old_errors(self, house: House) -> None:
        """A create resets the error description of what it selects."""
        house.add_site("a")
        with house.database.write() as connection:
            connection.exec_driver_sql("UPDATE subclouds SET error_description = 'old'")

        house.create()

        assert "No errors present" == house.site("a")["error_description"]


class TestVerbs:
    def test_apply_starts_the_first_stage_in_the_same_transaction(self, house: House) -> None:
        """The answer to apply shows `applying`, and the first stage is handed out already."""
        for name in ("a", "b", "c"):
            house.add_site(name)
        house.create()

        answer = house.verb("apply")

        assert (200, "applying") == (answer.status, answer.body["state"])
        assert 2 == len(house.queued())
        assert [("inspect_site", run_id) for run_id in house.queued()] == house.messages()

    @pytest.mark.parametrize("verb", ["apply", "abort", "delete"])
    def test_every_answer_tells_who_was_left_out(self, house: House, verb: str) -> None:
        """The answer to each verb names who was left out at create, whatever became of them since."""
        house.add_site("a")
        house.add_site("b", **{"availability-status": "offline"})
        house.create()
        house.ask(CommandType.SUBCLOUD_UPDATE, subject="b", **{"availability-status": "online"})
        if verb == "abort":
            house.verb("apply")

        answer = house.verb(verb)

        assert 200 == answer.status
        assert [{"name": "b", "reason": "Prestage skipped 'b': Subcloud is offline."}] == answer.body[
            "excluded-subclouds"
        ]

    def test_a_strategy_is_applied_once(self, house: House) -> None:
        """A second apply is a 422 that names the state, and hands nothing out."""
        house.add_site("a")
        house.create()
        house.verb("apply")

        answer = house.verb("apply")

        assert (
            422,
            "Unable to apply strategy of type 'prestage': Bad strategy request: "
            "Strategy in state applying cannot be applied",
        ) == (answer.status, answer.detail)
        assert 1 == len(house.queued())

    @pytest.mark.parametrize("verb", ["apply", "abort", "delete"])
    def test_without_a_strategy_verbs_are_refused(self, house: House, verb: str) -> None:
        """A verb without a strategy is a 422 that says so."""
        answer = house.verb(verb)

        assert (
            422,
            f"Unable to {verb} strategy of type 'prestage': Strategy with type prestage doesn't exist.",
        ) == (answer.status, answer.detail)

    def test_a_verb_without_a_type_takes_the_one_strategy(self, house: House) -> None:
        """Without a type the only strategy is meant; the refusal then says None like upstream."""
        house.add_site("a")

        refused = house.verb("apply", kind=None)
        house.create()
        accepted = house.verb("apply", kind=None)

        assert "Unable to apply strategy of type 'None': Strategy with type None doesn't exist." == refused.detail
        assert 200 == accepted.status

    def test_another_type_does_not_match(self, house: House) -> None:
        """A verb for another type finds no strategy."""
        house.add_site("a")
        house.create()

        assert 422 == house.verb("apply", kind="upgrade").status

    def test_abort_answers_abort_requested_and_aborts_the_waiting(self, house: House) -> None:
        """Abort answers `abort requested`; waiting steps are aborted in the same transaction, none starts later."""
        for name in ("a", "b", "c"):
            house.add_site(name)
        house.create()
        house.verb("apply")

        answer = house.verb("abort")

        assert (200, "abort requested") == (answer.status, answer.body["state"])
        assert ["aborted"] * 3 == [row["state"] for row in house.rows(steps)]
        assert [] == house.queued()
        assert "aborted" == house.rows(strategies)[0]["state"]

    @pytest.mark.parametrize("applied", [False, True])
    def test_abort_needs_an_applying_strategy(self, house: House, applied: bool) -> None:
        """Abort of a strategy that is not applying is a 422 that names the state."""
        house.add_site("a")
        house.create()
        state = "initial"
        if applied:
            house.verb("apply")
            house.verb("abort")
            state = "aborted"

        answer = house.verb("abort")

        assert (
            422,
            "Unable to abort strategy of type 'prestage': Bad strategy request: "
            f"Strategy in state {state} cannot be aborted",
        ) == (answer.status, answer.detail)

    def test_delete_answers_deleting_and_makes_room(self, house: House) -> None:
        """Delete answers `deleting`, wipes the secret, and a new strategy may be created at once."""
        house.add_site("a")
        house.create()

        answer = house.verb("delete")

        assert (200, "deleting") == (answer.status, answer.body["state"])
        assert [] == house.rows(secrets)
        assert 200 == house.create().status

    def test_a_moving_strategy_is_not_deleted(self, house: House) -> None:
        """Delete of an applying strategy is a 422 that names the state."""
        house.add_site("a")
        house.create()
        house.verb("apply")

        answer = house.verb("delete")

        assert (
            422,
            "Unable to delete strategy of type 'prestage': Bad strategy request: "
            "Strategy in state applying cannot be deleted",
        ) == (answer.status, answer.detail)


class TestIdempotency:
    def test_a_repeated_command_gets_its_stored_answer(self, house: House) -> None:
        """The same command twice acts once and is answered the same both times."""
        house.add_site("a")
        command = Command(type=CommandType.STRATEGY_CREATE, data={"type": "prestage"})
        command = command.model_copy(update={"sealed_password": house.sealer.seal("pw", bound_to=command.id)})

        first, second = house.coordinator.execute(command), house.coordinator.execute(command)

        assert first == second
        assert 1 == len(house.rows(strategies))

    def test_an_id_is_not_reused_for_something_else(self, house: House) -> None:
        """The same id with other content is a 409 and does nothing."""
        command = Command(type=CommandType.GROUP_DELETE, subject="g")
        house.coordinator.execute(command)

        answer = house.coordinator.execute(command.model_copy(update={"subject": "h"}))

        assert 409 == answer.status

    def test_every_answered_command_is_on_record(self, house: House) -> None:
        """Refused commands are on record like accepted ones."""
        house.create()

        assert [422] == [row["status"] for row in house.rows(commands)]

    def test_a_broken_handler_answers_500_and_changes_nothing(self, house: House, monkeypatch: Any) -> None:
        """An unexpected fault is answered with the contract's text; the rows are as before."""
        house.add_site("a")

        def broken(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr("actors.strategy_create._insert_steps", broken)

        answer = house.create()

        assert (500, "Unable to create strategy") == (answer.status, answer.detail)
        assert [] == house.rows(strategies)
