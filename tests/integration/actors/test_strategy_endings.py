"""Strategies through the embedded engine: failures, widths, aborts, standalone runs, restarts (contract 8)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from db.schema import outbox, runs, secrets, steps
from messages.commands import CommandType
from runner.fake import FakeRunEnd
from tests.integration.actors.embedded_rig import ALL_STATES, FAILS, LOST, PACKAGES, PREPARE, Rig, Stage
from tests.support.waiting import wait_for

ON_SQLITE = pytest.mark.parametrize("store_kind", ["sqlite"], indirect=True)


class TestFailures:
    def test_a_failed_site_does_not_hold_the_others_up(self, build: Callable[..., Rig], stage: Stage) -> None:
        """Later stages go on after a failure; the strategy has failed in the end, the site says why."""
        rig = build()
        for name in "abc":
            rig.add_site(name)
        stage.end("a", PACKAGES, FAILS)

        assert "failed" == rig.run_strategy(**{"subcloud-apply-type": "serial"})
        assert ["failed", "complete", "complete"] == [row["state"] for row in rig.rows(steps)]
        site = rig.site("a")
        assert "failed" == site["prestage_status"]
        assert site["error_description"].startswith("prestaging-packages: Prestaging packages failed for subcloud a")

    def test_stop_on_failure_starts_no_further_stage(self, build: Callable[..., Rig], stage: Stage) -> None:
        """With stop-on-failure the failed step's stage ends and later stages stay `initial`; it can be deleted."""
        rig = build()
        for name in "abcd":
            rig.add_site(name)
        stage.end("a", PACKAGES, FAILS)
        state = rig.run_strategy(**{"max-parallel-subclouds": 2, "stop-on-failure": "true"})

        assert "failed" == state
        assert ["failed", "complete", "initial", "initial"] == [row["state"] for row in rig.rows(steps)]
        assert 200 == rig.verb("delete").status
        assert 200 == rig.create().status

    def test_a_lost_run_is_tried_again(self, build: Callable[..., Rig], stage: Stage) -> None:
        """A phase whose run was lost is run again, up to the configured number of attempts."""
        rig = build(max_attempts=3)
        rig.add_site("a")
        stage.end("a", PACKAGES, LOST)

        assert "failed" == rig.run_strategy()
        assert [PREPARE, PACKAGES, PACKAGES, PACKAGES] == stage.played("a")
        assert "The worker was lost during the run, 3 time(s) in all" in rig.step("a")["details"]


class TestWidth:
    def test_never_more_than_the_width_at_once(self, build: Callable[..., Rig], stage: Stage) -> None:
        """No more sites of a stage work at once than the width says, and stages follow each other."""
        rig = build()
        for place in range(12):
            rig.add_site(f"s{place:02}")

        assert "complete" == rig.run_strategy(**{"max-parallel-subclouds": 4})
        assert stage.most_at_once <= 4
        ordered = rig.rows(steps)
        for stage_number in (1, 2):
            ends = max(row["finished_at"] for row in ordered if row["stage"] == stage_number)
            starts = min(row["started_at"] for row in ordered if row["stage"] == stage_number + 1)
            assert ends <= starts

    @ON_SQLITE
    def test_few_slots_only_make_it_slower(self, build: Callable[..., Rig], stage: Stage) -> None:
        """With one slot for many sites every one is done, one playbook at a time."""
        rig = build(slots=1)
        for place in range(6):
            rig.add_site(f"s{place}")

        assert "complete" == rig.run_strategy(**{"max-parallel-subclouds": 6})
        assert 1 == stage.most_at_once


class TestLongRows:
    @ON_SQLITE
    def test_many_stages_that_end_at_once_are_walked_through(self, build: Callable[..., Rig]) -> None:
        """A hundred serial sites that were all unmanaged end without waiting for the next look."""
        rig = build()
        for place in range(100):
            rig.add_site(f"s{place:03}")
        rig.create(**{"subcloud-apply-type": "serial"})
        for place in range(100):
            rig.ask(CommandType.SUBCLOUD_UPDATE, subject=f"s{place:03}", **{"management-state": "unmanaged"})
        rig.verb("apply")
        wait_for(lambda: rig.state() == "failed", deadline_s=30)

        assert {"failed"} == {row["state"] for row in rig.rows(steps)}


class TestAbort:
    def test_running_sites_finish_all_their_phases(self, build: Callable[..., Rig], stage: Stage) -> None:
        """Abort: waiting steps are aborted at once, the running one goes through all its phases."""
        rig = build()
        for name in "abc":
            rig.add_site(name)
        stage.end("a", PACKAGES, FakeRunEnd(delay_s=0.3))
        rig.create(**{"subcloud-apply-type": "serial"})
        rig.verb("apply")
        wait_for(lambda: rig.step("a")["state"] == "prestaging-packages")

        answer = rig.verb("abort")

        assert "abort requested" == answer.body["state"]
        assert ["aborted", "aborted"] == [rig.step(name)["state"] for name in "bc"]
        assert "aborted" == rig.ending()
        assert ALL_STATES == rig.walk("a")
        assert all(rig.step(name)["finished_at"] for name in "bc")

    def test_nobody_left_waiting_ends_complete(self, build: Callable[..., Rig], stage: Stage) -> None:
        """An abort that finds no waiting step ends in `complete`."""
        rig = build()
        rig.add_site("a")
        stage.end("a", PREPARE, FakeRunEnd(delay_s=0.3))
        rig.create()
        rig.verb("apply")
        wait_for(lambda: rig.step("a")["state"] == "prestage-prepare")
        rig.verb("abort")

        assert "complete" == rig.ending()


