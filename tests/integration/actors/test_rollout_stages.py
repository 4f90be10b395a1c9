"""Stages that a rollout names, such as a canary: their sites, their order and their failure budgets (decision 66)."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from db.schema import audit, holds, runs, steps, strategies, strategy_stages
from messages.commands import Answer, CommandType
from statemachine.states import RunOutcome
from tests.integration.actors.held_installation import applied, end, state, take, verb
from tests.integration.actors.test_progress import progress
from tests.support.installation import Installation

UNABLE = "Unable to create strategy of type 'prestage': Bad strategy request: "
CANARY = {"name": "canary", "count": 1, "max-failures": 0}


def staged(*stages: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Return the options of a window with stages."""
    return {"mode": "window", "stages": list(stages), **options}


def placed(installation: Installation) -> dict[str, int]:
    """Return the stage of each site."""
    return {row["subcloud_name"]: row["stage"] for row in installation.rows(steps)}


def started(installation: Installation) -> str:
    """Return the sites that have a run or have ended."""
    rows = installation.rows(steps)
    return "".join(row["subcloud_name"] for row in rows if row["run_id"] is not None or row["finished_at"] is not None)


def finish(installation: Installation, outcome: RunOutcome = RunOutcome.SUCCEEDED) -> None:
    """End the site of the oldest queued run: with this outcome of its run, or after all phases if that succeeds."""
    run_id = installation.queued()[0]
    step_id = installation.rows(runs, id=run_id)[0]["step_id"]
    while run_id is not None:
        take(installation, run_id)
        end(installation, run_id, outcome, details="because" if outcome != RunOutcome.SUCCEEDED else "")
        # Without one of its own the site waits for the shared preparation, whose run is of no step.
        waiting = installation.rows(runs, state="queued")
        run_id = next((one["id"] for one in waiting if one["step_id"] in (step_id, None)), None)
    assert installation.rows(steps, id=step_id)[0]["finished_at"] is not None


def budgets(installation: Installation) -> list[tuple[int | None, int | None]]:
    """Return width and failure budget of each stage, in order."""
    query = select(strategy_stages).order_by(strategy_stages.c.strategy_id, strategy_stages.c.stage)
    with installation.database.read() as connection:
        return [(row.width, row.max_failures) for row in connection.execute(query)]


def resume(installation: Installation, **options: Any) -> Answer:
    """End the holds."""
    return verb(installation, "resume", **options)


