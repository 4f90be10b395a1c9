"""How a site is reached: the operator's variables and those of callers, addresses, and what is told of a change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update

from cli.installation import shell_caller
from db.schema import audit, events, subclouds
from messages.commands import Command, CommandType
from messages.connection_variables import site_variables
from runner.fake import FakeRunEnd
from runner.machine_addresses import own_addresses, own_names
from tests.support.fake_playbooks import PACKAGES, PREPARE, FakePlaybooks
from tests.support.imported_sites import READY, import_sites
from tests.support.installation import Installation, StartedInstallation
from tests.support.waiting import wait_for

JUMP = {"ansible_ssh_common_args": "-J jump.example.com", "ansible_port": 2222}


def change(installation: Installation, **data: Any) -> tuple[int, str]:
    """Have a caller change the subcloud; return status and detail."""
    command = Command(type=CommandType.SUBCLOUD_UPDATE, subject="a", data=data, requested_by="ops")
    answer = installation.execute(command)
    return answer.status, answer.detail


def told(installation: Installation) -> list[dict[str, Any]]:
    """Return the data of the events about addresses."""
    return [row["data"] for row in installation.rows(events, type="subcloud.address-changed")]


def test_each_changes_its_own(installation: Installation) -> None:
    """Variables of the operator's import stay and win whatever a caller sets; a caller changes and removes his own."""
    installation.add_site("a", connection=JUMP)

    assert (200, "") == change(installation, connection={"ansible_port": 22, "ansible_user": "ops"})
    assert {**JUMP, "ansible_user": "ops"} == site_variables(installation.site("a"))
    assert (200, "") == change(installation, connection={"ansible_remote_tmp": "/home/x/tmp"})
    assert {**JUMP, "ansible_remote_tmp": "/home/x/tmp"} == site_variables(installation.site("a"))
    assert (200, "") == change(installation, connection={})
    assert JUMP == site_variables(installation.site("a"))


def test_an_import_leaves_the_callers(installation: Installation) -> None:
    """A new import replaces the operator's variables as a whole, and leaves those of callers where they are."""
    installation.add_site("a", connection=JUMP)
    change(installation, connection={"ansible_port": 22})

    import_sites(installation.database, {"a": {"ansible_user": "root"}})

    assert {"ansible_user": "root", "ansible_port": 22} == site_variables(installation.site("a"))


@pytest.mark.parametrize(
    "variables",
    [{"ansible_ssh_common_args": "-o ProxyCommand=id"}, {"ansible_connection": "local"}, {"prestage_archive_dir": "/"}],
)
def test_commands_on_the_controller_are_refused(installation: Installation, variables: dict[str, str]) -> None:
    """A caller's variable that runs a command here is refused at adding and at changing, and nothing is changed."""
    installation.add_site("a")

    assert 400 == change(installation, connection=variables, description="new")[0]
    assert 400 == installation.ask(CommandType.SUBCLOUD_ADD, name="b", connection=variables).status
    assert [("a", None, {})] == [
        (row["name"], row["description"], site_variables(row)) for row in installation.rows(subclouds)
    ]


@pytest.mark.parametrize("data", [{"connection": {"ansible_port": 22}}, {"oam_floating_ip": "10.0.0.7"}])
def test_another_connection_than_ssh(installation: Installation, data: dict[str, Any]) -> None:
    """A caller does not say how a site is reached that the operator reaches by something else than ssh."""
    installation.add_site("a", connection={"ansible_connection": "local"})

    status, detail = change(installation, **data)

    assert 400 == status
    assert "the operator's import of a sets another connection than ssh" in detail
    assert (200, "") == change(installation, connection={}, description="still can be described")


def test_addresses_of_this_machine(installation: Installation) -> None:
    """A site cannot be placed at an address or name of the machine that commands are judged on."""
    installation.add_site("a")

    for own in (*map(str, own_addresses()), *own_names()):
        assert 400 == change(installation, connection={"ansible_host": own})[0], own
        if "." in own or ":" in own:
            assert 400 == change(installation, oam_floating_ip=own)[0], own
            assert 400 == installation.ask(CommandType.SUBCLOUD_ADD, name="b", **{"bootstrap-address": own}).status, own
    assert ["10.10.10.2"] == [row["oam_floating_ip"] for row in installation.rows(subclouds)]


def test_a_change_of_address_is_told(installation: Installation) -> None:
    """Each change of where a site is reached is an event and in the audit, with caller, old and new address."""
    installation.add_site("a")

    change(installation, description="elsewhere")
    change(installation, connection={"ansible_port": 2022, "ansible_user": "ops"})
    change(installation, oam_floating_ip="10.10.10.3", connection={"ansible_port": 2022})

    assert [
        {"caller": "ops", "before": {"ansible_port": None}, "after": {"ansible_port": "2022"}},
        {"caller": "ops", "before": {"oam_floating_ip": "10.10.10.2"}, "after": {"oam_floating_ip": "10.10.10.3"}},
    ] == told(installation)
    assert [
        "",
        "address changed: ansible_port from none to 2022",
        "address changed: oam_floating_ip from 10.10.10.2 to 10.10.10.3",
    ] == [row["detail"] for row in installation.rows(audit, type="subcloud.update")]


