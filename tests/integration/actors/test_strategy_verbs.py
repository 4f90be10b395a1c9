"""Apply, abort, delete, and commands that come twice (contract 3.4, 3.5)."""

from __future__ import annotations

from typing import Any

import pytest

from db.schema import commands, secrets, steps, strategies
from messages.commands import Command, CommandType
from messages.dcmanager import NOT_SERVED
from tests.integration.actors.coordinator_house import House

UNABLE = "Unable to create strategy of type 'prestage': Bad strategy request: "
DEPLOYING = "Prestage operation is not allowed when subcloud deploy is in progress."


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
        """Without a type the only strategy is meant; the refusals then name no type, or that of the strategy."""
        house.add_site("a")

        refused = house.verb("apply", kind=None)
        house.create()
        accepted = house.verb("apply", kind=None)

        assert "Unable to apply strategy: There is no strategy." == refused.detail
        assert 200 == accepted.status
        repeated = house.verb("apply", kind=None)
        assert repeated.detail.startswith("Unable to apply strategy of type 'prestage': Bad strategy request")

    @pytest.mark.parametrize("verb", ["apply", "abort", "delete"])
    def test_another_type_does_not_match(self, house: House, verb: str) -> None:
        """A verb for another type finds no strategy; one that dcmanager serves is said to be its."""
        house.add_site("a")
        house.create()

        foreign, unknown = house.verb(verb, kind="sw-deploy"), house.verb(verb, kind="prestages")

        missing = "Unable to {verb} strategy of type '{kind}': Strategy with type {kind} doesn't exist."
        assert (422, 422) == (foreign.status, unknown.status)
        assert f"{missing.format(verb=verb, kind='sw-deploy')} {NOT_SERVED}" == foreign.detail
        assert missing.format(verb=verb, kind="prestages") == unknown.detail

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

        monkeypatch.setattr("actors.coordinator.create_strategy._insert_steps", broken)

        answer = house.create()

        assert (500, "Unable to create strategy") == (answer.status, answer.detail)
        assert [] == house.rows(strategies)
