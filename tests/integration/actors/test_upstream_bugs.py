"""What went wrong in the original, one test each: none of it may happen here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from actors.coordinator.coordinator import Coordinator
from db.read_queries import works_of_steps
from db.schema import events, runs, steps, strategies
from messages.commands import CommandType
from messages.queues import Call
from messages.serializers import strategy_resource, subcloud_resource
from messages.step_serializers import step_resource
from runner.fake import FakeRunEnd
from sites.inspector import DeclaredInspector
from tests.support.fake_playbooks import FakePlaybooks
from tests.support.installation import StartedInstallation
from tests.support.waiting import wait_for

PREPARE, PACKAGES, IMAGES = "prepare_prestage_packages", "prestage_sw_packages", "prestage_images"
FOREVER = FakeRunEnd(delay_s=3600.0)


@pytest.fixture(autouse=True)
def database_kind() -> str:
    """Stay on SQLite: these are rules of the engine, not of the database."""
    return "sqlite"


def test_a_hung_playbook_does_not_hang_the_strategy(
    build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
) -> None:
    """A playbook that never ends is ended by its deadline: its step fails saying so, and the next stage starts."""
    installation = build(packages_deadline_s=0.2)
    for name in "ab":
        installation.add_site(name)
    fake_playbooks.end("a", PACKAGES, FOREVER)

    assert "failed" == installation.run_strategy(**{"subcloud-apply-type": "serial"})
    assert "did not finish within 0.2 s" in installation.step("a")["details"]
    assert "complete" == installation.step("b")["state"]


def test_an_abort_leaves_finished_steps_alone(
    build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
) -> None:
    """A step that has ended keeps its state, details and times when the strategy is aborted later."""
    installation = build()
    for name in "abcd":
        installation.add_site(name)
    fake_playbooks.end("a", PACKAGES, FakeRunEnd())
    fake_playbooks.end("b", PACKAGES, FakeRunEnd(delay_s=0.05))
    fake_playbooks.end("c", PACKAGES, FakeRunEnd(delay_s=0.4))
    installation.create(**{"subcloud-apply-type": "serial"})
    installation.verb("apply")
    wait_for(lambda: installation.step("c")["state"] == "prestaging-packages")
    before = [installation.step(name) for name in "ab"]

    assert 200 == installation.verb("abort").status
    assert "aborted" == installation.ending()
    assert before == [installation.step(name) for name in "ab"]
    assert ["complete", "complete", "complete", "aborted"] == [row["state"] for row in installation.rows(steps)]


def test_no_site_is_worked_on_twice_at_once(
    build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
) -> None:
    """However often the messages are repeated, each phase of a site is started once."""
    installation = build(slots=3)
    for name in "abcdef":
        installation.add_site(name)
    for name in "abcdef":
        fake_playbooks.end(name, PACKAGES, FakeRunEnd(delay_s=0.05))
    installation.create(**{"max-parallel-subclouds": 6})
    installation.verb("apply")

    def repeated() -> bool:
        for row in installation.rows(runs):
            actor = "inspect_site" if row["phase"] == "prestage-precheck" else "stage_content"
            installation.process.messaging.actors.publish(Call(actor, row["id"]))
        return installation.state() == "complete"

    wait_for(repeated)
    played = Counter((job.host, job.playbook.stem) for job in fake_playbooks.jobs if job.playbook.stem != PREPARE)

    assert {1} == set(played.values())
    assert 6 == len([1 for _, playbook in played if playbook == PACKAGES])


def test_a_site_of_a_strategy_is_not_prestaged_beside_it(
    build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
) -> None:
    """A site that a strategy works on is refused to a standalone prestage, and is staged once."""
    installation = build()
    installation.add_site("a")
    fake_playbooks.end("a", PACKAGES, FakeRunEnd(delay_s=0.3))
    installation.create()
    installation.verb("apply")
    wait_for(lambda: installation.step("a")["state"] == "prestaging-packages")

    answer = installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="a")

    assert 400 == answer.status
    assert "complete" == installation.ending()
    assert 1 == fake_playbooks.played("a").count(PACKAGES)


def test_nothing_of_the_strategy_before_is_used(
    build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
) -> None:
    """Release, force and password are those of the strategy that runs, whatever an earlier one had."""
    installation = build()
    installation.add_site("a", **{"management-alarms": 1})
    installation.create(password="first", release="24.03", force="true")
    installation.verb("apply")
    installation.ending()
    installation.verb("delete")
    forced = list(fake_playbooks.jobs)

    installation.create(password="second")
    installation.verb("apply")
    ended = installation.ending()
    installation.verb("delete")
    installation.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **{"management-alarms": 0})
    without_force = len(fake_playbooks.jobs) - len(forced)
    installation.create(password="third")
    installation.verb("apply")

    assert "complete" == installation.ending()
    assert ("failed", 0) == (ended, without_force)
    later = fake_playbooks.jobs[len(forced) :]
    assert {"24.03"} == {job.extra_vars.get("software_version", "24.03") for job in forced}
    assert {"23.09"} == {job.extra_vars.get("software_version", "23.09") for job in later}
    assert {"first"} == {job.secrets["ansible_ssh_pass"] for job in forced}
    assert {"third"} == {job.secrets["ansible_ssh_pass"] for job in later}


def test_a_skipped_site_is_not_reported_as_prestaged(
    build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
) -> None:
    """A site that is passed over keeps what it showed of its last prestage: its status and its versions."""
    installation = build()
    installation.add_site("a")
    installation.run_strategy()
    installation.verb("delete")
    shown = ("prestage_status", "prestage_versions", "error_description")
    before = [installation.site("a")[name] for name in shown]
    installation.ask(CommandType.SUBCLOUD_UPDATE, subject="a", system_mode="duplex")
    installation.create(release="24.03")
    installation.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **{"availability-status": "offline"})
    played = len(fake_playbooks.jobs)
    installation.verb("apply")

    assert "complete" == installation.ending()
    assert installation.step("a")["details"].startswith("Prestage skipped 'a'")
    assert before == [installation.site("a")[name] for name in shown]
    assert played == len(fake_playbooks.jobs)


@pytest.mark.parametrize("fault", [RuntimeError("boom"), KeyError("mode"), SystemError("deep")])
def test_a_crash_in_precheck_is_a_failure(
    build: Callable[..., StartedInstallation],
    fake_playbooks: FakePlaybooks,
    monkeypatch: pytest.MonkeyPatch,
    fault: Exception,
) -> None:
    """When the precheck itself breaks the step fails and says so; it is not complete, and nothing was staged."""

    def breaks(*_: Any) -> Any:
        raise fault

    installation = build()
    installation.add_site("a")
    installation.create()
    monkeypatch.setattr(DeclaredInspector, "known", breaks)
    installation.verb("apply")

    assert "failed" == installation.ending()
    assert ("failed", True) == (
        installation.step("a")["state"],
        type(fault).__name__ in installation.step("a")["details"],
    )
    assert "failed" == installation.site("a")["prestage_status"]
    assert [] == fake_playbooks.jobs


def test_a_restart_fails_nobody(build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks) -> None:
    """A restart in the middle of a phase fails neither the strategy's step nor a standalone one; both end complete."""
    installation = build()
    for name in "ab":
        installation.add_site(name)
    installation.create(cloud_name="a")
    for name in "ab":
        fake_playbooks.end(name, PACKAGES, FOREVER)
    installation.verb("apply")
    installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="b")
    wait_for(lambda: all(installation.step(name)["state"] == "prestaging-packages" for name in "ab"))
    installation.stop()
    for name in "ab":
        fake_playbooks.end(name, PACKAGES, FakeRunEnd())

    second = build()

    assert "complete" == second.ending()
    wait_for(lambda: second.step("b")["finished_at"])
    assert ["complete"] * 2 == [second.step(name)["state"] for name in "ab"]
    assert ["complete"] * 2 == [second.site(name)["prestage_status"] for name in "ab"]
    assert not [row for row in second.rows(events) if row["type"].endswith("failed")]


