"""Whole strategies whose prechecks ask simulated sites over TLS."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import event

from actors.coordinator.context import CoordinatorRules
from actors.coordinator.coordinator import Coordinator
from db.database import Database
from db.encryption import Sealer
from db.schema import commands, events, steps
from messages.commands import CommandType
from runner.fake import FakeRunEnd
from simulator.certificates import Authority
from simulator.site_spec import Fault, FaultKind, SiteSpec
from sites.errors import InspectionError
from sites.inspector import DeclaredInspector
from statemachine.states import RunOutcome
from tests.support.fake_playbooks import FakePlaybooks
from tests.support.installation import Installation, StartedInstallation
from tests.support.simulated_sites import SitesThread, sites_in_thread
from tests.support.waiting import wait_for

NAMES = ("well", "duplex", "alarmed", "gone", "older", "moved")
UNREADABLE = "Failed to retrieve subcloud system mode and system health."


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def context(authority: Authority) -> ssl.SSLContext:
    return authority.server_context()


@pytest.fixture
def sites(context: ssl.SSLContext) -> Iterator[SitesThread]:
    with sites_in_thread([SiteSpec(name=name) for name in (*NAMES, "controller")], context) as sites:
        yield sites


@pytest.fixture
def asking(
    build: Callable[..., StartedInstallation], sites: SitesThread, authority: Authority, tmp_path: Path
) -> Callable[..., StartedInstallation]:
    """Give a function that starts an installation which asks sites, and the controller by USM."""
    password = tmp_path / "password"
    password.write_text(sites["well"].spec.account.password)

    def start(**settings: Any) -> StartedInstallation:
        given = {
            "inspector": "sysinv",
            "site_password_file": password,
            "site_ca_file": authority.ca_file,
            "site_urls_file": sites.write_urls(tmp_path / "urls.toml"),
            "controller_keystone_url": sites["controller"].keystone_url,
            "controller_url": sites["controller"].sysinv_url,
            **settings,
        }
        return build(**given)

    return start


def test_each_site_by_what_it_says(
    asking: Callable[..., StartedInstallation], sites: SitesThread, fake_playbooks: FakePlaybooks
) -> None:
    """A well site is staged at its own address, a duplex one is skipped, an alarmed or unreachable one fails."""
    installation = asking()
    for name in NAMES:
        installation.add_site(name, system_mode="duplex", external_oam_floating_address="10.99.99.99")
    sites["duplex"].spec.system_mode = "duplex"
    sites["alarmed"].spec.alarms = sites["alarmed"].spec.management_affecting_alarms = 2
    sites["gone"].spec.faults["login"] = Fault(kind=FaultKind.FORBIDDEN)
    sites["older"].spec.software_version = "25.03"
    sites["moved"].spec.software_version = "21.12"

    assert "failed" == installation.run_strategy(release="24.09", for_sw_deploy="true")
    details = {name: installation.step(name)["details"] for name in NAMES}
    assert [True, True] == [installation.step(name)["state"] == "complete" for name in ("well", "moved")]
    assert "10.10.10.2" == installation.step("well")["oam_address"]
    assert {"10.10.10.2"} == {job.host_vars["ansible_host"] for job in fake_playbooks.jobs}
    assert details["duplex"].startswith("Prestage skipped 'duplex': Prestage operation is only accepted for a simplex")
    assert "failed" == installation.step("alarmed")["state"]
    assert "Subcloud has management affecting alarm(s)." in details["alarmed"]
    assert f"Prestage failed 'gone': {UNREADABLE} The login at Keystone was answered with 403." in details["gone"]
    assert "(24.09) is lower than the current subcloud software version (25.03)" in details["older"]
    assert "21.12" == installation.step("moved")["from_version"]
    assert "[2] alarms found, [2] of which" in installation.log("alarmed", "prestage-precheck")
    assert "The inventory says 22.12" in installation.log("moved", "prestage-precheck")


def test_a_precheck_ends_at_its_limit(asking: Callable[..., StartedInstallation], sites: SitesThread) -> None:
    """A site that does not answer fails at the limit of the precheck, which is named; others are staged."""
    installation = asking()
    for name in ("well", "gone"):
        installation.add_site(name)
    sites["gone"].spec.faults["login"] = Fault(kind=FaultKind.SLOW, delay_s=60.0)

    assert "failed" == installation.run_strategy(rollout={"timeouts": {"precheck-s": 3}})
    assert "complete" == installation.step("well")["state"]
    details = installation.step("gone")["details"]
    assert details.endswith("The limit of 3 s (precheck-s) was reached in prestage-precheck."), details


def test_a_site_whose_own_software_is_deployed(asking: Callable[..., StartedInstallation], sites: SitesThread) -> None:
    """A site with a software deploy in transition is skipped with its state, with force too; others are staged."""
    installation = asking()
    for name in ("well", "older"):
        installation.add_site(name)
        sites[name].spec.software_version = "24.09"
    sites["well"].spec.deploys = [{"state": "host"}]
    sites["older"].spec.deploys = None

    assert "complete" == installation.run_strategy(force="true")
    assert installation.step("well")["details"].startswith(
        "Prestage skipped 'well': Subcloud well current state of its own software deploy (USM) is 'host'."
    )
    assert "Software deploy: host\n" in installation.log("well", "prestage-precheck")
    assert "" == installation.step("older")["details"]


def test_a_version_that_a_precheck_finds_ends_what_was_staged(
    asking: Callable[..., StartedInstallation], sites: SitesThread, fake_playbooks: FakePlaybooks
) -> None:
    """A site that runs another version than when it was staged shows nothing as staged, however the precheck ends."""
    installation = asking()
    names = ("well", "duplex", "alarmed")
    for name in names:
        installation.add_site(name)
    assert "complete" == installation.run_strategy()
    shown = {
        name: (installation.site(name)["prestage_versions"], installation.site(name)["prestage_from_version"])
        for name in names
    }
    assert dict.fromkeys(names, ("for-install: 23.09 - for-sw-deploy: None", "22.12")) == shown
    installation.verb("delete")
    for name in names:
        sites[name].spec.software_version = "23.09"
    sites["duplex"].spec.system_mode = "duplex"
    sites["alarmed"].spec.alarms = sites["alarmed"].spec.management_affecting_alarms = 1
    fake_playbooks.end("well", "prestage_sw_packages", FakeRunEnd(outcome=RunOutcome.FAILED, details="full"))

    assert "failed" == installation.run_strategy()
    after = {
        name: (installation.site(name)["prestage_status"], installation.site(name)["prestage_versions"])
        for name in names
    }
    assert {"well": ("failed", None), "duplex": (None, None), "alarmed": ("failed", None)} == after
    told = [row["subject"] for row in installation.rows(events, type="subcloud.updated")]
    assert sorted(f"subcloud/{name}" for name in names) == sorted(told)


def test_the_same_version_ends_nothing(asking: Callable[..., StartedInstallation], sites: SitesThread) -> None:
    """A precheck that skips a site which runs what it ran leaves what is shown, whatever the inventory declares."""
    installation = asking()
    installation.add_site("well", software_version="21.12")
    assert "complete" == installation.run_strategy()
    installation.verb("delete")
    sites["well"].spec.system_mode = "duplex"

    assert "complete" == installation.run_strategy()
    assert "complete" == installation.site("well")["prestage_status"]


def test_the_release_that_a_site_says_it_runs_is_not_removed(
    asking: Callable[..., StartedInstallation], sites: SitesThread, fake_playbooks: FakePlaybooks
) -> None:
    """A site that runs the release meanwhile, as it says itself, keeps it; no playbook runs."""
    installation = asking()
    installation.add_site("well")
    sites["well"].spec.software_version = "23.09"

    assert 200 == installation.ask(CommandType.SUBCLOUD_UNSTAGE, subject="well", release="23.09").status
    wait_for(lambda: installation.step("well")["finished_at"] is not None)
    assert "failed" == installation.step("well")["state"]
    assert "The subcloud runs release 23.09, which is never removed." in installation.step("well")["details"]
    assert [] == fake_playbooks.jobs


def test_what_a_deploy_may_be_using_is_not_removed(
    asking: Callable[..., StartedInstallation], sites: SitesThread, fake_playbooks: FakePlaybooks
) -> None:
    """A site whose own software deploy is in transition keeps what is staged: the removal fails with its state."""
    installation = asking()
    installation.add_site("well")
    sites["well"].spec.software_version = "24.09"
    sites["well"].spec.deploys = [{"state": "host"}]

    installation.ask(CommandType.SUBCLOUD_UNSTAGE, subject="well", release="23.09")
    wait_for(lambda: installation.step("well")["finished_at"] is not None)
    details = installation.step("well")["details"]
    assert "failed" == installation.step("well")["state"]
    assert "Unstage failed 'well': Subcloud well current state of its own software deploy (USM) is 'host'." in details
    assert [] == fake_playbooks.jobs


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "169.254.1.1", "::ffff:127.0.0.1"])
def test_a_site_that_calls_itself_this_machine(
    asking: Callable[..., StartedInstallation], sites: SitesThread, fake_playbooks: FakePlaybooks, address: str
) -> None:
    """A site that tells an address of the controller's own as its OAM address fails; no password is sent there."""
    installation = asking()
    installation.add_site("well")
    sites["well"].spec.oam_floating_ip = address

    assert "failed" == installation.run_strategy()
    assert "says that its OAM address is " in installation.step("well")["details"]
    assert [] == fake_playbooks.jobs


