"""How a site is reached: the operator's variables and those of callers, addresses, and what is told of a change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update

from cli.command_context import shell_caller
from db.schema import audit, events, subclouds
from messages.commands import Command, CommandType
from messages.connection_variables import site_variables
from runner.fake import FakeRunEnd
from runner.machine_addresses import own_addresses, own_names
from tests.integration.actors.coordinator_house import House
from tests.integration.actors.embedded_rig import PACKAGES, PREPARE, Rig, Stage
from tests.support.imported_sites import READY, import_sites
from tests.support.waiting import wait_for

JUMP = {"ansible_ssh_common_args": "-J jump.example.com", "ansible_port": 2222}


def change(house: House, **data: Any) -> tuple[int, str]:
    """Have a caller change the subcloud; return status and detail."""
    command = Command(type=CommandType.SUBCLOUD_UPDATE, subject="a", data=data, requested_by="ops")
    answer = house.execute(command)
    return answer.status, answer.detail


def told(house: House) -> list[dict[str, Any]]:
    """Return the data of the events about addresses."""
    return [row["data"] for row in house.rows(events, type="subcloud.address-changed")]


def test_each_changes_its_own(house: House) -> None:
    """Variables of the operator's import stay and win whatever a caller sets; a caller changes and removes his own."""
    house.add_site("a", connection=JUMP)

    assert (200, "") == change(house, connection={"ansible_port": 22, "ansible_user": "ops"})
    assert {**JUMP, "ansible_user": "ops"} == site_variables(house.site("a"))
    assert (200, "") == change(house, connection={"ansible_remote_tmp": "/home/x/tmp"})
    assert {**JUMP, "ansible_remote_tmp": "/home/x/tmp"} == site_variables(house.site("a"))
    assert (200, "") == change(house, connection={})
    assert JUMP == site_variables(house.site("a"))


def test_an_import_leaves_the_callers(house: House) -> None:
    """A new import replaces the operator's variables as a whole, and leaves those of callers where they are."""
    house.add_site("a", connection=JUMP)
    change(house, connection={"ansible_port": 22})

    import_sites(house.database, {"a": {"ansible_user": "root"}})

    assert {"ansible_user": "root", "ansible_port": 22} == site_variables(house.site("a"))


@pytest.mark.parametrize(
    "variables",
    [{"ansible_ssh_common_args": "-o ProxyCommand=id"}, {"ansible_connection": "local"}, {"prestage_archive_dir": "/"}],
)
def test_commands_on_the_controller_are_refused(house: House, variables: dict[str, str]) -> None:
    """A caller's variable that runs a command here is refused at adding and at changing, and nothing is changed."""
    house.add_site("a")

    assert 400 == change(house, connection=variables, description="new")[0]
    assert 400 == house.ask(CommandType.SUBCLOUD_ADD, name="b", connection=variables).status
    assert [("a", None, {})] == [
        (row["name"], row["description"], site_variables(row)) for row in house.rows(subclouds)
    ]


@pytest.mark.parametrize("data", [{"connection": {"ansible_port": 22}}, {"oam_floating_ip": "10.0.0.7"}])
def test_another_connection_than_ssh(house: House, data: dict[str, Any]) -> None:
    """A caller does not say how a site is reached that the operator reaches by something else than ssh."""
    house.add_site("a", connection={"ansible_connection": "local"})

    status, detail = change(house, **data)

    assert 400 == status
    assert "the operator's import of a sets another connection than ssh" in detail
    assert (200, "") == change(house, connection={}, description="still can be described")


def test_addresses_of_this_machine(house: House) -> None:
    """A site cannot be placed at an address or name of the machine that commands are judged on."""
    house.add_site("a")

    for own in (*map(str, own_addresses()), *own_names()):
        assert 400 == change(house, connection={"ansible_host": own})[0], own
        if "." in own or ":" in own:
            assert 400 == change(house, oam_floating_ip=own)[0], own
            assert 400 == house.ask(CommandType.SUBCLOUD_ADD, name="b", **{"bootstrap-address": own}).status, own
    assert ["10.10.10.2"] == [row["oam_floating_ip"] for row in house.rows(subclouds)]


def test_a_change_of_address_is_told(house: House) -> None:
    """Each change of where a site is reached is an event and in the audit, with caller, old and new address."""
    house.add_site("a")

    change(house, description="elsewhere")
    change(house, connection={"ansible_port": 2022, "ansible_user": "ops"})
    change(house, oam_floating_ip="10.10.10.3", connection={"ansible_port": 2022})

    assert [
        {"caller": "ops", "before": {"ansible_port": None}, "after": {"ansible_port": "2022"}},
        {"caller": "ops", "before": {"oam_floating_ip": "10.10.10.2"}, "after": {"oam_floating_ip": "10.10.10.3"}},
    ] == told(house)
    assert [
        "",
        "address changed: ansible_port from none to 2022",
        "address changed: oam_floating_ip from 10.10.10.2 to 10.10.10.3",
    ] == [row["detail"] for row in house.rows(audit, type="subcloud.update")]


