"""Failure budget, sliding window, slow start, order and time limits of a strategy, and their changes (decision 48)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from db.holds import hold_clock
from db.schema import holds, runs, steps, strategies, subcloud_groups
from messages.commands import CommandType
from statemachine.states import RunOutcome
from tests.integration.actors.held_installation import applied, end, state, take, told, verb
from tests.support.installation import Installation, StartedInstallation

WINDOW = {"mode": "window"}


def fail(installation: Installation, count: int) -> None:
    """Let the first queued runs fail."""
    for run_id in installation.queued()[:count]:
        take(installation, run_id)
        end(installation, run_id, RunOutcome.FAILED, details="no")


def skip(installation: Installation, count: int) -> None:
    """Let the first queued prechecks pass their sites over."""
    for run_id in installation.queued()[:count]:
        take(installation, run_id)
        end(installation, run_id, RunOutcome.SKIPPED, details="not needed")


def in_flight(installation: Installation) -> list[str]:
    """Return the sites that have a run, in the order of their steps."""
    return [row["subcloud_name"] for row in installation.rows(steps) if row["run_id"] is not None]


def open_kinds(installation: Installation) -> list[str]:
    """Return the kinds of the open holds."""
    return [row["kind"] for row in installation.rows(holds) if row["ended_at"] is None]


class TestBudget:
    @pytest.mark.parametrize(
        ("limit", "sites", "borne"), [(0, 4, 0), (2, 5, 2), ("10%", 9, 0), ("50%", 5, 2), ("100%", 3, 3)]
    )
    def test_borders(self, installation: Installation, limit: Any, sites: int, borne: int) -> None:
        """As many failures as the budget allows are borne; one more holds the start of sites."""
        applied(installation, "abcdefghi"[:sites], rollout={"max-failures": limit})
        fail(installation, borne)
        assert [] == open_kinds(installation)
        if borne == sites:
            return

        fail(installation, 1)

        assert ["budget"] == open_kinds(installation)
        assert [] == installation.queued()
        assert "applying" == state(installation)

    def test_resume_needs_failures_to_be_allowed(self, installation: Installation) -> None:
        """A resume while the budget is exceeded is a 422 that says so; `allow-failures` counts from now on."""
        applied(installation, "abcd", rollout={"max-failures": 0})
        fail(installation, 1)

        refused = verb(installation, "resume")
        assert 422 == refused.status
        assert "1 failed, and max-failures allows 0. Give allow-failures" in refused.detail
        assert ["budget"] == open_kinds(installation)

        answer = verb(installation, "resume", **{"allow-failures": 1})
        assert (200, 2) == (answer.status, answer.body["rollout"]["max-failures"])
        assert 3 == len(installation.queued())
        fail(installation, 1)
        assert [] == open_kinds(installation)
        fail(installation, 1)
        assert ["budget"] == open_kinds(installation)

    def test_a_budget_that_stops(self, installation: Installation) -> None:
        """With `on-budget: stop` the strategy ends as failed, and handed-out sites never start."""
        applied(installation, "abc", rollout={"max-failures": 0, "on-budget": "stop"})

        fail(installation, 1)

        assert "failed" == state(installation)
        assert ["failed", "initial", "initial"] == [row["state"] for row in installation.rows(steps)]
        assert [] == installation.queued()

    def test_stop_on_failure_alone_is_as_it_was(self, installation: Installation) -> None:
        """`stop-on-failure` lets handed-out sites of the stage go through; answers show it as a budget that stops."""
        applied(installation, "abc", **{"stop-on-failure": "true"})

        fail(installation, 1)

        assert 2 == len(installation.queued())
        shown = installation.rows(strategies)[0]["rollout"]
        assert (0, "stop") == (shown["max-failures"], shown["on-budget"])

    def test_a_change_of_the_limit(self, installation: Installation) -> None:
        """A limit below the present failures holds at once; one that is raised ends the hold."""
        applied(installation, "abcdef")
        fail(installation, 2)

        answer = verb(installation, "update", rollout={"max-failures": 1})
        assert 200 == answer.status
        assert ["budget"] == open_kinds(installation)
        assert [] == installation.queued()

        verb(installation, "update", rollout={"max-failures": 2})
        assert [] == open_kinds(installation)
        assert 4 == len(installation.queued())
        verb(installation, "update", rollout={"max-failures": None})
        assert "max-failures" not in installation.rows(strategies)[0]["rollout"]

    def test_a_change_of_one_time_limit(self, installation: Installation) -> None:
        """Of the time limits a change moves those that it names; null takes one away, and null for all takes all."""
        applied(installation, "a", rollout={"timeouts": {"packages-s": 60, "images-s": 70}})

        def limits(**change: Any) -> Any:
            return verb(installation, "update", rollout=change).body["rollout"].get("timeouts")

        assert {"packages-s": 60, "images-s": 70, "site-s": 90} == limits(timeouts={"site-s": 90})
        assert {"images-s": 80, "site-s": 90} == limits(timeouts={"packages-s": None, "images-s": 80})
        assert limits(timeouts=None) is None

    def test_a_stop_is_for_good(self, installation: Installation) -> None:
        """The limit of a strategy that failures have stopped cannot be moved; what has begun goes to its end."""
        applied(installation, "abc", rollout={"max-failures": 0, "on-budget": "stop"})
        first, second, _third = installation.queued()
        take(installation, second)
        take(installation, first)
        end(installation, first, RunOutcome.FAILED)

        raised = verb(installation, "update", rollout={"max-failures": 2})
        allowed = verb(installation, "resume", **{"allow-failures": 2})

        assert (422, 422) == (raised.status, allowed.status)
        assert "stopped it for good" in raised.detail

    def test_a_failed_preparation_pauses(self, installation: Installation) -> None:
        """With `on-prepare-failure: pause` a wrong feed costs no site: a resume makes one more preparation."""
        applied(installation, "a", rollout={"on-prepare-failure": "pause"})
        (precheck,) = installation.queued()
        take(installation, precheck)
        end(installation, precheck)
        (prepare,) = installation.queued()
        take(installation, prepare)
        end(installation, prepare, RunOutcome.FAILED, details="no feed")
        assert (["prepare"], "prestage-prepare") == (open_kinds(installation), installation.step("a")["state"])

        verb(installation, "resume")

        assert [] == open_kinds(installation)
        (again,) = installation.queued()
        take(installation, again)
        end(installation, again)
        assert "prestaging-packages" == installation.step("a")["state"]


class TestWindow:
    def test_the_next_site_starts_when_one_ends(self, installation: Installation) -> None:
        """In a sliding window at most W sites are in flight, and the next one by id starts when one has ended."""
        applied(installation, "abcde", rollout=WINDOW, **{"max-parallel-subclouds": 2})
        assert ["a", "b"] == in_flight(installation)

        fail(installation, 1)

        assert ["b", "c"] == in_flight(installation)

    def test_groups_have_their_own_widths(self, installation: Installation) -> None:
        """Without a width of the request each group counts by itself, a serial one with one site at a time."""
        installation.add_group("north", "serial")
        installation.add_group("south", "parallel", 3)
        for number in range(3):
            installation.add_site(f"n{number}", group_id="north")
            installation.add_site(f"s{number}", group_id="south")
        installation.create(rollout=WINDOW)
        installation.verb("apply")

        assert ["n0"] == in_flight(installation)
        assert {1, 2} == {row["stage"] for row in installation.rows(steps)}

    def test_an_earlier_group_that_has_all_started(self, installation: Installation) -> None:
        """A later group starts when every site of the earlier ones has started, without waiting for their end."""
        installation.add_group("north", "parallel", 5)
        installation.add_group("south", "parallel", 5)
        for name, group in (("n0", "north"), ("n1", "north"), ("s0", "south"), ("s1", "south")):
            installation.add_site(name, group_id=group)
        installation.create(rollout=WINDOW)
        installation.verb("apply")

        assert ["n0", "n1", "s0", "s1"] == in_flight(installation)

    def test_slow_start(self, installation: Installation) -> None:
        """A ramp begins with few sites and grows by each that succeeded, up to the width; skipped ones do not count."""
        applied(installation, "abcdef", rollout={**WINDOW, "ramp": {"start": 1}}, **{"max-parallel-subclouds": 3})
        assert ["a"] == in_flight(installation)
        skip(installation, 1)
        assert ["b"] == in_flight(installation)
        for _phase in range(4):
            (run_id,) = installation.queued()
            take(installation, run_id)
            end(installation, run_id)

        assert ["c", "d"] == in_flight(installation)

    def test_a_changed_width(self, installation: Installation) -> None:
        """A wider window starts more at once, a smaller one starts no more until enough have ended."""
        applied(installation, "abcdef", rollout=WINDOW, **{"max-parallel-subclouds": 2})
        verb(installation, "update", **{"max-parallel-subclouds": 4})
        assert ["a", "b", "c", "d"] == in_flight(installation)

        verb(installation, "update", **{"max-parallel-subclouds": 1})
        fail(installation, 3)

        assert ["d"] == in_flight(installation)

    def test_the_width_of_stages_is_fixed(self, installation: Installation) -> None:
        """The width of a strategy that goes by stages cannot be changed, and nothing is."""
        applied(installation, "ab")

        answer = verb(installation, "update", **{"max-parallel-subclouds": 4})

        assert 422 == answer.status
        assert "the width of stages is fixed at create" in answer.detail

    def test_longest_first(self, installation: Installation) -> None:
        """Sites that took longest in their last three complete strategies come first; a new one is in the middle."""
        for name in "abcd":
            installation.add_site(name)
        past = {"type": "prestage", "stop_on_failure": False, "force": False, "release": "23.09", "state": "complete"}
        with installation.database.write() as connection:
            at = hold_clock(connection)
            for number in range(4):
                strategy_id = connection.execute(
                    insert(strategies)
                    .values(**past, for_sw_deploy=False, excluded=[], created_at=at, deleted_at=at)
                    .returning(strategies.c.id)
                ).scalar_one()
                for name, took_s in (("a", 10.0), ("b", 1000.0 if number == 0 else 30.0), ("d", 20.0)):
                    connection.execute(
                        insert(steps).values(
                            strategy_id=strategy_id,
                            subcloud_id=installation.site(name)["id"],
                            subcloud_name=name,
                            stage=1,
                            state="complete",
                            outcome="complete",
                            worked_s=took_s,
                            details="",
                            release="23.09",
                            force=False,
                            for_sw_deploy=False,
                            version=1,
                            created_at=at,
                            finished_at=at,
                        )
                    )
        installation.create(rollout={**WINDOW, "order": "longest-first"}, **{"subcloud-apply-type": "serial"})
        installation.verb("apply")

        newest = installation.rows(strategies)[-1]["id"]
        order = sorted(installation.rows(steps, strategy_id=newest), key=lambda row: row["position"])
        assert ["b", "c", "d", "a"] == [row["subcloud_name"] for row in order]
        assert ["b"] == in_flight(installation)


class TestSources:
    def test_a_named_group_gives_defaults(self, installation: Installation) -> None:
        """A group that a request names gives the options that the request does not; a strategy over all takes none."""
        answer = installation.ask(
            CommandType.GROUP_CREATE,
            name="north",
            description="north",
            rollout={"mode": "window", "max-failures": "10%"},
        )
        assert {"mode": "window", "max-failures": "10%"} == answer.body["rollout"]
        installation.add_site("a", group_id="north")

        by_group = installation.create(subcloud_group="north", rollout={"max-failures": 3})
        installation.verb("delete")
        over_all = installation.create()

        assert ("window", 3) == (by_group.body["rollout"]["mode"], by_group.body["rollout"]["max-failures"])
        assert "stages" == over_all.body["rollout"]["mode"]

    def test_keys_of_three_sources(self, build: Callable[..., StartedInstallation]) -> None:
        """Key by key the request counts before the group that it names, and that before the file of settings."""
        table = {"mode": "window", "order": "longest-first", "max-failures": 1, "on-budget": "stop"}
        installation = build(rollout=table)
        of_group = {"order": "by-id", "max-failures": 2}
        installation.ask(CommandType.GROUP_CREATE, name="north", description="north", rollout=of_group)
        installation.add_site("a", group_id="north")

        by_all = installation.create(subcloud_group="north", rollout={"max-failures": 3, "on-budget": None}).body
        installation.verb("delete")
        by_group = installation.create(subcloud_group="north").body
        installation.verb("delete")
        by_file = installation.create().body

        wanted = {"mode": "window", "order": "by-id", "on-prepare-failure": "fail"}
        assert {**wanted, "max-failures": 3, "on-budget": "pause"} == by_all["rollout"]
        assert {**wanted, "max-failures": 2, "on-budget": "stop"} == by_group["rollout"]
        assert {**wanted, **table} == by_file["rollout"]

    def test_options_that_exclude_each_other(self, installation: Installation) -> None:
        """A slow start without a window is refused, and no strategy is made."""
        installation.add_site("a")

        answer = installation.create(rollout={"ramp": {"start": 1}})

        assert 422 == answer.status
        assert answer.detail.endswith("rollout.ramp needs rollout.mode window: the width of stages is fixed at create")
        assert [] == installation.rows(strategies)

    def test_a_changed_group(self, installation: Installation) -> None:
        """The options of a group are changed as a whole; a field that is not given stays."""
        installation.add_group("north")
        changed = installation.ask(CommandType.GROUP_UPDATE, subject="north", rollout={"mode": "window"})
        other = installation.ask(CommandType.GROUP_UPDATE, subject="north", description="still")

        assert {"mode": "window"} == changed.body["rollout"] == other.body["rollout"]
        assert [{"mode": "window"}] == [row["rollout"] for row in installation.rows(subcloud_groups, name="north")]


class TestStrategyLimit:
    @pytest.mark.parametrize(("on_limit", "is_cancel"), [("abort", False), ("cancel", True)])
    def test_the_time_is_over(self, installation: Installation, on_limit: str, is_cancel: bool) -> None:
        """A strategy that has reached its limit is aborted, or cancelled; the sentence is kept."""
        limits = {"strategy-s": 60, "on-strategy-limit": on_limit}
        applied(installation, "ab", rollout={"timeouts": limits})
        first, _second = installation.queued()
        take(installation, first)
        with installation.database.write() as connection:
            applied_at = connection.execute(select(strategies.c.applied_at)).scalar_one()
            connection.execute(update(strategies).values(applied_at=applied_at.replace(year=2020)))
        assert installation.coordinator is not None
        installation.coordinator.coordinate()

        assert "aborting" == state(installation)
        assert is_cancel == bool(installation.rows(runs, cancel_requested=True))
        assert "60 s" in installation.rows(strategies)[0]["limit_reached"]
        assert "strategy.prestage.aborting" in told(installation)