def test_force_passes_over_alarms_and_not_over_silence(
    asking: Callable[..., StartedInstallation], sites: SitesThread
) -> None:
    """With force an alarm does not fail the site; a health that cannot be read does all the same."""
    installation = asking()
    for name in ("alarmed", "gone"):
        installation.add_site(name)
    sites["alarmed"].spec.alarms = sites["alarmed"].spec.management_affecting_alarms = 1
    sites["gone"].spec.faults["health"] = Fault(kind=FaultKind.NOT_FOUND)

    assert "failed" == installation.run_strategy(force="true")
    assert ["complete", "failed"] == [installation.step(name)["state"] for name in ("alarmed", "gone")]
    assert f"{UNREADABLE} GET /v1/health/ was answered with 404." in installation.step("gone")["details"]


def test_an_installation_of_a_duplex_site(asking: Callable[..., StartedInstallation], sites: SitesThread) -> None:
    """Where duplex is allowed, an installation needs controller-0; a deployment of software does not."""
    installation = asking(allow_duplex=True)
    installation.add_site("duplex")
    sites["duplex"].spec.system_mode, sites["duplex"].spec.active_controller = "duplex", "controller-1"

    assert "complete" == installation.run_strategy(for_install="true")
    assert "only allowed when controller-0 is active" in installation.step("duplex")["details"]
    installation.verb("delete")
    assert "complete" == installation.run_strategy(release="24.09", for_sw_deploy="true")
    assert "" == installation.step("duplex")["details"]


