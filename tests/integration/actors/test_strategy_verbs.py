"""Apply, abort, delete, and commands that come twice (contract 3.4, 3.5)."""

from __future__ import annotations

from typing import Any

import pytest

from db.schema import commands, secrets, steps, strategies
from messages.commands import Command, CommandType
from messages.dcmanager import NOT_SERVED
from tests.support.installation import Installation

UNABLE = "Unable to create strategy of type 'prestage': Bad strategy request: "
DEPLOYING = "Prestage operation is not allowed when subcloud deploy is in progress."


class TestVerbs:
    def test_apply_starts_the_first_stage_in_the_same_transaction(self, installation: Installation) -> None:
        """The answer to apply shows `applying`, and the first stage is handed out already."""
        for name in ("a", "b", "c"):
            installation.add_site(name)
        installation.create()

        answer = installation.verb("apply")

        assert (200, "applying") == (answer.status, answer.body["state"])
        assert 2 == len(installation.queued())
        assert [("inspect_site", run_id) for run_id in installation.queued()] == installation.messages()

    @pytest.mark.parametrize("verb", ["apply", "abort", "delete"])
    def test_every_answer_tells_who_was_left_out(self, installation: Installation, verb: str) -> None:
        """The answer to each verb names who was left out at create, whatever became of them since."""
        installation.add_site("a")
        installation.add_site("b", **{"availability-status": "offline"})
        installation.create()
        installation.ask(CommandType.SUBCLOUD_UPDATE, subject="b", **{"availability-status": "online"})
        if verb == "abort":
            installation.verb("apply")

        answer = installation.verb(verb)

        assert 200 == answer.status
        assert [{"name": "b", "reason": "Prestage skipped 'b': Subcloud is offline."}] == answer.body[
            "excluded-subclouds"
        ]

    def test_a_strategy_is_applied_once(self, installation: Installation) -> None:
        """A second apply is a 422 that names the state, and hands nothing out."""
        installation.add_site("a")
        installation.create()
        installation.verb("apply")

        answer = installation.verb("apply")

        assert (
            422,
            "Unable to apply strategy of type 'prestage': Bad strategy request: "
            "Strategy in state applying cannot be applied",
        ) == (answer.status, answer.detail)
        assert 1 == len(installation.queued())

    @pytest.mark.parametrize("verb", ["apply", "abort", "delete"])
    def test_without_a_strategy_verbs_are_refused(self, installation: Installation, verb: str) -> None:
        """A verb without a strategy is a 422 that says so."""
        answer = installation.verb(verb)

        assert (
            422,
            f"Unable to {verb} strategy of type 'prestage': Strategy with type prestage doesn't exist.",
        ) == (answer.status, answer.detail)

    def test_a_verb_without_a_type_takes_the_one_strategy(self, installation: Installation) -> None:
        """Without a type the only strategy is meant; the refusals then name no type, or that of the strategy."""
        installation.add_site("a")

        refused = installation.verb("apply", kind=None)
        installation.create()
        accepted = installation.verb("apply", kind=None)

        assert "Unable to apply strategy: There is no strategy." == refused.detail
        assert 200 == accepted.status
        repeated = installation.verb("apply", kind=None)
        assert repeated.detail.startswith("Unable to apply strategy of type 'prestage': Bad strategy request")

    @pytest.mark.parametrize("verb", ["apply", "abort", "delete"])
    def test_another_type_does_not_match(self, installation: Installation, verb: str) -> None:
        """A verb for another type finds no strategy; one that dcmanager serves is said to be its."""
        installation.add_site("a")
        installation.create()

        foreign, unknown = installation.verb(verb, kind="sw-deploy"), installation.verb(verb, kind="prestages")

        missing = "Unable to {verb} strategy of type '{kind}': Strategy with type {kind} doesn't exist."
        assert (422, 422) == (foreign.status, unknown.status)
        assert f"{missing.format(verb=verb, kind='sw-deploy')} {NOT_SERVED}" == foreign.detail
        assert missing.format(verb=verb, kind="prestages") == unknown.detail

    def test_abort_answers_abort_requested_and_aborts_the_waiting(self, installation: Installation) -> None:
        """Abort answers `abort requested`; waiting steps are aborted in the same transaction, none starts later."""
        for name in ("a", "b", "c"):
            installation.add_site(name)
        installation.create()
        installation.verb("apply")

        answer = installation.verb("abort")

        assert (200, "abort requested") == (answer.status, answer.body["state"])
        assert ["aborted"] * 3 == [row["state"] for row in installation.rows(steps)]
        assert [] == installation.queued()
        assert "aborted" == installation.rows(strategies)[0]["state"]

    @pytest.mark.parametrize("applied", [False, True])
    def test_abort_needs_an_applying_strategy(self, installation: Installation, applied: bool) -> None:
        """Abort of a strategy that is not applying is a 422 that names the state."""
        installation.add_site("a")
        installation.create()
        state = "initial"
        if applied:
            installation.verb("apply")
            installation.verb("abort")
            state = "aborted"

        answer = installation.verb("abort")

        assert (
            422,
            "Unable to abort strategy of type 'prestage': Bad strategy request: "
            f"Strategy in state {state} cannot be aborted",
        ) == (answer.status, answer.detail)

    def test_delete_answers_deleting_and_makes_room(self, installation: Installation) -> None:
        """Delete answers `deleting`, wipes the secret, and a new strategy may be created at once."""
        installation.add_site("a")
        installation.create()

        answer = installation.verb("delete")

        assert (200, "deleting") == (answer.status, answer.body["state"])
        assert [] == installation.rows(secrets)
        assert 200 == installation.create().status

    def test_a_moving_strategy_is_not_deleted(self, installation: Installation) -> None:
        """Delete of an applying strategy is a 422 that names the state."""
        installation.add_site("a")
        installation.create()
        installation.verb("apply")

        answer = installation.verb("delete")

        assert (
            422,
            "Unable to delete strategy of type 'prestage': Bad strategy request: "
            "Strategy in state applying cannot be deleted",
        ) == (answer.status, answer.detail)


class TestIdempotency:
    def test_a_repeated_command_gets_its_stored_answer(self, installation: Installation) -> None:
        """The same command twice acts once and is answered the same both times."""
        installation.add_site("a")
        command = Command(type=CommandType.STRATEGY_CREATE, data={"type": "prestage"})
        command = command.model_copy(update={"sealed_password": installation.sealer.seal("pw", bound_to=command.id)})

        first, second = installation.coordinator.execute(command), installation.coordinator.execute(command)

        assert first == second
        assert 1 == len(installation.rows(strategies))

    def test_an_id_is_not_reused_for_something_else(self, installation: Installation) -> None:
        """The same id with other content is a 409 and does nothing."""
        command = Command(type=CommandType.GROUP_DELETE, subject="g")
        installation.coordinator.execute(command)

        answer = installation.coordinator.execute(command.model_copy(update={"subject": "h"}))

        assert 409 == answer.status

    def test_every_answered_command_is_on_record(self, installation: Installation) -> None:
        """Refused commands are on record like accepted ones."""
        installation.create()

        assert [422] == [row["status"] for row in installation.rows(commands)]

    def test_a_broken_handler_answers_500_and_changes_nothing(
        self, installation: Installation, monkeypatch: Any
    ) -> None:
        """An unexpected fault is answered with the contract's text; the rows are as before."""
        installation.add_site("a")

        def broken(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr("actors.coordinator.create_strategy._insert_steps", broken)

        answer = installation.create()

        assert (500, "Unable to create strategy") == (answer.status, answer.detail)
        assert [] == installation.rows(strategies)
