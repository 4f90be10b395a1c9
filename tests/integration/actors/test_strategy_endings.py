"""Strategies through the embedded engine: failures, widths, aborts, standalone runs, restarts (contract 8)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from db.schema import outbox, runs, secrets, steps
from messages.commands import CommandType
from runner.fake import FakeRunEnd
from tests.support.fake_playbooks import FAILS, LOST, PACKAGES, PREPARE, FakePlaybooks
from tests.support.installation import ALL_STATES, StartedInstallation
from tests.support.waiting import wait_for

ON_SQLITE = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


class TestFailures:
    def test_a_failed_site_does_not_hold_the_others_up(
        self, build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
    ) -> None:
        """Later stages go on after a failure; the strategy has failed in the end, the site says why."""
        installation = build()
        for name in "abc":
            installation.add_site(name)
        fake_playbooks.end("a", PACKAGES, FAILS)

        assert "failed" == installation.run_strategy(**{"subcloud-apply-type": "serial"})
        assert ["failed", "complete", "complete"] == [row["state"] for row in installation.rows(steps)]
        site = installation.site("a")
        assert "failed" == site["prestage_status"]
        assert site["error_description"].startswith("prestaging-packages: Prestaging packages failed for subcloud a")

    def test_stop_on_failure_starts_no_further_stage(
        self, build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
    ) -> None:
        """With stop-on-failure the failed step's stage ends and later stages stay `initial`; it can be deleted."""
        installation = build()
        for name in "abcd":
            installation.add_site(name)
        fake_playbooks.end("a", PACKAGES, FAILS)
        state = installation.run_strategy(**{"max-parallel-subclouds": 2, "stop-on-failure": "true"})

        assert "failed" == state
        assert ["failed", "complete", "initial", "initial"] == [row["state"] for row in installation.rows(steps)]
        assert 200 == installation.verb("delete").status
        assert 200 == installation.create().status

    def test_a_lost_run_is_tried_again(
        self, build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
    ) -> None:
        """A phase whose run was lost is run again, up to the configured number of attempts."""
        installation = build(max_attempts=3)
        installation.add_site("a")
        fake_playbooks.end("a", PACKAGES, LOST)

        assert "failed" == installation.run_strategy()
        assert [PREPARE, PACKAGES, PACKAGES, PACKAGES] == fake_playbooks.played("a")
        assert "The worker was lost during the run, 3 time(s) in all" in installation.step("a")["details"]


class TestWidth:
    def test_never_more_than_the_width_at_once(
        self, build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
    ) -> None:
        """No more sites of a stage work at once than the width says, and stages follow each other."""
        installation = build()
        for place in range(12):
            installation.add_site(f"s{place:02}")

        assert "complete" == installation.run_strategy(**{"max-parallel-subclouds": 4})
        assert fake_playbooks.most_at_once <= 4
        ordered = installation.rows(steps)
        for stage_number in (1, 2):
            ends = max(row["finished_at"] for row in ordered if row["stage"] == stage_number)
            starts = min(row["started_at"] for row in ordered if row["stage"] == stage_number + 1)
            assert ends <= starts

    @ON_SQLITE
    def test_few_slots_only_make_it_slower(
        self, build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
    ) -> None:
        """With one slot for many sites every one is done, one playbook at a time."""
        installation = build(slots=1)
        for place in range(6):
            installation.add_site(f"s{place}")

        assert "complete" == installation.run_strategy(**{"max-parallel-subclouds": 6})
        assert 1 == fake_playbooks.most_at_once


class TestLongRows:
    @ON_SQLITE
    def test_many_stages_that_end_at_once_are_walked_through(self, build: Callable[..., StartedInstallation]) -> None:
        """A hundred serial sites that were all unmanaged end without waiting for the next look."""
        installation = build()
        for place in range(100):
            installation.add_site(f"s{place:03}")
        installation.create(**{"subcloud-apply-type": "serial"})
        for place in range(100):
            installation.ask(CommandType.SUBCLOUD_UPDATE, subject=f"s{place:03}", **{"management-state": "unmanaged"})
        installation.verb("apply")
        wait_for(lambda: installation.state() == "failed")

        assert {"failed"} == {row["state"] for row in installation.rows(steps)}


class TestAbort:
    def test_running_sites_finish_all_their_phases(
        self, build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
    ) -> None:
        """Abort: waiting steps are aborted at once, the running one goes through all its phases."""
        installation = build()
        for name in "abc":
            installation.add_site(name)
        fake_playbooks.end("a", PACKAGES, FakeRunEnd(delay_s=0.3))
        installation.create(**{"subcloud-apply-type": "serial"})
        installation.verb("apply")
        wait_for(lambda: installation.step("a")["state"] == "prestaging-packages")

        answer = installation.verb("abort")

        assert "abort requested" == answer.body["state"]
        assert ["aborted", "aborted"] == [installation.step(name)["state"] for name in "bc"]
        assert "aborted" == installation.ending()
        assert ALL_STATES == installation.walk("a")
        assert all(installation.step(name)["finished_at"] for name in "bc")

    def test_nobody_left_waiting_ends_complete(
        self, build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
    ) -> None:
        """An abort that finds no waiting step ends in `complete`."""
        installation = build()
        installation.add_site("a")
        fake_playbooks.end("a", PREPARE, FakeRunEnd(delay_s=0.3))
        installation.create()
        installation.verb("apply")
        wait_for(lambda: installation.step("a")["state"] == "prestage-prepare")
        installation.verb("abort")

        assert "complete" == installation.ending()


