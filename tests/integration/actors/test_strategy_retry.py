"""Retry of a strategy, as a command (rollout, section 7)."""

from __future__ import annotations

from typing import Any

import pytest

from db.claims import claim_runs
from db.schema import events, secrets, steps, strategies
from db.unit_of_work import unit_of_work
from messages.commands import Answer, Command, CommandType
from statemachine.states import RunOutcome
from tests.integration.actors.held_installation import applied, end, state, take
from tests.support.installation import OWNER, Installation


def retry(installation: Installation, strategy_id: int = 1, *, password: str | None = "pw", **data: Any) -> Answer:
    """Ask for a retry of a strategy."""
    return installation.ask(CommandType.STRATEGY_RETRY, subject=str(strategy_id), password=password, **data)


def ended(installation: Installation, outcomes: dict[str, RunOutcome | None], **options: Any) -> None:
    """Bring a strategy to its end; None: the site is cancelled."""
    applied(installation, "".join(outcomes), **options)
    for site, outcome in outcomes.items():
        if outcome is None:
            installation.execute(Command(type=CommandType.STEP_CANCEL, subject=site, requested_by="bob"))
            continue
        run_id = installation.step(site)["run_id"]
        take(installation, run_id)
        end(installation, run_id, outcome, details="why")


def sites(installation: Installation) -> list[str]:
    """Return the sites of the newest strategy."""
    return [name for name, _stage in installation.stages()]


FAILED, SKIPPED = RunOutcome.FAILED, RunOutcome.SKIPPED
# One site of each outcome but success.
MIXED: dict[str, RunOutcome | None] = {"a": FAILED, "b": SKIPPED, "c": None}


class TestChoice:
    def test_what_did_not_succeed(self, installation: Installation) -> None:
        """Without options sites are retried that failed, were aborted or cancelled, or were never started."""
        ended(installation, MIXED)

        answer = retry(installation)

        assert (200, "initial", 1) == (answer.status, answer.body["state"], answer.body["retry-of"])
        assert ["a", "c"] == sites(installation)

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({"states": ["failed"]}, ["a"]),
            ({"states": ["skipped", "cancelled"]}, ["b", "c"]),
            ({"clouds": ["c"]}, ["c"]),
            ({"clouds": ["1", "c"]}, ["a", "c"]),
        ],
    )
    def test_narrowed(self, installation: Installation, options: dict[str, Any], expected: list[str]) -> None:
        """States and names or ids of sites narrow the retry."""
        ended(installation, MIXED)

        assert 200 == retry(installation, **options).status
        assert expected == sites(installation)

    def test_one_problem(self, installation: Installation) -> None:
        """Only sites with one problem are retried where it is named; without such a site the retry is refused."""
        ended(installation, {"a": FAILED, "b": None})
        problem = installation.step("a")["problem"]

        assert 200 == retry(installation, problem=problem).status
        assert ["a"] == sites(installation)
        refused = retry(installation, problem="0" * 12)
        assert (422, True) == (refused.status, "with the problem 000000000000" in refused.detail)

    def test_the_beginning_of_a_problem(self, installation: Installation) -> None:
        """A problem may be named by the beginning of its id; one that none has is refused with those there are."""
        ended(installation, {"a": FAILED, "b": None})
        problem = installation.step("a")["problem"]
        refused = retry(installation, problem="0000" if problem[0] != "0" else "1111")

        assert (422, True) == (refused.status, refused.detail.startswith("Unable to retry strategy 1: No problem of"))
        assert problem in refused.detail
        assert 200 == retry(installation, problem=problem[:4]).status
        assert ["a"] == sites(installation)

    def test_never_started(self, installation: Installation) -> None:
        """Sites that a failure kept from starting are retried."""
        applied(installation, "ab", **{"stop-on-failure": "true", "max-parallel-subclouds": 1})
        run_id = installation.step("a")["run_id"]
        take(installation, run_id)
        end(installation, run_id, FAILED)

        assert 200 == retry(installation, states=["not-started"]).status
        assert ["b"] == sites(installation)

    def test_left_out_sites(self, installation: Installation) -> None:
        """Sites that the strategy left out are retried on request, where they may be prestaged by now."""
        installation.add_site("x", **{"availability-status": "offline"})
        ended(installation, {"a": FAILED})
        installation.ask(CommandType.SUBCLOUD_UPDATE, subject="x", **{"availability-status": "online"})

        assert 200 == retry(installation, states=["excluded"]).status
        assert ["x"] == sites(installation)

    def test_eligibility_is_judged_anew(self, installation: Installation) -> None:
        """A site that may not be prestaged now is left out with the reason, as at create."""
        ended(installation, {"a": FAILED, "b": FAILED})
        installation.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **{"management-state": "unmanaged"})

        answer = retry(installation)

        assert ["b"] == sites(installation)
        assert ["a"] == [one["name"] for one in answer.body["excluded-subclouds"]]

    def test_named_sites_are_not_left_out(self, installation: Installation) -> None:
        """A site that is named and may not be prestaged now refuses the retry, unless such sites may be left out."""
        ended(installation, {"a": FAILED, "b": FAILED})
        installation.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **{"management-state": "unmanaged"})

        assert 422 == retry(installation, clouds=["a", "b"]).status
        assert [None] == [row["deleted_at"] for row in installation.rows(strategies)]
        assert 200 == retry(installation, clouds=["a", "b"], **{"skip-ineligible": True}).status
        assert ["b"] == sites(installation)

    def test_targets_narrow(self, installation: Installation) -> None:
        """Groups, selectors and exclusions narrow a retry as they do a new strategy."""
        ended(installation, MIXED)

        assert 200 == retry(installation, exclude={"clouds": ["a"]}).status
        assert ["c"] == sites(installation)

    def test_a_removed_subcloud(self, installation: Installation) -> None:
        """A site whose subcloud was removed is left out with that reason."""
        ended(installation, {"a": FAILED, "b": FAILED})
        changes = {"management-state": "unmanaged", "availability-status": "offline"}
        installation.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **changes)
        assert 200 == installation.ask(CommandType.SUBCLOUD_DELETE, subject="a").status

        answer = retry(installation)

        assert [{"name": "a", "reason": "Its subcloud was removed."}] == answer.body["excluded-subclouds"]

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"clouds": ["a", "z"]}, "z: not among its sites that are failed or aborted or cancelled or not-started"),
            ({"clouds": ["b"]}, "b: not among its sites"),
            ({"states": ["aborted"]}, "none of its sites is aborted"),
        ],
    )
    def test_nobody(self, installation: Installation, options: dict[str, Any], text: str) -> None:
        """A name that is not among the chosen sites, and a choice of none, are refused and change nothing."""
        ended(installation, MIXED)

        refused = retry(installation, **options)

        assert (422, True) == (refused.status, text in refused.detail)
        assert [None] == [row["deleted_at"] for row in installation.rows(strategies)]


