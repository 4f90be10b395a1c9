"""Soak times and gates between stages of a rollout (decision 67)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from db.schema import audit, holds, steps, strategies
from messages.commands import Answer, Command, CommandType
from statemachine.states import RunOutcome
from tests.integration.actors.held_installation import applied, state, told, verb
from tests.integration.actors.test_rollout_stages import UNABLE, finish, staged, started
from tests.support.installation import Installation

GATED = {"name": "canary", "count": 1, "gate": "approval"}
SOAKING = {"name": "canary", "count": 1, "soak-s": 600}


def decide(installation: Installation, verdict: str = "approve", by: str = "bob", **data: Any) -> Answer:
    """Approve or deny what comes after a stage."""
    kind = CommandType(f"strategy.{verdict}")
    return installation.execute(Command(type=kind, data={"stage": "canary", **data}, requested_by=by))


def opened(installation: Installation) -> list[str]:
    """Return the kinds of the open holds."""
    return [row["kind"] for row in installation.rows(holds) if row["ended_at"] is None]


def stage(installation: Installation) -> dict[str, Any]:
    """Return the first stage of the newest strategy, as answers show it."""
    shown: dict[str, Any] = installation.rows(strategies)[-1]["rollout"]["stages"][0]
    return shown


def pass_time(installation: Installation) -> None:
    """Let the soak time be over, and have the coordinator look as it does by itself."""
    (hold,) = [row for row in installation.rows(holds) if row["until"] is not None]
    with installation.database.write() as connection:
        connection.execute(update(holds).values(until=hold["since"] - timedelta(seconds=1)))
    assert installation.coordinator is not None
    installation.coordinator.coordinate()


def commands(installation: Installation) -> list[str]:
    """Return the commands that the answer of a pause says are legal."""
    body = verb(installation, "pause").body
    verb(installation, "resume")
    return list(body["commands"])


class TestSoak:
    def test_the_next_stage_waits(self, installation: Installation) -> None:
        """After a stage has ended, its soak time holds the later ones; when it is over, they start."""
        applied(installation, "abc", rollout=staged(SOAKING))
        assert [] == opened(installation)
        finish(installation)

        assert "a" == started(installation)
        (hold,) = installation.rows(holds)
        assert ("soak", "starts", 1, "") == (hold["kind"], hold["scope"], hold["stage"], hold["by"])
        # The plan was made a moment before the hold began.
        assert timedelta(seconds=590) < hold["until"] - hold["since"] <= timedelta(seconds=600)
        assert stage(installation)["passed-at"] is None
        pass_time(installation)
        assert [] == opened(installation)
        assert stage(installation)["passed-at"] is not None
        assert "abc" == started(installation)

    def test_it_is_not_asked_again(self, installation: Installation) -> None:
        """A soak time that has passed stays passed when a site of its stage is retried."""
        applied(installation, "abcd", rollout=staged({**SOAKING, "count": 2}, {"name": "wave", "count": 1}))
        finish(installation)
        finish(installation, RunOutcome.FAILED)
        pass_time(installation)
        assert 200 == installation.ask(CommandType.STEP_RETRY, subject="b").status
        finish(installation)
        assert "abc" == started(installation)

        finish(installation)

        assert [] == opened(installation)
        assert "abcd" == started(installation)

    def test_a_resume_does_not_end_it(self, installation: Installation) -> None:
        """A soak time ends by time alone; a resume leaves it, and is not among the legal commands."""
        applied(installation, "ab", rollout=staged(SOAKING))
        finish(installation)

        answer = verb(installation, "resume")

        assert ["soak"] == [one["kind"] for one in answer.body["holds"]]
        assert "resume" not in answer.body["commands"]
        assert answer.body["holds"][0]["until"] is not None

    def test_after_the_budget(self, installation: Installation) -> None:
        """The soak time begins when the budget of the stage is kept, not while it is exceeded."""
        applied(installation, "abc", rollout=staged({**SOAKING, "count": 2, "max-failures": 0}))
        finish(installation)
        finish(installation, RunOutcome.FAILED)
        assert ["budget"] == opened(installation)

        verb(installation, "resume", **{"allow-failures": 0})

        assert ["soak"] == opened(installation)

    def test_no_stage_after_it(self, installation: Installation) -> None:
        """The last stage has no soak time: the strategy ends with it."""
        applied(installation, "a", rollout=staged(SOAKING))

        finish(installation)

        assert ("complete", []) == (state(installation), installation.rows(holds))

    def test_its_time_is_not_that_of_the_strategy(self, installation: Installation) -> None:
        """The time limit of a strategy does not run while a soak time or a gate holds all that is left."""
        applied(installation, "ab", rollout=staged(SOAKING, timeouts={"strategy-s": 60}))
        finish(installation)
        (hold,) = installation.rows(holds)
        with installation.database.write() as connection:
            connection.execute(update(holds).values(since=hold["since"] - timedelta(seconds=900)))
            connection.execute(update(strategies).values(applied_at=hold["since"] - timedelta(seconds=920)))

        assert installation.coordinator is not None
        installation.coordinator.coordinate()

        assert "applying" == state(installation)

    def test_abort(self, installation: Installation) -> None:
        """An abort ends a soak time, and the sites that it held are aborted."""
        applied(installation, "ab", rollout=staged(SOAKING))
        finish(installation)

        assert 200 == installation.verb("abort").status

        assert ("aborted", []) == (state(installation), opened(installation))


class TestGate:
    def test_an_approval_opens_it(self, installation: Installation) -> None:
        """A stage with a gate holds the later ones until somebody approves, with name and note on record."""
        applied(installation, "abc", rollout=staged(GATED))
        finish(installation)
        assert "a" == started(installation)
        assert ["gate"] == opened(installation)
        assert {"approve", "deny"} <= set(commands(installation))

        answer = decide(installation, note="Looks good.")

        assert 200 == answer.status, answer.detail
        assert [] == answer.body["holds"]
        assert "abc" == started(installation)
        decision = stage(installation)["decision"]
        assert ("approved", "bob", "Looks good.") == (decision["verdict"], decision["by"], decision["note"])
        assert "Stage canary approved: Looks good." in installation.rows(audit)[-1]["detail"]
        assert "strategy.updated" in told(installation)
        assert not {"approve", "deny"} & set(commands(installation))

    def test_the_creator_does_not_approve(self, installation: Installation) -> None:
        """Whoever created the strategy is refused with 403, and nothing is changed."""
        applied(installation, "ab", rollout=staged(GATED))
        with installation.database.write() as connection:
            connection.execute(update(strategies).values(requested_by="alice"))
        finish(installation)

        refused = decide(installation, by="alice")

        assert 403 == refused.status
        assert "make a token per person" in refused.detail
        assert (["gate"], "a") == (opened(installation), started(installation))
        assert 200 == decide(installation, by="bob").status

    def test_approvers(self, installation: Installation) -> None:
        """With `approvers` nobody else may approve."""
        applied(installation, "ab", rollout=staged(GATED, approvers=["carol"]))
        finish(installation)

        refused = decide(installation, by="bob")

        assert (403, "bob is none of those who may approve this strategy: carol.") == (refused.status, refused.detail)
        assert 200 == decide(installation, by="carol").status

    def test_an_early_approval(self, installation: Installation) -> None:
        """An approval before the end of the stage is kept, and the next stage starts without a hold."""
        applied(installation, "ab", rollout=staged(GATED))
        assert 200 == decide(installation).status
        assert "a" == started(installation)
        first = stage(installation)["decision"]

        assert 200 == decide(installation, by="carol").status
        finish(installation)

        assert first == stage(installation)["decision"]
        assert [] == installation.rows(holds)
        assert "ab" == started(installation)

    def test_no_site_succeeded(self, installation: Installation) -> None:
        """A stage in which no site succeeded has a gate in any case, which an early approval does not open."""
        applied(installation, "ab", rollout=staged(GATED))
        decide(installation)
        finish(installation, RunOutcome.FAILED)

        (hold,) = installation.rows(holds)
        assert "Stage canary has ended, and no site of it succeeded: approve or deny the next one." == hold["reason"]
        assert "a" == started(installation)
        assert 200 == decide(installation).status
        assert "ab" == started(installation)

    def test_a_retry_makes_it_needless(self, installation: Installation) -> None:
        """A gate that no site's success made ends when a retried site succeeds."""
        applied(installation, "ab", rollout=staged({"name": "canary", "count": 1}))
        finish(installation, RunOutcome.SKIPPED)
        assert ["gate"] == opened(installation)
        with installation.database.write() as connection:
            connection.execute(update(steps).where(steps.c.stage == 1).values(outcome="failed", state="failed"))
        assert 200 == installation.ask(CommandType.STEP_RETRY, subject="a").status

        finish(installation)

        assert [] == opened(installation)
        assert "ab" == started(installation)

    def test_soak_before_the_gate(self, installation: Installation) -> None:
        """The gate comes after the soak time; an approval within it is kept and shortens nothing."""
        applied(installation, "ab", rollout=staged({**GATED, **SOAKING}))
        finish(installation)
        assert ["soak"] == opened(installation)
        assert 200 == decide(installation).status
        assert ("a", ["soak"]) == (started(installation), opened(installation))

        pass_time(installation)

        assert ("ab", []) == (started(installation), opened(installation))

    def test_denial(self, installation: Installation) -> None:
        """A denial aborts: sites that have not started are aborted, and the note is on record."""
        applied(installation, "abc", rollout=staged(GATED))
        finish(installation)

        answer = decide(installation, "deny", by="alice", note="The canary is slow.")

        assert (200, "abort requested") == (answer.status, answer.body["state"])
        assert ("aborted", []) == (state(installation), opened(installation))
        assert "Stage canary denied: The canary is slow." in installation.rows(audit)[-1]["detail"]
        assert "denied" == stage(installation)["decision"]["verdict"]

    def test_nothing_to_decide(self, installation: Installation) -> None:
        """Names of no stage, stages without a gate and passed stages are refused with what is wrong."""
        assert 422 == decide(installation).status
        applied(installation, "abc", rollout=staged({"name": "canary", "count": 1}))

        unknown = decide(installation, stage="nowhere")
        no_gate = decide(installation)
        missing = verb(installation, "approve")
        finish(installation)
        late = decide(installation, "deny")

        assert (422, "no stage nowhere with sites; its stages are canary, rest.") == (
            unknown.status,
            unknown.detail.split("there is ")[1],
        )
        assert no_gate.detail.endswith("stage canary has no gate and waits for no approval.")
        assert (400, "stage required") == (missing.status, missing.detail)
        assert "has passed stage canary already" in late.detail

    @pytest.mark.parametrize(
        ("wanted", "fault"),
        [
            ({"stages": None}, "rollout.stages must keep the gate of stage canary, which the group or the"),
            ({"stages": [{"name": "canary", "count": 1}]}, "rollout.stages must keep the gate of stage canary"),
            ({"approvers": ["dave"]}, "rollout.approvers may name only carol, whom the group or the installation sets"),
            ({"approvers": None}, "rollout.approvers may name only carol"),
            ({"stages": [{**GATED, "soak-s": 9}, {"name": "wave", "percent": 50}]}, ""),
        ],
    )
    def test_a_request_does_not_loosen(self, installation: Installation, wanted: dict[str, Any], fault: str) -> None:
        """A request may tighten gate and approvers of the group that it names, and not loosen them."""
        installation.add_group("edge")
        options = staged(GATED, approvers=["carol"])
        assert 200 == installation.ask(CommandType.GROUP_UPDATE, subject="edge", rollout=options).status
        for name in "ab":
            installation.add_site(name, group_id="edge")

        answer = installation.create(group="edge", rollout=wanted)

        assert (422 if fault else 200) == answer.status
        assert answer.detail.startswith(f"{UNABLE}{fault}") if fault else answer.body["rollout"]["stages"][0]["gate"]
