"""Pause, resume and cancel of the strategy, as commands (decision 48)."""

from __future__ import annotations

import pytest

from db.encryption import Sealer
from db.schema import audit, holds, runs, secrets, steps
from messages.commands import CommandType
from statemachine.states import RunOutcome
from tests.integration.actors.held_installation import applied, end, state, take, told, verb
from tests.support.installation import Installation


class TestPause:
    def test_no_site_starts_after_the_answer(self, installation: Installation) -> None:
        """A pause withdraws the prechecks that no worker has taken; the answer shows the hold and its maker."""
        applied(installation)
        first, *_others = installation.queued()
        take(installation, first)

        answer = verb(installation, "pause", reason="storm")

        assert (200, "applying") == (answer.status, answer.body["state"])
        (hold,) = answer.body["holds"]
        assert ("operator", "starts", "storm", "alice", None) == tuple(
            hold[key] for key in ("kind", "scope", "reason", "by", "stage")
        )
        assert [] == installation.queued()
        assert ["prestage-precheck", "initial", "initial"] == [row["state"] for row in installation.rows(steps)]
        assert "strategy.hold.opened" == told(installation)[-1]
        assert "Held starts: storm." == installation.rows(audit)[-1]["detail"]

    def test_started_sites_go_on(self, installation: Installation) -> None:
        """Under a hold of starts a site that has started gets its next phase; under one of phases it does not."""
        applied(installation, "ab")
        first, second = installation.queued()
        for run_id in (first, second):
            take(installation, run_id)
        verb(installation, "pause")
        end(installation, first)
        assert ["prestage-prepare"] == [row["phase"] for row in installation.rows(runs, state="queued")]

        verb(installation, "pause", scope="phases")
        (prepare,) = installation.queued()
        take(installation, prepare)
        end(installation, prepare)
        end(installation, second)

        assert [] == installation.queued()
        assert {"prestage-prepare", "prestaging-packages"} >= {row["state"] for row in installation.rows(steps)}

    def test_a_repeat_changes_nothing(self, installation: Installation) -> None:
        """A second pause answers 200 with the same hold; a wider scope widens it, a narrower one does not narrow it."""
        applied(installation)
        (first,) = verb(installation, "pause", reason="storm").body["holds"]
        (second,) = verb(installation, "pause", reason="again").body["holds"]
        (third,) = verb(installation, "pause", scope="phases").body["holds"]
        (fourth,) = verb(installation, "pause").body["holds"]

        assert first == second
        assert (first["id"], "phases", "storm") == (third["id"], third["scope"], third["reason"])
        assert third == fourth
        assert 2 == told(installation).count("strategy.hold.opened")

    @pytest.mark.parametrize("name", ["pause", "resume", "cancel"])
    def test_only_an_applying_strategy_is_held(self, installation: Installation, name: str) -> None:
        """A strategy that does not go on is a 422 that names its state; none at all is one, too."""
        past = {"pause": "paused", "resume": "resumed", "cancel": "cancelled"}[name]
        without = verb(installation, name)
        installation.add_site("a")
        installation.create()

        refused = verb(installation, name)

        assert (422, f"Unable to {name} strategy: There is no strategy.") == (without.status, without.detail)
        assert refused.detail.endswith(f"Strategy in state initial cannot be {past}")

    def test_unknown_options(self, installation: Installation) -> None:
        """An option that is not known is a 400 that names the nearest, and nothing is held."""
        applied(installation)

        answer = verb(installation, "pause", scop="phases")

        assert (400, "Unknown field: scop; did you mean scope?") == (answer.status, answer.detail)
        assert [] == installation.rows(holds)


