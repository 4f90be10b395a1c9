"""Retry of a single site within its strategy, as a command (decision 65)."""

from __future__ import annotations

import pytest

from db.schema import events, holds, preparations, runs, steps
from messages.commands import Answer, Command, CommandType
from statemachine.states import RunOutcome
from tests.integration.actors.held_installation import applied, end, state, take, verb
from tests.support.installation import Installation


def retry(installation: Installation, site: str, command_id: str | None = None) -> Answer:
    """Ask for a retry of one site."""
    command = Command(type=CommandType.STEP_RETRY, subject=site, requested_by="alice")
    return installation.execute(command if command_id is None else command.model_copy(update={"id": command_id}))


def run_of(installation: Installation, site: str) -> int:
    """Return the run of a site."""
    run_id = installation.step(site)["run_id"]
    assert run_id is not None
    return int(run_id)


def fail(installation: Installation, site: str, outcome: RunOutcome = RunOutcome.FAILED) -> None:
    """Let the present run of a site end badly."""
    run_id = run_of(installation, site)
    take(installation, run_id)
    end(installation, run_id, outcome, details="it broke")


class TestBegin:
    def test_a_failed_site_begins_anew(self, installation: Installation) -> None:
        """A failed step goes back to `initial` as its next series and is handed out in the same transaction."""
        applied(installation, "ab")
        fail(installation, "a")

        answer = retry(installation, "a")

        assert (200, "initial", 2, None) == (
            answer.status,
            *(answer.body[key] for key in ("state", "series", "outcome")),
        )
        step = installation.step("a")
        assert ("", None, 1) == (step["details"], step["finished_at"], step["attempt"])
        assert run_of(installation, "a") in installation.queued()
        told = [row["type"] for row in installation.rows(events, subject=f"step/{step['id']}")]
        assert ["step.prestage.prestage-precheck", "step.prestage.failed", "step.prestage.initial"] == told

    def test_a_cancelled_site(self, installation: Installation) -> None:
        """A cancelled step begins anew without its mark."""
        applied(installation, "ab")
        ask = Command(type=CommandType.STEP_CANCEL, subject="a", requested_by="bob")
        assert 200 == installation.execute(ask).status

        assert 200 == retry(installation, "a").status

        assert installation.step("a")["cancel_requested_at"] is None
        assert "initial" == installation.step("a")["state"]

    def test_once_per_command(self, installation: Installation) -> None:
        """The same command again has the answer of the first time and changes nothing."""
        applied(installation, "ab")
        fail(installation, "a")
        first = retry(installation, "a", "again")
        fail(installation, "a")

        assert first == retry(installation, "a", "again")
        assert ("failed", 2) == (installation.step("a")["state"], installation.step("a")["series"])

    def test_the_end_counts_the_last_series(self, installation: Installation) -> None:
        """A strategy whose failed step was retried with success is complete."""
        applied(installation, "ab")
        fail(installation, "a")
        retry(installation, "a")
        for site in "ab":
            while installation.step(site)["run_id"]:
                run_id = run_of(installation, site)
                take(installation, run_id)
                end(installation, run_id)
            for row in installation.rows(preparations, state="running"):
                take(installation, row["run_id"])
                end(installation, row["run_id"])
        for site in "ab":
            while installation.step(site)["run_id"]:
                run_id = run_of(installation, site)
                take(installation, run_id)
                end(installation, run_id)

        assert "complete" == state(installation)

    def test_a_failed_preparation_is_made_again(self, installation: Installation) -> None:
        """The retry of a site whose preparation failed has it made once more."""
        applied(installation, "ab")
        take(installation, run_of(installation, "a"))
        end(installation, run_of(installation, "a"))
        (one,) = installation.rows(preparations)
        take(installation, one["run_id"])
        end(installation, one["run_id"], RunOutcome.FAILED, details="no feed")
        assert "failed" == installation.step("a")["state"]

        retry(installation, "a")
        take(installation, run_of(installation, "a"))
        end(installation, run_of(installation, "a"))

        (one,) = installation.rows(preparations)
        assert ("running", 2) == (one["state"], one["round"])
        assert one["run_id"] in installation.queued()


