"""Every command of the `dcmanager` client that is served here, from Keystone's discovery to the end (contract 12)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.keystone.dcmanager_service import VALUES, DcmanagerService, brought_up
from tests.integration.keystone.keystone_api import KeystoneApi
from tests.support.dcmanager_client import CommandFailedError, DcmanagerClient
from tests.support.keystone_server import KeystoneServer
from tests.support.tcp_proxy import HOST
from tests.support.waiting import wait_for

Client = Callable[[str], DcmanagerClient]
# What makes an error one that the client can read; see `api.error_response`.
CLIENT = {"Accept": "*/*", "X-Project-Id": "0af7651916cd43dd8448eb211c80319c"}
FORBIDDEN = "ERROR (app) Access was denied to this resource.\nDetails: "


@pytest.fixture
def client(keystone: KeystoneServer, tmp_path: Path) -> Iterator[Client]:
    """Give a client of a user; the server is found in the catalogue, and only there."""
    service = DcmanagerService(keystone, tmp_path)
    endpoint = keystone.add_endpoint("dcmanager", f"http://{HOST}:{service.port}/v1.0")
    yield lambda user: DcmanagerClient(keystone.url, user, keystone.password)
    keystone.remove_endpoint(endpoint)
    service.close()


def test_subclouds(client: Client) -> None:
    """A subcloud is added, shown in every way, changed, managed, prestaged, unmanaged and deleted."""
    admin = client("admin")

    added = admin.subcloud_add(VALUES.format(name="subcloud1"), "10.10.10.12", "Default")
    assert ("unmanaged", "offline", 1) == (added["management-state"], added["availability-status"], added["group_id"])
    assert "managed" == admin.subcloud_update("subcloud1", management_state="managed", force="true")["management-state"]
    changed = admin.subcloud_update("subcloud1", description="d", location="l", group_id="Default")
    assert ("d", "l") == (changed["description"], changed["location"])
    assert ["subcloud1"] == [each["name"] for each in admin.subcloud_list()]
    assert "subcloud1" == admin.subcloud_show("1", detail=True)["name"]
    assert "No errors present" == admin.subcloud_errors("subcloud1")

    admin.subcloud_update("subcloud1", **{"availability-status": "online", "deploy-status": "complete"})
    started = admin.subcloud_prestage("subcloud1", force="true", release="24.09", for_sw_deploy="true")
    assert "24.09" == started["prestage-software-version"]
    wait_for(lambda: admin.subcloud_show("subcloud1")["prestage-status"] != "prestaging")
    assert "complete" == admin.subcloud_show("subcloud1")["prestage-status"]

    assert "unmanaged" == admin.subcloud_update("subcloud1", management_state="unmanaged")["management-state"]
    with pytest.raises(CommandFailedError, match="Subcloud must be powered down to perform this operation"):
        admin.subcloud_delete("subcloud1")
    admin.subcloud_update("subcloud1", **{"availability-status": "offline"})
    admin.subcloud_delete("subcloud1")
    with pytest.raises(CommandFailedError) as gone:
        admin.subcloud_show("subcloud1")
    assert "ERROR (app) The resource could not be found.\nDetails: Subcloud not found" == str(gone.value)


def test_groups(client: Client) -> None:
    """A group is added with numbers as text, updated, listed with its subclouds, and deleted when it is empty."""
    admin = client("admin")

    assert (
        3
        == admin.group_add("g1", description="one", update_apply_type="serial", max_parallel_subclouds="3")[
            "max_parallel_subclouds"
        ]
    )
    assert 2 == admin.group_add("g2")["max_parallel_subclouds"]
    assert (
        7 == admin.group_update("g1", max_parallel_subclouds=7, update_apply_type="parallel")["max_parallel_subclouds"]
    )
    assert ["Default", "g1", "g2"] == [each["name"] for each in admin.group_list()]
    brought_up(admin, "subcloud1", group="g1")
    assert ["subcloud1"] == [each["name"] for each in admin.group_subclouds("g1")]
    with pytest.raises(CommandFailedError, match="Details: Subcloud Group not empty"):
        admin.group_delete("g1")
    admin.group_delete("g2")
    assert "parallel" == admin.group_show("g1")["update_apply_type"]


def test_strategies(client: Client) -> None:
    """A strategy is created, shown, applied to its end, and deleted; a second one is aborted before it has begun."""
    admin = client("admin")
    brought_up(admin, "subcloud1", "subcloud2")

    options = {"subcloud-apply-type": "parallel", "max-parallel-subclouds": 50, "stop-on-failure": "true"}
    created = admin.strategy_create(**options, force="true")
    assert ("initial", 50, True) == (created["state"], created["max-parallel-subclouds"], created["stop-on-failure"])
    assert "applying" == admin.strategy_action("apply")["state"]
    wait_for(lambda: admin.strategy_show()["state"] != "applying")
    assert "complete" == admin.strategy_show()["state"]
    assert [("subcloud1", "complete"), ("subcloud2", "complete")] == [
        (step["cloud"], step["state"]) for step in admin.step_list()
    ]
    assert 1 == admin.step_show("subcloud1")["stage"]
    assert "deleting" == admin.strategy_delete()["state"]
    with pytest.raises(CommandFailedError, match="Details: Strategy of type 'prestage' not found"):
        admin.strategy_show()
    assert [] == admin.step_list()

    admin.strategy_create("subcloud1")
    with pytest.raises(CommandFailedError) as refused:
        admin.strategy_action("abort")
    assert (
        "ERROR (app) Unable to process the contained instructions.\nDetails: Unable to abort strategy of type"
        " 'prestage': Bad strategy request: Strategy in state initial cannot be aborted" == str(refused.value)
    )
    admin.strategy_delete()
    created = admin.strategy_create(subcloud_group="Default", release="24.09", for_sw_deploy="true")
    assert "24.09" == created["extra-args"]["prestage-software-version"]


def test_refusal_is_repeated_and_does_nothing(client: Client) -> None:
    """A reader's change is refused twice, for the client tries again with a fresh token, and nothing was done."""
    reader, admin = client("reader"), client("admin")

    with pytest.raises(CommandFailedError) as refused:
        reader.group_add("g1")

    assert FORBIDDEN == str(refused.value)
    assert 2 == reader.login_count
    assert ["Default"] == [each["name"] for each in reader.group_list()]
    assert "g1" == admin.group_add("g1")["name"]
    assert 1 == admin.login_count