def test_a_failed_prepare_is_forgotten(
    build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
) -> None:
    """A prepare that failed concerns its own strategy only: the next one, and a standalone prestage, prepare anew."""
    installation = build(prepare_deadline_s=0.05)
    installation.add_site("a")
    fake_playbooks.end("a", PREPARE, FOREVER)
    assert "failed" == installation.run_strategy()
    installation.verb("delete")
    fake_playbooks.end("a", PREPARE, FakeRunEnd())

    assert "complete" == installation.run_strategy()
    installation.verb("delete")
    installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="a")
    wait_for(lambda: installation.step("a")["finished_at"])
    assert ("complete", 3) == (installation.step("a")["state"], fake_playbooks.played("a").count(PREPARE))


def test_an_accepted_apply_is_driven_whoever_dies(
    build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
) -> None:
    """An apply that was answered is carried out by the next start, though nobody had moved a finger for it."""
    installation = build()
    for name in "ab":
        installation.add_site(name)
    installation.create()
    installation.stop()
    # The coordinator commits and the process dies: no message, no worker, no loop.
    alone = Coordinator(installation.database, DeclaredInspector(), installation.process.coordinator._rules)
    installation.coordinator = alone
    installation.execute = alone.execute  # type: ignore[method-assign]
    assert 200 == installation.verb("apply").status
    assert "applying" == installation.rows(strategies)[0]["state"]

    second = build()

    assert "complete" == second.ending()
    assert ["complete"] * 2 == [row["state"] for row in second.rows(steps)]


def test_nobody_who_reads_sees_the_password(build: Callable[..., StartedInstallation]) -> None:
    """Neither an answer nor a resource nor an event has the password, plain or sealed, nor a key for it."""
    installation = build()
    installation.add_site("a")
    created = installation.create(password="Li69nux*")
    applied = installation.verb("apply")
    installation.ending()

    step = installation.step("a")
    with installation.database.read() as connection:
        works = works_of_steps(connection, [step])
    shown = [
        created.body,
        applied.body,
        subcloud_resource(installation.site("a")),
        step_resource(step, works[step["id"]]),
    ]
    shown += [
        strategy_resource(installation.rows(strategies)[0], "read"),
        *installation.rows(events),
        *installation.rows(steps),
    ]
    text = str(shown)
    assert "Li69nux*" not in text
    assert not [word for word in ("password", "sealed", "secret", "ssh_pass") if word in text.lower()]