class TestInheritance:
    def test_as_before(self, installation: Installation) -> None:
        """Release, force, apply type, width, reason and rollout are those of the earlier strategy."""
        rollout = {"mode": "window", "max-failures": 7}
        ended(installation, {"a": FAILED}, rollout=rollout, force="true", release="25.09", for_sw_deploy="true")

        answer = retry(installation)

        before, now = installation.rows(strategies)
        kept = ("release", "force", "subcloud_apply_type", "max_parallel_subclouds", "for_sw_deploy", "rollout", "mode")
        assert {key: before[key] for key in kept} == {key: now[key] for key in kept}
        assert 7 == answer.body["rollout"]["max-failures"]

    def test_overrides(self, installation: Installation) -> None:
        """Each option of a new strategy may be given, those of the rollout key by key."""
        ended(
            installation,
            {"a": FAILED},
            rollout={"mode": "window", "max-failures": 7},
            release="25.09",
            for_sw_deploy="true",
        )
        changes = {"rollout": {"max-failures": 1}, "max-parallel-subclouds": 3, "for_install": "true"}

        assert 200 == retry(installation, **changes).status

        now = installation.rows(strategies)[-1]
        assert ("window", 1, 3, False) == (
            now["mode"],
            now["max_failures"],
            now["max_parallel_subclouds"],
            now["for_sw_deploy"],
        )

    def test_stop_on_failure(self, installation: Installation) -> None:
        """`stop-on-failure` is inherited as itself, and gives way to a failure budget that is given."""
        ended(installation, {"a": FAILED}, **{"stop-on-failure": "true"})
        assert 200 == retry(installation).status
        assert installation.rows(strategies)[-1]["stop_on_failure"]

        assert 200 == retry(installation, rollout={"max-failures": 2}).status

        now = installation.rows(strategies)[-1]
        assert (False, 2) == (now["stop_on_failure"], now["max_failures"])

    def test_the_secret_is_asked_for_again(self, installation: Installation) -> None:
        """The password of the earlier strategy is gone with its end: a retry brings its own."""
        ended(installation, {"a": FAILED})
        assert [] == installation.rows(secrets)

        assert (400, "subcloud sysadmin_password required") == (
            (refused := retry(installation, password=None)).status,
            refused.detail,
        )
        assert 200 == retry(installation).status
        assert [2] == [row["strategy_id"] for row in installation.rows(secrets)]

    def test_applied_at_once(self, installation: Installation) -> None:
        """With `apply` it starts in the same transaction."""
        ended(installation, {"a": FAILED})

        answer = retry(installation, apply=True)

        assert (200, "applying") == (answer.status, answer.body["state"])
        assert 1 == len(installation.queued())