def test_a_change_without_effect_is_no_change(house: House) -> None:
    """A caller's address that the operator's overrides changes nothing, so nothing is told."""
    house.add_site("a", connection={"ansible_host": "10.0.0.1"})
    before = len(told(house))

    assert (200, "") == change(house, connection={"ansible_host": "10.0.0.2"})
    assert before == len(told(house))


def test_an_import_is_told_too(house: House) -> None:
    """A change of address by the operator's import is told and audited under the operator's name."""
    house.add_site("a")

    import_sites(house.database, {"a": {"ansible_host": "10.0.0.1", "prestager_location": "roof"}, "b": READY})

    assert [
        {"caller": shell_caller(), "before": {"ansible_host": None}, "after": {"ansible_host": "10.0.0.1"}}
    ] == told(house)
    (entry,) = [row for row in house.rows(audit) if row["caller"] == shell_caller()]
    assert ("a", 200, "address changed: ansible_host from none to 10.0.0.1") == (
        entry["subject"],
        entry["status"],
        entry["detail"],
    )


def remember_removed(house: House, *names: str) -> None:
    """Have the upgrade taken these variables out of the subcloud."""
    with house.database.write() as connection:
        connection.execute(update(subclouds).values(removed_variables=list(names)))


def test_what_brings_a_site_back(house: House) -> None:
    """An import, or new variables of a caller, end the want of what an upgrade took out; other changes do not."""
    house.add_site("a")

    remember_removed(house, "ansible_connection", "oam_floating_ip")
    change(house, description="x")
    assert ["ansible_connection", "oam_floating_ip"] == house.site("a")["removed_variables"]
    change(house, connection={})
    assert ["oam_floating_ip"] == house.site("a")["removed_variables"]
    change(house, oam_floating_ip="10.10.10.4")
    assert [] == house.site("a")["removed_variables"]
    remember_removed(house, "ansible_connection", "oam_floating_ip")
    import_sites(house.database, {"a": {}})
    assert [] == house.site("a")["removed_variables"]


def test_no_run_without_what_was_taken_out(build: Callable[..., Rig], stage: Stage) -> None:
    """A site whose variables an upgrade took out is not prestaged another way, but fails with what to do."""
    rig = build()
    rig.add_site("a")
    remember_removed(rig, "ansible_ssh_common_args")

    assert "failed" == rig.run_strategy()
    details = rig.step("a")["details"]
    assert "the upgrade took out ansible_ssh_common_args" in details
    assert "prestager subcloud import --update" in details
    assert [] == stage.jobs


@pytest.mark.parametrize("name", ["localhost", "all", "ungrouped"])
def test_a_reserved_name_of_an_earlier_release(build: Callable[..., Rig], stage: Stage, name: str) -> None:
    """A subcloud that is called so already is not prestaged, and its failure says that it needs another name."""
    rig = build()
    rig.add_site("a")
    rig.add_site("b")
    with rig.database.write() as connection:
        connection.execute(update(subclouds).where(subclouds.c.name == "a").values(name=name))

    assert "failed" == rig.run_strategy()
    assert f"The name {name} is reserved by Ansible" in rig.step(name)["details"]
    assert "complete" == rig.step("b")["state"]
    assert name not in {job.host for job in stage.jobs}
    assert 200 == rig.ask(CommandType.SUBCLOUD_UPDATE, subject=name, name="a").status


def test_no_run_of_a_step_that_had_begun(build: Callable[..., Rig], stage: Stage) -> None:
    """A step that passed its precheck before the upgrade goes no further either."""
    rig = build()
    rig.add_site("a")
    stage.end("a", PREPARE, FakeRunEnd(delay_s=1.0))
    assert 200 == rig.create().status
    assert 200 == rig.verb("apply").status
    wait_for(lambda: stage.jobs)
    remember_removed(rig, "ansible_port")

    assert "failed" == rig.ending()
    assert "the upgrade took out ansible_port" in rig.step("a")["details"]
    assert [PREPARE] == stage.played("a")


def test_whose_host_is_judged(build: Callable[..., Rig], stage: Stage) -> None:
    """The machine of a run judges an address that a caller may have given; the operator's own it does not."""
    rig = build()
    rig.add_site("a")
    rig.add_site("b", connection={"ansible_host": "127.0.0.1"})
    rig.add_site("c")
    rig.add_site("d")
    with rig.database.write() as connection:
        connection.execute(update(subclouds).where(subclouds.c.name == "d").values(oam_floating_ip="127.0.0.5"))
    for name in "ab":
        answer = rig.ask(CommandType.SUBCLOUD_UPDATE, subject=name, connection={"ansible_host": "10.0.0.9"})
        assert 200 == answer.status

    assert "complete" == rig.run_strategy()
    assert {("a", True), ("b", False), ("c", True), ("d", False)} == {
        (job.host, job.judges_address) for job in stage.jobs if job.playbook.stem == PACKAGES
    }
    assert {"10.0.0.9", "127.0.0.1", "10.10.10.2", "127.0.0.5"} == {job.host_vars["ansible_host"] for job in stage.jobs}