class TestStandalone:
    def test_it_runs_by_itself_and_wipes_its_secret(self, build: Callable[..., Rig], stage: Stage) -> None:
        """A standalone prestage goes through all phases without a strategy; its secret is gone in the end."""
        rig = build()
        rig.add_site("a")
        answer = rig.ask(CommandType.SUBCLOUD_PRESTAGE, subject="a")
        wait_for(lambda: rig.step("a")["state"] == "complete")

        assert 200 == answer.status
        assert [PREPARE, PACKAGES] == stage.played("a")
        assert [] == rig.rows(secrets)
        assert "complete" == rig.site("a")["prestage_status"]

    def test_a_second_one_never_shows_the_first_ones_result(self, build: Callable[..., Rig], stage: Stage) -> None:
        """Once accepted again, a prestaged site is prestaging until the new prestage has ended, and not complete."""
        rig = build()
        rig.add_site("a")
        rig.ask(CommandType.SUBCLOUD_PRESTAGE, subject="a")
        wait_for(lambda: rig.site("a")["prestage_status"] == "complete")
        stage.end("a", PREPARE, FakeRunEnd(delay_s=0.3))

        answer = rig.ask(CommandType.SUBCLOUD_PRESTAGE, subject="a")

        assert (200, "prestaging") == (answer.status, rig.site("a")["prestage_status"])
        wait_for(lambda: rig.step("a")["finished_at"])
        assert "complete" == rig.site("a")["prestage_status"]

    def test_several_run_beside_each_other(self, build: Callable[..., Rig], stage: Stage) -> None:
        """Each standalone prestage has a preparation of its own; one failing leaves the other alone."""
        rig = build()
        for name in "ab":
            rig.add_site(name)
        stage.end("a", PREPARE, FAILS)
        for name in "ab":
            rig.ask(CommandType.SUBCLOUD_PRESTAGE, subject=name)
        wait_for(lambda: all(rig.step(name)["finished_at"] for name in "ab"))

        assert ["failed", "complete"] == [rig.step(name)["state"] for name in "ab"]


class TestRestart:
    def test_a_stopped_service_goes_on_where_it_was(self, build: Callable[..., Rig], stage: Stage) -> None:
        """A clean stop in the middle of a strategy loses nothing: the next start ends it as it would have ended."""
        rig = build()
        for name in "abcd":
            rig.add_site(name)
        for name in "abcd":
            stage.end(name, PACKAGES, FakeRunEnd(delay_s=0.5))
        rig.create(**{"max-parallel-subclouds": 2})
        rig.verb("apply")
        wait_for(lambda: rig.step("a")["state"] == "prestaging-packages")
        rig.stop()
        for name in "abcd":
            stage.end(name, PACKAGES, FakeRunEnd())

        second = build()

        assert "complete" == second.ending()
        assert ["complete"] * 4 == [row["state"] for row in second.rows(steps)]

    def test_clean_restarts_cost_no_attempt(self, build: Callable[..., Rig], stage: Stage) -> None:
        """However often the service is stopped in good order, a long playbook is tried until it ends."""
        stage.end("a", PACKAGES, FakeRunEnd(delay_s=30))
        for start in range(4):
            rig = build(max_attempts=2)
            if start == 0:
                rig.add_site("a")
                rig.create()
                rig.verb("apply")
            wait_for(lambda rig=rig, start=start: stage.played("a").count(PACKAGES) > start)
            if start == 3:
                stage.end("a", PACKAGES, FakeRunEnd())
            rig.stop()

        last = build(max_attempts=2)

        assert "complete" == last.ending()

    def test_a_standalone_prestage_survives_a_restart(self, build: Callable[..., Rig], stage: Stage) -> None:
        """A standalone prestage goes on after a restart."""
        rig = build()
        rig.add_site("a")
        stage.end("a", PREPARE, FakeRunEnd(delay_s=0.5))
        rig.ask(CommandType.SUBCLOUD_PRESTAGE, subject="a")
        wait_for(lambda: rig.step("a")["state"] == "prestage-prepare")
        rig.stop()
        stage.end("a", PREPARE, FakeRunEnd())

        second = build()
        wait_for(lambda: second.step("a")["finished_at"] is not None)

        assert "complete" == second.step("a")["state"]

    def test_nothing_is_left_over_at_the_end(self, build: Callable[..., Rig]) -> None:
        """After a strategy every run is concluded and the outbox is empty."""
        rig = build()
        for name in "abc":
            rig.add_site(name)
        rig.run_strategy()
        wait_for(lambda: not rig.rows(outbox))

        assert {("finished", True)} == {(row["state"], bool(row["consumed"])) for row in rig.rows(runs)}