class TestStandalone:
    def test_it_runs_by_itself_and_wipes_its_secret(
        self, build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
    ) -> None:
        """A standalone prestage goes through all phases without a strategy; its secret is gone in the end."""
        installation = build()
        installation.add_site("a")
        answer = installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="a")
        wait_for(lambda: installation.step("a")["state"] == "complete")

        assert 200 == answer.status
        assert [PREPARE, PACKAGES] == fake_playbooks.played("a")
        assert [] == installation.rows(secrets)
        assert "complete" == installation.site("a")["prestage_status"]

    def test_a_second_one_never_shows_the_first_ones_result(
        self, build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
    ) -> None:
        """Once accepted again, a prestaged site is prestaging until the new prestage has ended, and not complete."""
        installation = build()
        installation.add_site("a")
        installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="a")
        wait_for(lambda: installation.site("a")["prestage_status"] == "complete")
        fake_playbooks.end("a", PREPARE, FakeRunEnd(delay_s=0.3))

        answer = installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="a")

        assert (200, "prestaging") == (answer.status, installation.site("a")["prestage_status"])
        wait_for(lambda: installation.step("a")["finished_at"])
        assert "complete" == installation.site("a")["prestage_status"]

    def test_several_run_beside_each_other(
        self, build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
    ) -> None:
        """Each standalone prestage has a preparation of its own; one failing leaves the other alone."""
        installation = build()
        for name in "ab":
            installation.add_site(name)
        fake_playbooks.end("a", PREPARE, FAILS)
        for name in "ab":
            installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject=name)
        wait_for(lambda: all(installation.step(name)["finished_at"] for name in "ab"))

        assert ["failed", "complete"] == [installation.step(name)["state"] for name in "ab"]


class TestRestart:
    def test_a_stopped_service_goes_on_where_it_was(
        self, build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
    ) -> None:
        """A clean stop in the middle of a strategy loses nothing: the next start ends it as it would have ended."""
        installation = build()
        for name in "abcd":
            installation.add_site(name)
        for name in "abcd":
            fake_playbooks.end(name, PACKAGES, FakeRunEnd(delay_s=0.5))
        installation.create(**{"max-parallel-subclouds": 2})
        installation.verb("apply")
        wait_for(lambda: installation.step("a")["state"] == "prestaging-packages")
        installation.stop()
        for name in "abcd":
            fake_playbooks.end(name, PACKAGES, FakeRunEnd())

        second = build()

        assert "complete" == second.ending()
        assert ["complete"] * 4 == [row["state"] for row in second.rows(steps)]

    def test_clean_restarts_cost_no_attempt(
        self, build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
    ) -> None:
        """However often the service is stopped in good order, a long playbook is tried until it ends."""
        fake_playbooks.end("a", PACKAGES, FakeRunEnd(delay_s=30))
        for start in range(4):
            installation = build(max_attempts=2)
            if start == 0:
                installation.add_site("a")
                installation.create()
                installation.verb("apply")
            wait_for(lambda installation=installation, start=start: fake_playbooks.played("a").count(PACKAGES) > start)
            if start == 3:
                fake_playbooks.end("a", PACKAGES, FakeRunEnd())
            installation.stop()

        last = build(max_attempts=2)

        assert "complete" == last.ending()

    def test_a_standalone_prestage_survives_a_restart(
        self, build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
    ) -> None:
        """A standalone prestage goes on after a restart."""
        installation = build()
        installation.add_site("a")
        fake_playbooks.end("a", PREPARE, FakeRunEnd(delay_s=0.5))
        installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="a")
        wait_for(lambda: installation.step("a")["state"] == "prestage-prepare")
        installation.stop()
        fake_playbooks.end("a", PREPARE, FakeRunEnd())

        second = build()
        wait_for(lambda: second.step("a")["finished_at"] is not None)

        assert "complete" == second.step("a")["state"]

    def test_nothing_is_left_over_at_the_end(self, build: Callable[..., StartedInstallation]) -> None:
        """After a strategy every run is concluded and the outbox is empty."""
        installation = build()
        for name in "abc":
            installation.add_site(name)
        installation.run_strategy()
        wait_for(lambda: not installation.rows(outbox))

        assert {("finished", True)} == {(row["state"], bool(row["consumed"])) for row in installation.rows(runs)}
