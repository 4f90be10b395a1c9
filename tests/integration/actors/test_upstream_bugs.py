"""What went wrong in the original, one test each: none of it may happen here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from actors.coordinator.coordinator import Coordinator
from db.schema import events, runs, steps, strategies
from messages.commands import CommandType
from messages.serializers import step_resource, strategy_resource, subcloud_resource
from runner.fake import FakeRunEnd
from sites.inspector import DeclaredInspector
from tests.integration.actors.embedded_rig import Rig, Stage
from tests.support.waiting import wait_for

PREPARE, PACKAGES, IMAGES = "prepare_prestage_packages", "prestage_sw_packages", "prestage_images"
FOREVER = FakeRunEnd(delay_s=3600.0)


@pytest.fixture(autouse=True)
def store_kind() -> str:
    """Stay on SQLite: these are rules of the engine, not of the store."""
    return "sqlite"


def test_a_hung_playbook_does_not_hang_the_strategy(build: Callable[..., Rig], stage: Stage) -> None:
    """A playbook that never ends is ended by its deadline: its step fails saying so, and the next stage starts."""
    rig = build(packages_deadline_s=0.2)
    for name in "ab":
        rig.add_site(name)
    stage.end("a", PACKAGES, FOREVER)

    assert "failed" == rig.run_strategy(**{"subcloud-apply-type": "serial"})
    assert "did not finish within 0.2 s" in rig.step("a")["details"]
    assert "complete" == rig.step("b")["state"]


def test_an_abort_leaves_finished_steps_alone(build: Callable[..., Rig], stage: Stage) -> None:
    """A step that has ended keeps its state, details and times when the strategy is aborted later."""
    rig = build()
    for name in "abcd":
        rig.add_site(name)
    stage.end("a", PACKAGES, FakeRunEnd())
    stage.end("b", PACKAGES, FakeRunEnd(delay_s=0.05))
    stage.end("c", PACKAGES, FakeRunEnd(delay_s=0.4))
    rig.create(**{"subcloud-apply-type": "serial"})
    rig.verb("apply")
    wait_for(lambda: rig.step("c")["state"] == "prestaging-packages")
    before = [rig.step(name) for name in "ab"]

    assert 200 == rig.verb("abort").status
    assert "aborted" == rig.ending()
    assert before == [rig.step(name) for name in "ab"]
    assert ["complete", "complete", "complete", "aborted"] == [row["state"] for row in rig.rows(steps)]


def test_no_site_is_worked_on_twice_at_once(build: Callable[..., Rig], stage: Stage) -> None:
    """However often the messages are repeated, each phase of a site is started once."""
    rig = build(slots=3)
    for name in "abcdef":
        rig.add_site(name)
    for name in "abcdef":
        stage.end(name, PACKAGES, FakeRunEnd(delay_s=0.05))
    rig.create(**{"max-parallel-subclouds": 6})
    rig.verb("apply")

    def repeated() -> bool:
        for row in rig.rows(runs):
            actor = "inspect_site" if row["phase"] == "prestage-precheck" else "stage_content"
            rig.embedded.actors._messages.actors.publish(actor, row["id"])
        return rig.state() == "complete"

    wait_for(repeated)
    played = Counter((job.host, job.playbook.stem) for job in stage.jobs if job.playbook.stem != PREPARE)

    assert {1} == set(played.values())
    assert 6 == len([1 for _, playbook in played if playbook == PACKAGES])


def test_a_site_of_a_strategy_is_not_prestaged_beside_it(build: Callable[..., Rig], stage: Stage) -> None:
    """A site that a strategy works on is refused to a standalone prestage, and is staged once."""
    rig = build()
    rig.add_site("a")
    stage.end("a", PACKAGES, FakeRunEnd(delay_s=0.3))
    rig.create()
    rig.verb("apply")
    wait_for(lambda: rig.step("a")["state"] == "prestaging-packages")

    answer = rig.ask(CommandType.SUBCLOUD_PRESTAGE, subject="a")

    assert 400 == answer.status
    assert "complete" == rig.ending()
    assert 1 == stage.played("a").count(PACKAGES)


def test_nothing_of_the_strategy_before_is_used(build: Callable[..., Rig], stage: Stage) -> None:
    """Release, force and password are those of the strategy that runs, whatever an earlier one had."""
    rig = build()
    rig.add_site("a", **{"management-alarms": 1})
    rig.create(password="first", release="24.03", force="true")
    rig.verb("apply")
    rig.ending()
    rig.verb("delete")
    forced = list(stage.jobs)

    rig.create(password="second")
    rig.verb("apply")
    ended = rig.ending()
    rig.verb("delete")
    rig.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **{"management-alarms": 0})
    without_force = len(stage.jobs) - len(forced)
    rig.create(password="third")
    rig.verb("apply")

    assert "complete" == rig.ending()
    assert ("failed", 0) == (ended, without_force)
    later = stage.jobs[len(forced) :]
    assert {"24.03"} == {job.extra_vars.get("software_version", "24.03") for job in forced}
    assert {"23.09"} == {job.extra_vars.get("software_version", "23.09") for job in later}
    assert {"first"} == {job.secrets["ansible_ssh_pass"] for job in forced}
    assert {"third"} == {job.secrets["ansible_ssh_pass"] for job in later}


def test_a_skipped_site_is_not_reported_as_prestaged(build: Callable[..., Rig], stage: Stage) -> None:
    """A site that is passed over keeps what it showed of its last prestage: its status and its versions."""
    rig = build()
    rig.add_site("a")
    rig.run_strategy()
    rig.verb("delete")
    shown = ("prestage_status", "prestage_versions", "error_description")
    before = [rig.site("a")[name] for name in shown]
    rig.ask(CommandType.SUBCLOUD_UPDATE, subject="a", system_mode="duplex")
    rig.create(release="24.03")
    rig.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **{"availability-status": "offline"})
    played = len(stage.jobs)
    rig.verb("apply")

    assert "complete" == rig.ending()
    assert rig.step("a")["details"].startswith("Prestage skipped 'a'")
    assert before == [rig.site("a")[name] for name in shown]
    assert played == len(stage.jobs)


@pytest.mark.parametrize("fault", [RuntimeError("boom"), KeyError("mode"), SystemError("deep")])
def test_a_crash_in_precheck_is_a_failure(
    build: Callable[..., Rig], stage: Stage, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    """When the precheck itself breaks the step fails and says so; it is not complete, and nothing was staged."""

    def breaks(*_: Any) -> Any:
        raise fault

    rig = build()
    rig.add_site("a")
    rig.create()
    monkeypatch.setattr(DeclaredInspector, "known", breaks)
    rig.verb("apply")

    assert "failed" == rig.ending()
    assert ("failed", True) == (rig.step("a")["state"], type(fault).__name__ in rig.step("a")["details"])
    assert "failed" == rig.site("a")["prestage_status"]
    assert [] == stage.jobs


def test_a_restart_fails_nobody(build: Callable[..., Rig], stage: Stage) -> None:
    """A restart in the middle of a phase fails neither the strategy's step nor a standalone one; both end complete."""
    rig = build()
    for name in "ab":
        rig.add_site(name)
    rig.create(cloud_name="a")
    for name in "ab":
        stage.end(name, PACKAGES, FOREVER)
    rig.verb("apply")
    rig.ask(CommandType.SUBCLOUD_PRESTAGE, subject="b")
    wait_for(lambda: all(rig.step(name)["state"] == "prestaging-packages" for name in "ab"))
    rig.stop()
    for name in "ab":
        stage.end(name, PACKAGES, FakeRunEnd())

    second = build()

    assert "complete" == second.ending()
    wait_for(lambda: second.step("b")["finished_at"])
    assert ["complete"] * 2 == [second.step(name)["state"] for name in "ab"]
    assert ["complete"] * 2 == [second.site(name)["prestage_status"] for name in "ab"]
    assert not [row for row in second.rows(events) if row["type"].endswith("failed")]