class TestHistory:
    def test_an_ended_strategy_becomes_history(self, installation: Installation) -> None:
        """The earlier strategy that is still active becomes history in the same transaction, with its event."""
        ended(installation, {"a": FAILED})

        retry(installation)

        before, now = installation.rows(strategies)
        assert (True, None, 1) == (before["deleted_at"] is not None, now["deleted_at"], now["retry_of"])
        told = [(row["type"], row["data"]) for row in installation.rows(events)][-2:]
        assert ("strategy.prestage.deleted", {}) == told[0]
        assert ("strategy.prestage.initial", {"steps": 1, "retry_of": 1}) == told[1]

    def test_one_of_the_history(self, installation: Installation) -> None:
        """A strategy that is history is retried as well."""
        ended(installation, {"a": FAILED})
        installation.verb("delete")

        assert 200 == retry(installation).status

    def test_an_unstarted_retry_gives_way(self, installation: Installation) -> None:
        """An earlier retry of which no site has started becomes history, applied or not; so does one that has ended."""
        ended(installation, {"a": FAILED})
        for options in ({}, {"apply": True}, {}):
            assert 200 == retry(installation, **options).status
        installation.verb("apply")
        (run_id,) = installation.queued()
        take(installation, run_id)
        end(installation, run_id, FAILED)

        assert 200 == retry(installation).status
        assert [None] == [row["deleted_at"] for row in installation.rows(strategies) if row["deleted_at"] is None]
        assert [] == installation.queued()

    def test_a_started_retry_is_in_the_way(self, installation: Installation) -> None:
        """While an earlier retry has started a site another one is a conflict, and the run of the first goes on."""
        ended(installation, {"a": FAILED, "b": FAILED})
        retry(installation, apply=True)
        first, second = installation.queued()
        with unit_of_work(installation.database) as work:
            assert claim_runs(work, [first], OWNER)

        refused = retry(installation)

        assert (409, True) == (refused.status, "strategy 2, has started" in refused.detail)
        assert [second] == installation.queued()
        assert "applying" == state(installation)

    def test_another_strategy_is_in_the_way(self, installation: Installation) -> None:
        """Another active strategy is never touched."""
        ended(installation, {"a": FAILED})
        installation.verb("delete")
        installation.create()

        refused = retry(installation)

        assert (422, True) == (refused.status, "strategy 2 of type 'prestage' is active" in refused.detail)

    @pytest.mark.parametrize("is_applied", [False, True])
    def test_one_that_has_not_ended(self, installation: Installation, is_applied: bool) -> None:
        """A strategy that has not ended is not retried."""
        installation.add_site("a")
        installation.create()
        if is_applied:
            installation.verb("apply")

        refused = retry(installation)

        assert (422, True) == (refused.status, "only one that has ended is" in refused.detail)

    @pytest.mark.parametrize("number", ["7", "x", "", "9" * 30])
    def test_an_unknown_one(self, installation: Installation, number: str) -> None:
        """A strategy that there is not is a 404."""
        refused = installation.ask(CommandType.STRATEGY_RETRY, subject=number)

        assert (404, "Strategy not found") == (refused.status, refused.detail)

    def test_steps_of_before_stay(self, installation: Installation) -> None:
        """The steps of the earlier strategy stay as they ended."""
        ended(installation, MIXED)
        before = installation.rows(steps, strategy_id=1)

        retry(installation)

        assert before == installation.rows(steps, strategy_id=1)