def test_a_change_without_effect_is_no_change(installation: Installation) -> None:
    """A caller's address that the operator's overrides changes nothing, so nothing is told."""
    installation.add_site("a", connection={"ansible_host": "10.0.0.1"})
    before = len(told(installation))

    assert (200, "") == change(installation, connection={"ansible_host": "10.0.0.2"})
    assert before == len(told(installation))


def test_an_import_is_told_too(installation: Installation) -> None:
    """A change of address by the operator's import is told and audited under the operator's name."""
    installation.add_site("a")

    import_sites(installation.database, {"a": {"ansible_host": "10.0.0.1", "prestager_location": "roof"}, "b": READY})

    assert [
        {"caller": shell_caller(), "before": {"ansible_host": None}, "after": {"ansible_host": "10.0.0.1"}}
    ] == told(installation)
    (entry,) = [row for row in installation.rows(audit) if row["caller"] == shell_caller()]
    assert ("a", 200, "address changed: ansible_host from none to 10.0.0.1") == (
        entry["subject"],
        entry["status"],
        entry["detail"],
    )


def remember_removed(installation: Installation, *names: str) -> None:
    """Have the upgrade taken these variables out of the subcloud."""
    with installation.database.write() as connection:
        connection.execute(update(subclouds).values(removed_variables=list(names)))


def test_what_brings_a_site_back(installation: Installation) -> None:
    """An import, or new variables of a caller, end the want of what an upgrade took out; other changes do not."""
    installation.add_site("a")

    remember_removed(installation, "ansible_connection", "oam_floating_ip")
    change(installation, description="x")
    assert ["ansible_connection", "oam_floating_ip"] == installation.site("a")["removed_variables"]
    change(installation, connection={})
    assert ["oam_floating_ip"] == installation.site("a")["removed_variables"]
    change(installation, oam_floating_ip="10.10.10.4")
    assert [] == installation.site("a")["removed_variables"]
    remember_removed(installation, "ansible_connection", "oam_floating_ip")
    import_sites(installation.database, {"a": {}})
    assert [] == installation.site("a")["removed_variables"]


def test_no_run_without_what_was_taken_out(
    build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
) -> None:
    """A site whose variables an upgrade took out is not prestaged another way, but fails with what to do."""
    installation = build()
    installation.add_site("a")
    remember_removed(installation, "ansible_ssh_common_args")

    assert "failed" == installation.run_strategy()
    details = installation.step("a")["details"]
    assert "the upgrade took out ansible_ssh_common_args" in details
    assert "prestager subcloud import --update" in details
    assert [] == fake_playbooks.jobs


@pytest.mark.parametrize("name", ["localhost", "all", "ungrouped"])
def test_a_reserved_name_of_an_earlier_release(
    build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks, name: str
) -> None:
    """A subcloud that is called so already is not prestaged, and its failure says that it needs another name."""
    installation = build()
    installation.add_site("a")
    installation.add_site("b")
    with installation.database.write() as connection:
        connection.execute(update(subclouds).where(subclouds.c.name == "a").values(name=name))

    assert "failed" == installation.run_strategy()
    assert f"The name {name} is reserved by Ansible" in installation.step(name)["details"]
    assert "complete" == installation.step("b")["state"]
    assert name not in {job.host for job in fake_playbooks.jobs}
    assert 200 == installation.ask(CommandType.SUBCLOUD_UPDATE, subject=name, name="a").status


def test_no_run_of_a_step_that_had_begun(
    build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks
) -> None:
    """A step that passed its precheck before the upgrade goes no further either."""
    installation = build()
    installation.add_site("a")
    fake_playbooks.end("a", PREPARE, FakeRunEnd(delay_s=1.0))
    assert 200 == installation.create().status
    assert 200 == installation.verb("apply").status
    wait_for(lambda: fake_playbooks.jobs)
    remember_removed(installation, "ansible_port")

    assert "failed" == installation.ending()
    assert "the upgrade took out ansible_port" in installation.step("a")["details"]
    assert [PREPARE] == fake_playbooks.played("a")


def test_whose_host_is_judged(build: Callable[..., StartedInstallation], fake_playbooks: FakePlaybooks) -> None:
    """The machine of a run judges an address that a caller may have given; the operator's own it does not."""
    installation = build()
    installation.add_site("a")
    installation.add_site("b", connection={"ansible_host": "127.0.0.1"})
    installation.add_site("c")
    installation.add_site("d")
    with installation.database.write() as connection:
        connection.execute(update(subclouds).where(subclouds.c.name == "d").values(oam_floating_ip="127.0.0.5"))
    for name in "ab":
        answer = installation.ask(CommandType.SUBCLOUD_UPDATE, subject=name, connection={"ansible_host": "10.0.0.9"})
        assert 200 == answer.status

    assert "complete" == installation.run_strategy()
    assert {("a", True), ("b", False), ("c", True), ("d", False)} == {
        (job.host, job.checks_address) for job in fake_playbooks.jobs if job.playbook.stem == PACKAGES
    }
    assert {"10.0.0.9", "127.0.0.1", "10.10.10.2", "127.0.0.5"} == {
        job.host_vars["ansible_host"] for job in fake_playbooks.jobs
    }