def test_operator_manages(client: Client) -> None:
    """An operator manages and unmanages from the command line, and changes nothing else."""
    admin, operator = client("admin"), client("operator")
    brought_up(admin, "subcloud1")

    assert "unmanaged" == operator.subcloud_update("subcloud1", management_state="unmanaged")["management-state"]
    with pytest.raises(CommandFailedError, match="Access was denied"):
        operator.subcloud_update("subcloud1", description="mine")
    assert "mine" != operator.subcloud_show("subcloud1")["description"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PATCH", "/subclouds/subcloud1/reconfigure", 404),
        ("PATCH", "/subclouds/subcloud1/reinstall", 404),
        ("PATCH", "/subclouds/subcloud1/redeploy", 404),
        ("POST", "/subcloud-backup", 404),
        ("GET", "/subcloud-peer-groups", 404),
        ("GET", "/system-peers", 404),
        ("GET", "/peer-group-associations", 404),
        ("POST", "/phased-subcloud-deploy", 404),
        ("GET", "/subcloud-deploy", 404),
        ("GET", "/sw-update-options", 404),
        ("GET", "/alarms", 404),
        ("GET", "/sw-update-strategy?type=patch", 404),
        ("PUT", "/subclouds", 405),
        ("PUT", "/subcloud-groups/Default", 405),
    ],
)
async def test_what_is_not_served(
    api: KeystoneApi, keystone: KeystoneServer, method: str, path: str, status: int
) -> None:
    """Commands for what is not ours end with a page that the client can read, and do nothing (docs/client.md)."""
    reply = await api.send(method, f"/v1.0{path}", token=keystone.token("admin"), headers=CLIENT)

    assert status == reply.status
    assert "text/html" in reply.headers["content-type"]
    assert reply.lines[0].startswith(str(status))
    if status == 404:
        assert reply.detail.endswith("This is Prestager, which stages releases; dcmanager's own API serves this.")
    assert api.served.transport.commands == []


@pytest.mark.parametrize(
    ("method", "path", "body", "told"),
    [
        ("POST", "/sw-update-strategy/", {"type": "patch"}, "type invalid"),
        ("POST", "/sw-update-strategy/actions?type=patch", {"action": "apply"}, "Unable to apply strategy of type"),
        ("POST", "/sw-update-strategy/actions?type=patch", {"action": "abort"}, "Unable to abort strategy of type"),
        ("DELETE", "/sw-update-strategy?type=patch", {}, "Unable to delete strategy of type"),
    ],
)
def test_strategies_of_other_types(client: Client, method: str, path: str, body: dict[str, str], told: str) -> None:
    """A verb for a type of strategy that is not served here is refused, and who serves it is told."""
    with pytest.raises(CommandFailedError, match=rf"Details: {told}.*\. This is Prestager, which stages releases; "):
        client("admin")._json(method, path, body, ())
