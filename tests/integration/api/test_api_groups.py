from __future__ import annotations

import pytest

from db.schema import subcloud_groups, subclouds
from messages.commands import Answer, CommandType
from tests.support import api_rows
from tests.support.served_api import ServedApi

BASE = "/v1.0/subcloud-groups"


@pytest.fixture(autouse=True)
def _inventory(api: ServedApi) -> None:
    api.insert(subcloud_groups, api_rows.group(2, "g.1"), api_rows.group(3, "empty"))
    api.insert(subclouds, api_rows.subcloud(5, "b", group_id=2), api_rows.subcloud(4, "a", group_id=2))


async def test_list(api: ServedApi) -> None:
    """The list has every group in the order of ids with the number of its subclouds."""
    for path in (BASE, f"{BASE}/"):
        found = (await api.send("GET", path, role="reader")).json["subcloud_groups"]
        assert [(group["id"], group["name"], group["subcloud_count"]) for group in found] == [
            (1, "Default", 0),
            (2, "g.1", 2),
            (3, "empty", 0),
        ]


@pytest.mark.parametrize("ref", ["2", "g.1"])
async def test_show(api: ServedApi, ref: str) -> None:
    """A group is found by id or name."""
    assert (await api.send("GET", f"{BASE}/{ref}")).json == {
        "id": 2,
        "name": "g.1",
        "description": "a group",
        "update_apply_type": "parallel",
        "max_parallel_subclouds": 2,
        "rollout": {},
        "created-at": api_rows.CREATED_READ,
        "updated-at": None,
    }


@pytest.mark.parametrize("ref", ["2", "g.1"])
async def test_subclouds_of_a_group(api: ServedApi, ref: str) -> None:
    """The subclouds of a group are plain ones, in the order of ids."""
    found = (await api.send("GET", f"{BASE}/{ref}/subclouds")).json["subclouds"]

    assert [subcloud["name"] for subcloud in found] == ["a", "b"]
    assert "sync_status" not in found[0]
    assert (await api.send("GET", f"{BASE}/empty/subclouds")).json == {"subclouds": []}


@pytest.mark.parametrize("path", ["9", "nobody", "nobody/subclouds", "a%00b"])
async def test_unknown(api: ServedApi, path: str) -> None:
    """A group that there is not is not found."""
    reply = await api.send("GET", f"{BASE}/{path}")

    assert (reply.status, reply.detail) == (404, "Subcloud Group not found")


async def test_create(api: ServedApi) -> None:
    """A new group goes on as written."""
    await api.send("POST", f"{BASE}/", {"name": "g", "max_parallel_subclouds": "3"})

    assert api.transport.only.type == CommandType.GROUP_CREATE
    assert api.transport.only.data == {"name": "g", "max_parallel_subclouds": "3"}


async def test_change(api: ServedApi) -> None:
    """A change goes on with the reference as written; whether the group exists is the coordinator's to say."""
    await api.send("PATCH", f"{BASE}/nobody", {"description": "x"})

    assert (api.transport.only.type, api.transport.only.subject) == (CommandType.GROUP_UPDATE, "nobody")
    assert api.transport.only.data == {"description": "x"}


async def test_nothing_to_change(api: ServedApi) -> None:
    """An empty body is refused before anybody looks for the group."""
    reply = await api.send("PATCH", f"{BASE}/nobody", b"{}")

    assert (reply.status, reply.detail) == (400, "Body required")


async def test_delete(api: ServedApi) -> None:
    """A delete answers with JSON null."""
    api.transport.answer = Answer(status=200, body=None)

    reply = await api.send("DELETE", f"{BASE}/g.1")

    assert (reply.status, reply.body) == (200, b"null")
    assert (api.transport.only.type, api.transport.only.subject) == (CommandType.GROUP_DELETE, "g.1")