def test_many_sites_are_asked_at_once_within_the_bound(
    asking: Callable[..., StartedInstallation], sites: SitesThread
) -> None:
    """As many sites as set are asked at once, more than there are threads; the others wait without a claim."""
    installation = asking(inspections=4)
    for name in NAMES:
        installation.add_site(name)
        sites[name].spec.faults["isystems"] = Fault(kind=FaultKind.SLOW, delay_s=60, times=1)
    installation.create(**{"subcloud-apply-type": "parallel", "max-parallel-subclouds": 10})
    installation.verb("apply")

    wait_for(lambda: sum(sites[name].spec.requests["isystems"] for name in NAMES) >= 4)
    states = sorted(row["state"] for row in installation.rows(steps))
    assert ["initial"] * 2 + ["prestage-precheck"] * 4 == states


def test_a_stop_hands_inspections_over(asking: Callable[..., StartedInstallation], sites: SitesThread) -> None:
    """A service that stops in the middle of a precheck does not wait for the site; the next one asks anew."""
    installation = asking()
    installation.add_site("well")
    sites["well"].spec.faults["isystems"] = Fault(kind=FaultKind.SLOW, delay_s=60, times=1)
    installation.create()
    installation.verb("apply")
    wait_for(lambda: sites["well"].spec.requests["isystems"])
    began = monotonic()
    installation.stop()
    assert monotonic() - began < 50

    again = asking()
    assert "complete" == again.ending()
    assert 2 == sites["well"].spec.requests["isystems"]