def test_a_failed_prepare_is_forgotten(build: Callable[..., Rig], stage: Stage) -> None:
    """A prepare that failed concerns its own strategy only: the next one, and a standalone prestage, prepare anew."""
    rig = build(prepare_deadline_s=0.05)
    rig.add_site("a")
    stage.end("a", PREPARE, FOREVER)
    assert "failed" == rig.run_strategy()
    rig.verb("delete")
    stage.end("a", PREPARE, FakeRunEnd())

    assert "complete" == rig.run_strategy()
    rig.verb("delete")
    rig.ask(CommandType.SUBCLOUD_PRESTAGE, subject="a")
    wait_for(lambda: rig.step("a")["finished_at"])
    assert ("complete", 3) == (rig.step("a")["state"], stage.played("a").count(PREPARE))


def test_an_accepted_apply_is_driven_whoever_dies(build: Callable[..., Rig], stage: Stage) -> None:
    """An apply that was answered is carried out by the next start, though nobody had moved a finger for it."""
    rig = build()
    for name in "ab":
        rig.add_site(name)
    rig.create()
    rig.stop()
    # The coordinator commits and the process dies: no message, no worker, no loop.
    alone = Coordinator(rig.database, DeclaredInspector(), rig.embedded.actors.coordinator._rules)
    rig.coordinator = alone
    rig.execute = alone.execute  # type: ignore[method-assign]
    assert 200 == rig.verb("apply").status
    assert "applying" == rig.rows(strategies)[0]["state"]

    second = build()

    assert "complete" == second.ending()
    assert ["complete"] * 2 == [row["state"] for row in second.rows(steps)]


def test_nobody_who_reads_sees_the_password(build: Callable[..., Rig]) -> None:
    """Neither an answer nor a resource nor an event has the password, plain or sealed, nor a key for it."""
    rig = build()
    rig.add_site("a")
    created = rig.create(password="Li69nux*")
    applied = rig.verb("apply")
    rig.ending()

    shown = [created.body, applied.body, subcloud_resource(rig.site("a")), step_resource(rig.step("a"))]
    shown += [strategy_resource(rig.rows(strategies)[0], "read"), *rig.rows(events), *rig.rows(steps)]
    text = str(shown)
    assert "Li69nux*" not in text
    assert not [word for word in ("password", "sealed", "secret", "ssh_pass") if word in text.lower()]