class TestCreate:
    def test_sites_of_stages(self, installation: Installation) -> None:
        """Each stage takes from those that are left; who matches none is in `rest`, and stages without sites go."""
        installation.add_site("a", labels={"region": "eu"})
        for name in "bcdefgh":
            installation.add_site(name, labels={"region": "us"} if name in "bc" else {})

        answer = installation.create(
            rollout=staged(
                {"name": "named", "clouds": ["h", 1]},
                {"name": "europe", "selector": "region=eu"},
                {"name": "america", "selector": "region=us", "max-parallel": 7, "max-failures": "50%"},
                {"name": "tenth", "percent": 10},
                {"name": "two", "count": 2},
            )
        )

        assert 200 == answer.status
        assert {"a": 1, "h": 1, "b": 2, "c": 2, "d": 3, "e": 4, "f": 4, "g": 5} == placed(installation)
        shown = [(one["name"], one["stage"], one["sites"]) for one in answer.body["rollout"]["stages"]]
        assert [("named", 1, 2), ("europe", None, 0), ("america", 2, 2)] == shown[:3]
        assert [("tenth", 3, 1), ("two", 4, 2), ("rest", 5, 1)] == shown[3:]
        assert "No site is in these stages, which were left out: europe." in answer.body["info_message"]
        assert [(2, None), (7, 1), (2, None), (2, None), (2, None)] == budgets(installation)

    def test_the_preview_has_the_names(self, installation: Installation) -> None:
        """A preview names the stages, and its digest is that of the strategy that is created."""
        for name in "abc":
            installation.add_site(name)
        options = {"rollout": staged(CANARY), "max-parallel-subclouds": 2}

        body = installation.ask(CommandType.STRATEGY_PREVIEW, password=None, type="prestage", **options).body
        answer = installation.create(**options, **{"plan-digest": body["plan-digest"]})

        found = [(one["stage"], one["name"], one["width"], one["clouds"]) for one in body["stages"]]
        assert [(1, "canary", None, ["a"]), (2, "rest", None, ["b", "c"])] == found
        assert 200 == answer.status
        assert answer.body["rollout"] == body["rollout"]

    def test_unknown_names(self, installation: Installation) -> None:
        """Names of no subcloud in a stage refuse the request with their names."""
        installation.add_site("a")

        answer = installation.create(rollout=staged({"name": "canary", "clouds": ["a", "x", "y"]}))

        assert (422, f"{UNABLE}Subclouds that do not exist: x, y") == (answer.status, answer.detail)
        assert [] == installation.rows(strategies)

    def test_named_sites_that_are_not_chosen(self, installation: Installation) -> None:
        """A stage may name only sites that the strategy has, unless those are to be left out."""
        for name in "abc":
            installation.add_site(name)
        installation.add_site("d", **{"availability-status": "offline"})
        request = {"rollout": staged({"name": "canary", "clouds": ["a", "b", "d"]}), "exclude": {"clouds": ["b"]}}

        refused = installation.create(**request)
        answer = installation.create(**request, **{"skip-ineligible": True})

        assert 422 == refused.status
        assert refused.detail == (
            f"{UNABLE}Prestage skipped 'b': Subcloud is not among the sites of the strategy. Prestage skipped 'd':"
            " Subcloud is offline. Give skip-ineligible to leave such sites out."
        )
        assert 200 == answer.status
        assert {"a": 1, "c": 2} == placed(installation)

    def test_stages_need_a_window(self, installation: Installation) -> None:
        """Stages without a window are refused."""
        installation.add_site("a")

        answer = installation.create(rollout={"stages": [CANARY]})

        assert (422, f"{UNABLE}rollout.stages needs rollout.mode window") == (answer.status, answer.detail)

    def test_stages_of_a_group(self, installation: Installation) -> None:
        """A group that the request names may give the stages; null in the request takes them away."""
        installation.add_group("edge")
        group = {"mode": "window", "stages": [CANARY]}
        assert 200 == installation.ask(CommandType.GROUP_UPDATE, subject="edge", rollout=group).status
        for name in "ab":
            installation.add_site(name, group_id="edge")

        assert 200 == installation.create(group="edge").status
        assert {"a": 1, "b": 2} == placed(installation)
        installation.verb("delete")
        assert "stages" not in installation.create(group="edge", rollout={"stages": None}).body["rollout"]


class TestOrder:
    def test_a_stage_starts_when_the_one_before_has_ended(self, installation: Installation) -> None:
        """No site of a stage starts before all of the stage before have ended; within it, it is a window."""
        applied(installation, "abcdef", rollout=staged({"name": "canary", "count": 2}, {"name": "wave", "count": 3}))
        assert "ab" == started(installation)
        finish(installation)
        assert "ab" == started(installation)

        finish(installation)
        assert "abcde" == started(installation)
        for _site in "cde":
            finish(installation)
        assert "abcdef" == started(installation)
        finish(installation)
        assert "complete" == state(installation)

    def test_width_of_a_stage(self, installation: Installation) -> None:
        """At most `max-parallel` sites of a stage are in flight; a new width of the strategy leaves that as it is."""
        applied(installation, "abcd", rollout=staged({"name": "canary", "count": 3, "max-parallel": 1}))
        assert "a" == started(installation)
        assert 200 == verb(installation, "update", **{"max-parallel-subclouds": 5}).status

        finish(installation)

        assert "ab" == started(installation)

    def test_a_site_that_was_put_first(self, installation: Installation) -> None:
        """A site of a later stage that was put first is the first of its own stage."""
        applied(installation, "abcd", rollout=staged(CANARY), **{"max-parallel-subclouds": 1})
        assert 200 == installation.ask(CommandType.STEP_FIRST, subject="d", first=True).status
        assert "a" == started(installation)

        finish(installation)

        assert "ad" == started(installation)

    def test_a_held_site_keeps_its_stage_open(self, installation: Installation) -> None:
        """A site of a stage that is held by itself keeps later stages from starting, and is named."""
        applied(installation, "abc", rollout=staged({"name": "canary", "count": 2}))
        installation.ask(CommandType.STEP_HOLD, subject="b", held=True)
        finish(installation)

        assert "a" == started(installation)
        assert ["b"] == progress(installation)["blocked-by"]
        installation.ask(CommandType.STEP_HOLD, subject="b", held=False)
        finish(installation)
        assert "abc" == started(installation)