class TestResume:
    def test_what_was_withdrawn_is_handed_out_again(self, installation: Installation) -> None:
        """A resume hands the withdrawn prechecks out again, as the same attempt."""
        applied(installation)
        before = installation.queued()
        verb(installation, "pause")

        answer = verb(installation, "resume")

        assert (200, [], False) == (answer.status, answer.body["holds"], answer.body["secret-replaced"])
        again = installation.queued()
        assert 3 == len(again)
        assert set(again).isdisjoint(before)
        assert {1} == {row["attempt"] for row in installation.rows(runs, state="queued")}
        assert ["strategy.hold.opened", "strategy.hold.ended"] == told(installation)[-2:]
        assert "Holds ended: 1." == installation.rows(audit)[-1]["detail"]

    def test_a_stopped_strategy_is_let_go_on_to_its_end(self, installation: Installation) -> None:
        """Failures that stop a paused strategy for good leave a resume legal: sites that have begun go on, no other.

        Only `allow-failures` is refused.
        """
        rollout = {"mode": "window", "max-failures": 0, "on-budget": "stop"}
        applied(installation, rollout=rollout, **{"max-parallel-subclouds": 2})
        first, second = installation.queued()
        take(installation, first)
        take(installation, second)
        verb(installation, "pause", scope="phases")
        end(installation, second, RunOutcome.FAILED)
        end(installation, first)
        assert "applying" == state(installation)

        refused = verb(installation, "resume", **{"allow-failures": 1})
        answer = verb(installation, "resume")

        assert (422, True) == (refused.status, "stopped it for good" in refused.detail)
        assert (200, []) == (answer.status, answer.body["holds"])
        while installation.queued():
            (run_id,) = installation.queued()
            take(installation, run_id)
            end(installation, run_id)
        assert "failed" == state(installation)
        assert ["complete", "failed", "initial"] == [row["state"] for row in installation.rows(steps)]

    def test_a_pause_gives_no_new_tries(self, installation: Installation) -> None:
        """A phase whose worker was lost keeps its attempt through a pause."""
        applied(installation, "a")
        (first,) = installation.queued()
        take(installation, first)
        end(installation, first, RunOutcome.LOST)
        verb(installation, "pause", scope="phases")
        verb(installation, "resume")

        assert [2] == [row["attempt"] for row in installation.rows(runs, state="queued")]

    def test_parked_sites_go_on(self, installation: Installation) -> None:
        """A site whose phase ended under a hold of phases gets the next one at the resume."""
        applied(installation, "a")
        (first,) = installation.queued()
        take(installation, first)
        verb(installation, "pause", scope="phases")
        end(installation, first)
        assert ([], "prestage-prepare") == (installation.queued(), installation.step("a")["state"])

        verb(installation, "resume")

        assert ["prestage-prepare"] == [row["phase"] for row in installation.rows(runs, state="queued")]

    def test_a_new_password(self, installation: Installation) -> None:
        """A password that comes with a resume takes the place of the old one, also when nothing is held."""
        applied(installation, "a")

        answer = installation.ask(CommandType.STRATEGY_RESUME, password="new", type="prestage")

        assert (200, True) == (answer.status, answer.body["secret-replaced"])
        (secret,) = installation.rows(secrets)
        assert "new" == Sealer(b"k" * 32).open(secret["sealed"], bound_to=secret["bound_to"])

    def test_the_end_of_a_strategy_ends_its_holds(self, installation: Installation) -> None:
        """A strategy ends while it is held when nothing is left to do, and its hold with it."""
        applied(installation, "a")
        (first,) = installation.queued()
        take(installation, first)
        verb(installation, "pause")
        end(installation, first, RunOutcome.FAILED, details="no")

        assert "failed" == state(installation)
        assert [False] == [row["ended_at"] is None for row in installation.rows(holds)]

    def test_abort_while_held(self, installation: Installation) -> None:
        """An abort of a held strategy ends its hold and aborts what has not started."""
        applied(installation)
        verb(installation, "pause")

        answer = installation.verb("abort")

        assert (200, "aborted") == (answer.status, state(installation))
        assert ["aborted"] * 3 == [row["outcome"] for row in installation.rows(steps)]
        assert [False] == [row["ended_at"] is None for row in installation.rows(holds)]


class TestCancel:
    def test_running_sites_are_stopped(self, installation: Installation) -> None:
        """A cancel aborts what has not started at once, and marks what runs, with the grace, for its worker."""
        applied(installation)
        first, *_others = installation.queued()
        take(installation, first)

        answer = verb(installation, "cancel", **{"grace-s": 7})

        assert 200 == answer.status
        assert "aborting" == state(installation)
        assert [(first, 7.0)] == [
            (row["id"], row["cancel_grace_s"]) for row in installation.rows(runs, cancel_requested=True)
        ]
        assert [None, "aborted", "aborted"] == [row["outcome"] for row in installation.rows(steps)]
        assert ("cancel_runs", None) in installation.messages()

        end(installation, first, RunOutcome.CANCELLED, details="It was cancelled.")

        step = installation.step("a")
        assert ("aborted", "cancelled") == (step["state"], step["outcome"])
        assert "cancelled in prestage-precheck by alice" in step["details"]
        assert "aborted" == state(installation)

    def test_it_is_told_once(self, installation: Installation) -> None:
        """A cancel of a strategy that goes on is one event, and the workers are called once."""
        applied(installation)
        take(installation, installation.queued()[0])

        verb(installation, "cancel")

        assert 1 == told(installation).count("strategy.cancel.requested")
        assert 1 == installation.messages().count(("cancel_runs", None))

    def test_an_abort_becomes_a_cancel(self, installation: Installation) -> None:
        """A cancel of a strategy that is being aborted stops what an abort lets end."""
        applied(installation)
        first, *_others = installation.queued()
        take(installation, first)
        installation.verb("abort")
        assert [] == installation.rows(runs, cancel_requested=True)

        assert 200 == verb(installation, "cancel").status

        assert [first] == [row["id"] for row in installation.rows(runs, cancel_requested=True)]

    def test_a_parked_site_ends_at_once(self, installation: Installation) -> None:
        """A cancel ends a site that is parked under a hold in the transaction of the answer."""
        applied(installation, "a")
        (first,) = installation.queued()
        take(installation, first)
        verb(installation, "pause", scope="phases")
        end(installation, first)

        verb(installation, "cancel")

        assert ("aborted", "cancelled") == (state(installation), installation.step("a")["outcome"])

    def test_the_last_phase_that_succeeded_counts(self, installation: Installation) -> None:
        """A site whose last phase had succeeded when the cancel came is complete."""
        applied(installation, "a")
        (first,) = installation.queued()
        take(installation, first)
        end(installation, first)
        for _phase in ("prestage-prepare", "prestaging-packages"):
            (run_id,) = installation.queued()
            take(installation, run_id)
            end(installation, run_id)
        (images,) = installation.queued()
        take(installation, images)
        verb(installation, "cancel")
        end(installation, images)

        assert "complete" == installation.step("a")["outcome"]

    def test_a_cancel_in_packages_shows_a_failed_prestage(self, installation: Installation) -> None:
        """A site that is stopped in packages shows a failed prestage, one that is stopped before shows what it was."""
        applied(installation, "ab")
        first, second = installation.queued()
        take(installation, first)
        take(installation, second)
        end(installation, first)
        (prepare,) = installation.queued()
        take(installation, prepare)
        end(installation, prepare)
        (packages,) = installation.queued()
        take(installation, packages)

        verb(installation, "cancel")
        end(installation, packages, RunOutcome.CANCELLED)
        end(installation, second, RunOutcome.CANCELLED)

        assert ("failed", None) == (
            installation.site("a")["prestage_status"],
            installation.site("b")["prestage_status"],
        )