def test_standalone_is_asked_in_its_precheck(asking: Callable[..., StartedInstallation], sites: SitesThread) -> None:
    """A standalone prestage is accepted without waiting for the site, and judged by its precheck."""
    installation = asking()
    installation.add_site("alarmed")
    sites["alarmed"].spec.alarms = sites["alarmed"].spec.management_affecting_alarms = 1

    assert 200 == installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="alarmed").status
    wait_for(lambda: installation.step("alarmed")["state"] == "failed")
    assert "management affecting alarm(s)" in installation.step("alarmed")["details"]


def test_a_controller_that_is_upgraded_starts_nothing(
    asking: Callable[..., StartedInstallation], sites: SitesThread
) -> None:
    """While the controller lists a deploy both ways of starting work are refused; while it is silent too, with 503."""
    installation = asking()
    installation.add_site("well")
    sites["controller"].spec.deploys = [{"state": "start"}]
    created = installation.create()

    assert (422, True) == (created.status, "system controller upgrade is in progress" in created.detail)
    assert 400 == installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="well").status


class Unreachable:
    """A controller that cannot be asked, with a count of the tries."""

    asked = 0

    def is_upgrading(self) -> bool:
        self.asked += 1
        raise InspectionError("The controller refused the connection.")


@pytest.fixture
def silent(new_database_url: Callable[..., str]) -> Iterator[tuple[Installation, Unreachable]]:
    """Give an installation whose controller is silent."""
    database, check = Database(new_database_url()), Unreachable()
    coordinator = Coordinator(database, DeclaredInspector(), CoordinatorRules(release="23.09"), controller_check=check)
    yield Installation(database=database, coordinator=coordinator, sealer=Sealer(b"k" * 32)), check
    database.close()


def test_a_silent_controller_starts_nothing(silent: tuple[Installation, Unreachable]) -> None:
    """Whoever would start work is told 503 with the cause, nothing is stored, and other commands do not ask."""
    installation, check = silent
    installation.add_site("well")
    assert 0 == check.asked
    answers = [installation.create(), installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="well")]

    assert [503, 503] == [answer.status for answer in answers]
    assert all("system controller" in answer.detail and "refused the connection" in answer.detail for answer in answers)
    assert ["subcloud.add"] == [row["type"] for row in installation.rows(commands)]
    assert [] == installation.rows(steps)


def test_the_declaration_counts_without_asking(silent: tuple[Installation, Unreachable]) -> None:
    """What the operator declared counts even while the controller is silent, and other faults are told first."""
    installation, _ = silent
    installation.add_site("well")
    missing = installation.ask(CommandType.STRATEGY_CREATE, password=None, type="prestage")

    assert (400, "subcloud sysadmin_password required") == (missing.status, missing.detail)


def test_no_transaction_waits_for_the_controller(silent: tuple[Installation, Unreachable]) -> None:
    """The controller is asked before the transaction begins."""
    installation, check = silent
    installation.add_site("well")
    begun: list[int] = []
    event.listen(installation.database.writer_engine, "begin", lambda _: begun.append(check.asked))
    installation.create()

    assert {1} == set(begun)