class TestRetry:
    def test_a_retried_site_of_a_stage_before(self, installation: Installation) -> None:
        """A site of an earlier stage that is retried is worked on before more sites of later stages start."""
        applied(installation, "abc", rollout=staged({"name": "canary", "count": 1}, {"name": "wave", "count": 1}))
        finish(installation, RunOutcome.FAILED)
        assert 200 == verb(installation, "approve", stage="canary").status
        assert "ab" == started(installation)
        assert 200 == installation.ask(CommandType.STEP_RETRY, subject="a").status
        finish(installation)
        assert "ab" == started(installation)

        finish(installation)

        assert "abc" == started(installation)

    def test_a_retry_of_the_strategy_has_no_stages(self, installation: Installation) -> None:
        """A strategy that retries another one inherits the window, and not its stages."""
        applied(installation, "ab", rollout=staged({"name": "canary", "count": 1}))
        finish(installation, RunOutcome.FAILED)
        assert 200 == verb(installation, "approve", stage="canary").status
        finish(installation, RunOutcome.FAILED)

        retried = installation.ask(CommandType.STRATEGY_RETRY, subject="1", password="c2VjcmV0")

        assert 200 == retried.status, retried.detail
        assert ("window", None) == (retried.body["rollout"]["mode"], retried.body["rollout"].get("stages"))


class TestBudget:
    def test_later_stages_are_held(self, installation: Installation) -> None:
        """One failure more than a stage bears holds the later stages, not the rest of its own."""
        applied(installation, "abcd", rollout=staged({**CANARY, "count": 2, "max-parallel": 1}))
        finish(installation, RunOutcome.FAILED)

        (hold,) = installation.rows(holds)
        assert ("budget", "starts", 1) == (hold["kind"], hold["scope"], hold["stage"])
        assert "More sites of stage 1 failed than its max-failures, 0, allows." == hold["reason"]
        assert "ab" == started(installation)
        finish(installation)
        assert "ab" == started(installation)

    def test_resume(self, installation: Installation) -> None:
        """A resume needs `allow-failures`, which raises the budget of the stage; then only its gate is left."""
        applied(installation, "abc", rollout=staged(CANARY))
        finish(installation, RunOutcome.FAILED)

        refused = resume(installation)
        assert 422 == refused.status
        assert refused.detail.endswith("1 failed in stage 1, and its max-failures allows 0. Give allow-failures.")
        assert 200 == verb(installation, "update", rollout={"max-failures": 9}).status
        assert 1 == len([row for row in installation.rows(holds) if row["ended_at"] is None])

        answer = resume(installation, **{"allow-failures": 0})

        assert (200, []) == (answer.status, answer.body["holds"])
        assert "max-failures of stage 1 is 1 now." in installation.rows(audit)[-1]["detail"]
        assert "a" == started(installation)
        assert 200 == verb(installation, "approve", stage="canary").status
        assert "abc" == started(installation)

    def test_stop(self, installation: Installation) -> None:
        """With `on-budget: stop` the strategy ends with those that have started, and cannot be resumed."""
        applied(installation, "abcd", rollout=staged({**CANARY, "count": 2}, **{"on-budget": "stop"}))
        first, second = installation.queued()
        take(installation, first)
        take(installation, second)
        end(installation, first, RunOutcome.FAILED)
        refused = resume(installation, **{"allow-failures": 1})
        end(installation, second, RunOutcome.SKIPPED)

        assert 422 == refused.status
        assert "failed" == state(installation)
        assert "ab" == started(installation)

    def test_the_last_stage_holds_nothing(self, installation: Installation) -> None:
        """A budget of the last stage makes no hold, for no stage comes after it."""
        applied(installation, "ab", rollout=staged({**CANARY, "count": 2}))

        finish(installation, RunOutcome.FAILED)

        assert [] == installation.rows(holds)

    @pytest.mark.parametrize(("percent", "borne"), [("34%", 1), ("33%", 0), ("100%", 3)])
    def test_percentage(self, installation: Installation, percent: str, borne: int) -> None:
        """A percentage is of the sites of the stage, rounded down."""
        for name in "abcdef":
            installation.add_site(name)
        installation.create(rollout=staged({"name": "wave", "count": 3, "max-failures": percent}))

        assert [(2, borne), (2, None)] == budgets(installation)