class TestPlace:
    def test_the_end_of_a_window(self, installation: Installation) -> None:
        """In a sliding window a retried site starts after those that wait."""
        applied(installation, "abc", rollout={"mode": "window"}, **{"max-parallel-subclouds": 1})
        fail(installation, "a")
        retry(installation, "a")
        order = []
        for _site in range(3):
            (run_id,) = installation.queued()
            (row,) = [row for row in installation.rows(steps) if row["run_id"] == run_id]
            order.append(row["subcloud_name"])
            fail(installation, row["subcloud_name"])

        assert ["b", "c", "a"] == order

    def test_the_open_stage(self, installation: Installation) -> None:
        """In mode `stages` a site of a stage that has ended joins the open one."""
        applied(installation, "abc", **{"max-parallel-subclouds": 1})
        fail(installation, "a")
        assert 2 == installation.step("b")["stage"]

        retry(installation, "a")

        assert 2 == installation.step("a")["stage"]
        assert run_of(installation, "a") in installation.queued()


class TestBudget:
    def test_a_retried_step_counts_no_more(self, installation: Installation) -> None:
        """A retried step no longer counts as failed, and the hold of the budget stays until it is resumed."""
        applied(installation, "abc", rollout={"max-failures": 0})
        fail(installation, "a")
        assert ["budget"] == [row["kind"] for row in installation.rows(holds, ended_at=None)]

        retry(installation, "a")

        assert ["budget"] == [row["kind"] for row in installation.rows(holds, ended_at=None)]
        assert [] == installation.queued()
        assert 200 == verb(installation, "resume").status
        assert 3 == len(installation.queued())

    @pytest.mark.parametrize(
        "limits", [{"stop-on-failure": "true"}, {"rollout": {"max-failures": 0, "on-budget": "stop"}}]
    )
    def test_a_stop_is_for_good(self, installation: Installation, limits: dict[str, object]) -> None:
        """A strategy that failures have stopped is not gone on with."""
        applied(installation, "ab", **limits)
        take(installation, run_of(installation, "b"))
        fail(installation, "a")

        refused = retry(installation, "a")

        assert 422 == refused.status
        assert "stopped it for good" in refused.detail


class TestRefusal:
    def test_states(self, installation: Installation) -> None:
        """Only failed and cancelled steps are retried; a site without a step is a 404."""
        applied(installation, "abc")
        assert (404, "Strategy step not found") == (retry(installation, "x").status, retry(installation, "x").detail)
        assert "it is initial; only failed" in retry(installation, "a").detail
        fail(installation, "a", RunOutcome.SKIPPED)
        refused = retry(installation, "a")
        assert (422, True) == (refused.status, "it is skipped; only failed" in refused.detail)

    def test_a_strategy_that_does_not_apply(self, installation: Installation) -> None:
        """After its strategy has ended, or is aborted, a step is not retried."""
        applied(installation, "ab")
        fail(installation, "a")
        take(installation, run_of(installation, "b"))
        installation.verb("abort")
        assert "its strategy is aborting" in retry(installation, "a").detail
        end(installation, run_of(installation, "b"), RunOutcome.FAILED)

        refused = retry(installation, "a")

        assert (422, True) == (refused.status, "its strategy is failed" in refused.detail)

    def test_another_step_of_the_site(self, installation: Installation) -> None:
        """While a standalone prestage of the site goes on its step is not retried."""
        applied(installation, "ab")
        fail(installation, "a")
        assert 200 == installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="a").status

        refused = retry(installation, "a")

        assert (409, True) == (refused.status, "another step of that site is open" in refused.detail)

    def test_a_removed_subcloud(self, installation: Installation) -> None:
        """The step of a subcloud that was removed is not retried."""
        applied(installation, "ab")
        fail(installation, "a")
        installation.ask(
            CommandType.SUBCLOUD_UPDATE,
            subject="a",
            **{"management-state": "unmanaged", "availability-status": "offline"},
        )
        assert 200 == installation.ask(CommandType.SUBCLOUD_DELETE, subject="a").status

        refused = retry(installation, "a")

        assert (422, True) == (refused.status, "its subcloud was removed" in refused.detail)
        assert 1 == len(installation.rows(runs, outcome="failed"))
