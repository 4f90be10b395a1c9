"""Hold, put first and cancel of a single site, as commands (decision 48)."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from db.schema import events, holds, runs, steps, subclouds
from messages.commands import Answer, Command, CommandType
from statemachine.states import RunOutcome
from tests.integration.actors.held_installation import applied, end, state, take, verb
from tests.support.installation import Installation


def ask(installation: Installation, kind: CommandType, site: str, **data: Any) -> Answer:
    """Send a command about one site."""
    return installation.execute(Command(type=kind, subject=site, data=data, requested_by="alice"))


def hold(installation: Installation, site: str, **data: Any) -> Answer:
    """Hold a site, or with `held=False` end its hold."""
    return ask(installation, CommandType.STEP_HOLD, site, **{"held": True, **data})


class TestHold:
    def test_others_go_on(self, installation: Installation) -> None:
        """A held site gives its place in the window to the next one, and takes one again when it is released."""
        applied(installation, "abc", rollout={"mode": "window"}, **{"max-parallel-subclouds": 1})

        answer = hold(installation, "a", reason="no power")

        assert 200 == answer.status
        assert ("no power", "alice") == (answer.body["held"]["reason"], answer.body["held"]["by"])
        assert ["b"] == [row["subcloud_name"] for row in installation.rows(steps) if row["run_id"]]

        assert hold(installation, "a", held=False).body["held"] is None
        (run_id,) = installation.queued()
        take(installation, run_id)
        end(installation, run_id, RunOutcome.FAILED)
        assert ["a"] == [row["subcloud_name"] for row in installation.rows(steps) if row["run_id"]]

    def test_a_repeat_changes_nothing(self, installation: Installation) -> None:
        """A second hold of a site, and a release without one, answer 200 and change nothing."""
        applied(installation, "ab")
        hold(installation, "a")
        hold(installation, "a")
        hold(installation, "a", held=False)
        hold(installation, "a", held=False)

        assert 1 == len(installation.rows(holds))
        told = [row["type"] for row in installation.rows(events) if ".hold." in row["type"]]
        assert ["strategy.hold.opened", "strategy.hold.ended"] == told
        assert "a" == installation.rows(events, type="strategy.hold.opened")[0]["data"]["subcloud"]

    def test_a_resume_of_the_strategy_leaves_it(self, installation: Installation) -> None:
        """A resume ends the holds of the strategy and not those of single sites."""
        applied(installation, "ab")
        hold(installation, "a")
        verb(installation, "pause")
        verb(installation, "resume")

        assert ["b"] == [row["subcloud_name"] for row in installation.rows(steps) if row["run_id"]]

    def test_only_open_steps(self, installation: Installation) -> None:
        """A site without a step is a 404; one whose step has ended is a 422 that says how."""
        applied(installation, "a")
        assert (404, "Strategy step not found") == (
            hold(installation, "x").status,
            hold(installation, "x").detail,
        )
        (run_id,) = installation.queued()
        take(installation, run_id)
        end(installation, run_id, RunOutcome.FAILED)

        refused = hold(installation, "a")

        assert (422, "Unable to hold the step of 'a': it has ended as failed.") == (refused.status, refused.detail)

    def test_the_end_of_the_site_ends_it(self, installation: Installation) -> None:
        """The hold of a site ends when the phase that was running ends the site; a retry of it is not held."""
        applied(installation, "ab")
        (run_id, _) = installation.queued()
        take(installation, run_id)
        hold(installation, "a", reason="power work")
        end(installation, run_id, RunOutcome.FAILED)

        assert [False] == [row["ended_at"] is None for row in installation.rows(holds)]
        assert "failed" == installation.step("a")["state"]
        ended = installation.rows(events, type="strategy.hold.ended")
        assert ["a"] == [row["data"]["subcloud"] for row in ended]
        assert ask(installation, CommandType.STEP_RETRY, "a").body["held"] is None

    def test_a_delete_ends_it(self, installation: Installation) -> None:
        """A site may be held before the strategy is applied; a delete ends its hold."""
        installation.add_site("a")
        installation.create()
        assert 200 == hold(installation, "a").status

        assert 200 == installation.verb("delete").status

        assert [False] == [row["ended_at"] is None for row in installation.rows(holds)]


class TestFirst:
    def test_it_starts_next(self, installation: Installation) -> None:
        """A site that is put first starts before all that have not started, the last one so put before the others."""
        applied(installation, "abcd", rollout={"mode": "window"}, **{"max-parallel-subclouds": 1})
        for name in ("c", "d"):
            assert 200 == ask(installation, CommandType.STEP_FIRST, name).status
        order = []
        while installation.queued():
            (run_id,) = installation.queued()
            order.append(next(row["subcloud_name"] for row in installation.rows(steps) if row["run_id"] == run_id))
            take(installation, run_id)
            end(installation, run_id, RunOutcome.FAILED)

        assert ["a", "d", "c", "b"] == order

    def test_stages_have_no_order(self, installation: Installation) -> None:
        """Outside of a sliding window no site is put first."""
        applied(installation, "ab")

        refused = ask(installation, CommandType.STEP_FIRST, "b")

        assert 422 == refused.status
        assert "its strategy goes by stages" in refused.detail


class TestCancel:
    def test_a_site_that_has_not_started(self, installation: Installation) -> None:
        """A handed-out site, and one that waits for its stage, end in the transaction of the answer, which says so."""
        applied(installation, "abc", **{"max-parallel-subclouds": 2})
        for name in ("a", "c"):
            answer = ask(installation, CommandType.STEP_CANCEL, name)
            assert (200, False) == (answer.status, answer.body["already-ended"])
            assert ("aborted", "cancelled") == (answer.body["state"], answer.body["outcome"])

        assert ["cancelled", None, "cancelled"] == [row["outcome"] for row in installation.rows(steps)]
        assert ["aborted", "initial", "aborted"] == [row["state"] for row in installation.rows(steps)]
        assert "applying" == state(installation)

    def test_a_running_site_is_stopped(self, installation: Installation) -> None:
        """A running site is marked for its worker and ends as cancelled; the others go on."""
        applied(installation, "ab")
        first, second = installation.queued()
        take(installation, first)

        ask(installation, CommandType.STEP_CANCEL, "a", **{"grace-s": 5})

        assert [(first, 5.0)] == [
            (row["id"], row["cancel_grace_s"]) for row in installation.rows(runs, cancel_requested=True)
        ]
        end(installation, first, RunOutcome.CANCELLED)
        assert "cancelled" == installation.step("a")["outcome"]
        assert [second] == installation.queued()

    def test_a_held_site(self, installation: Installation) -> None:
        """The hold of a site ends when it is cancelled: there is nothing left that it could keep from starting."""
        applied(installation, "ab")
        assert 200 == ask(installation, CommandType.STEP_HOLD, "b", held=True, reason="power work").status

        answer = ask(installation, CommandType.STEP_CANCEL, "b")

        assert ("aborted", None) == (answer.body["state"], answer.body["held"])
        assert [] == installation.rows(holds, ended_at=None)

    def test_a_step_that_has_ended(self, installation: Installation) -> None:
        """A step that has ended stays as it is, and the answer says so."""
        applied(installation, "ab")
        first, _second = installation.queued()
        take(installation, first)
        end(installation, first, RunOutcome.FAILED)

        answer = ask(installation, CommandType.STEP_CANCEL, "a")

        assert (200, True, "failed") == (answer.status, answer.body["already-ended"], answer.body["state"])

    def test_a_prestage_by_itself(self, installation: Installation) -> None:
        """A prestage without a strategy is cancelled too; the subcloud shows what it showed before."""
        installation.add_site("a")
        assert 200 == installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="a").status
        (run_id,) = installation.queued()
        take(installation, run_id)

        assert 200 == ask(installation, CommandType.STEP_CANCEL, "a").status
        end(installation, run_id, RunOutcome.CANCELLED)

        assert ("aborted", "cancelled") == (installation.step("a")["state"], installation.step("a")["outcome"])
        assert installation.site("a")["prestage_status"] is None


# What subclouds show before a prestage, by their names.
EARLIER: dict[str, dict[str, str | None]] = {
    "fresh": {"prestage_status": None},
    "once-failed": {"prestage_status": "failed"},
    "staged": {"prestage_status": "complete", "prestage_versions": "23.09", "prestage_from_version": "22.12"},
}
SHOWN = {name: shown["prestage_status"] for name, shown in EARLIER.items()}


def prestaged_before(installation: Installation) -> None:
    """Add sites with their earlier prestages."""
    for name, shown in EARLIER.items():
        installation.add_site(name)
        with installation.database.write() as connection:
            connection.execute(update(subclouds).where(subclouds.c.name == name).values(**shown))


def reach(installation: Installation, phase: str) -> None:
    """Work on all sites until each run that goes on is of a phase."""
    while {row["phase"] for row in installation.rows(runs, consumed=False)} != {phase}:
        for run_id in installation.queued():
            take(installation, run_id)
            end(installation, run_id)
    for run_id in installation.queued():
        take(installation, run_id)


@pytest.mark.parametrize("is_alone", [False, True], ids=["strategy", "alone"])
@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        ("prestage-precheck", SHOWN),
        ("prestage-prepare", SHOWN),
        ("prestaging-packages", dict.fromkeys(SHOWN, "failed")),
        ("prestaging-images", dict.fromkeys(SHOWN, "failed")),
    ],
)
def test_a_cancel_leaves_what_was_shown(
    installation: Installation, phase: str, expected: dict[str, str | None], is_alone: bool
) -> None:
    """A prestage that is cancelled before packages leaves what its subcloud showed; after that it shows a failure."""
    prestaged_before(installation)
    if is_alone:
        for name in EARLIER:
            assert 200 == installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject=name).status
    else:
        wide = {"subcloud-apply-type": "parallel", "max-parallel-subclouds": 10}
        assert 200 == installation.create(**wide).status
        assert 200 == installation.verb("apply").status
    reach(installation, phase)

    for name in EARLIER:
        assert 200 == ask(installation, CommandType.STEP_CANCEL, name).status
    for row in installation.rows(runs, consumed=False):
        end(installation, row["id"], RunOutcome.CANCELLED)

    assert {"cancelled"} == {row["outcome"] for row in installation.rows(steps)}
    assert expected == {name: installation.site(name)["prestage_status"] for name in EARLIER}
    assert "23.09" == installation.site("staged")["prestage_versions"]


def test_a_cancel_brings_back_nothing_that_has_ended(installation: Installation) -> None:
    """A release that a precheck finds outlived is not shown as staged again by a cancel."""
    prestaged_before(installation)
    installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="staged")
    (run_id,) = installation.queued()
    take(installation, run_id)
    end(installation, run_id, from_version="22.06")

    assert 200 == ask(installation, CommandType.STEP_CANCEL, "staged").status

    assert "cancelled" == installation.step("staged")["outcome"]
    site = installation.site("staged")
    assert (None, None) == (site["prestage_status"], site["prestage_versions"])


def told(installation: Installation, kind: str) -> list[tuple[str, dict[str, Any]]]:
    """Return subject and data of the events of a type."""
    return [(row["subject"], row["data"]) for row in installation.rows(events, type=kind)]


def test_changes_are_told(installation: Installation) -> None:
    """Changed limits, allowed failures, and a site that is put first are told by the names of what changed."""
    applied(installation, "abc", rollout={"mode": "window"}, **{"max-parallel-subclouds": 1})
    verb(installation, "update", rollout={"max-failures": 3, "on-budget": "stop"})
    verb(installation, "resume", **{"allow-failures": 2})
    ask(installation, CommandType.STEP_FIRST, "c")
    verb(installation, "update", rollout={"modes": 1})

    assert [
        ("strategy/1", {"fields": ["max-failures", "on-budget"]}),
        ("strategy/1", {"fields": ["max-failures"]}),
        ("strategy/1", {"fields": ["first"], "subcloud": "c"}),
    ] == told(installation, "strategy.updated")


def test_cancels_are_told(installation: Installation) -> None:
    """A cancel is told when it is asked for: of a strategy, also of one that is being aborted, of a site, and alone."""
    applied(installation, "ab")
    installation.add_site("x")
    installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="x")
    for run_id in installation.queued():
        take(installation, run_id)
    for name in "ax":
        ask(installation, CommandType.STEP_CANCEL, name, **{"grace-s": 5})
    installation.verb("abort")
    verb(installation, "cancel")

    (alone,) = installation.rows(steps, subcloud_name="x")
    assert [
        ("strategy/1", {"by": "alice", "grace_s": 5, "subcloud": "a"}),
        (f"step/{alone['id']}", {"by": "alice", "grace_s": 5, "subcloud": "x"}),
        ("strategy/1", {"by": "alice", "grace_s": 30}),
    ] == told(installation, "strategy.cancel.requested")
