from __future__ import annotations

from typing import Any

import pytest

from api.auth import READ, Caller
from db.tokens import TokenStore
from tests.support.served_api import ServedApi

READS = [
    "/v1.0/sw-update-strategy/steps",
    "/v1.0/subclouds",
    "/v1.0/subclouds/",
    "/v1.0/subcloud-groups",
]
CHANGES = [
    ("POST", "/v1.0/sw-update-strategy", {"type": "prestage"}),
    ("POST", "/v1.0/sw-update-strategy/", {"type": "prestage"}),
    ("DELETE", "/v1.0/sw-update-strategy", None),
    ("POST", "/v1.0/sw-update-strategy/actions", {"action": "apply"}),
    ("POST", "/v1.0/subclouds/", {"name": "a"}),
    ("PATCH", "/v1.0/subclouds/a", {"description": "x"}),
    ("PATCH", "/v1.0/subclouds/a", {"labels": {"region": "eu"}}),
    ("DELETE", "/v1.0/subclouds/a", None),
    ("PATCH", "/v1.0/subclouds/a/prestage", {"sysadmin_password": "eA=="}),
    ("POST", "/v1.0/subclouds/a/staged", {"release": "23.09", "verdict": "unknown"}),
    ("POST", "/v1.0/subclouds/a/unstage", {"release": "23.09", "sysadmin_password": "eA=="}),
    ("POST", "/v1.0/subcloud-groups/", {"name": "g"}),
    ("PATCH", "/v1.0/subcloud-groups/g", {"description": "x"}),
    ("DELETE", "/v1.0/subcloud-groups/g", None),
]
MANAGING = {"management-state": "managed", "force": "true"}


@pytest.mark.parametrize("role", ["reader", "operator", "configurator", "admin"])
async def test_everybody_reads(api: ServedApi, role: str) -> None:
    """Every role reads everything."""
    assert [200] * len(READS) == [(await api.send("GET", path, role=role)).status for path in READS]


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
async def test_who_changes(api: ServedApi, method: str, path: str, body: dict[str, Any] | None) -> None:
    """Admin and configurator change things; reader and operator are refused and nothing is sent."""
    for role in ("reader", "operator"):
        refused = await api.send(method, path, body or b"", role=role)
        assert refused.status == 403
        assert refused.detail == "Access was denied to this resource."
    assert api.transport.commands == []

    for role in ("configurator", "admin"):
        assert (await api.send(method, path, body or b"", role=role)).status == 200
    assert [command.requested_by for command in api.transport.commands] == ["configurator", "admin"]


@pytest.mark.parametrize("role", ["reader", "operator", "configurator", "admin"])
async def test_everybody_previews(api: ServedApi, role: str) -> None:
    """Every role may ask for the preview of a strategy; it needs no password, and a body that has one is refused."""
    path = "/v1.0/sw-update-strategy/preview"
    assert (await api.send("POST", path, {"type": "prestage", "selector": "lab"}, role=role)).status == 200
    assert ("strategy.preview", None) == (api.transport.only.type, api.transport.only.password_fault)

    refused = await api.send("POST", path, {"type": "prestage", "sysadmin_password": "eA=="}, role=role)

    assert 400 == refused.status
    assert refused.detail.startswith("Unknown field: sysadmin_password")


@pytest.mark.parametrize("body", [MANAGING, {"management-state": "unmanaged"}])
async def test_operator_manages(api: ServedApi, body: dict[str, str]) -> None:
    """An operator manages and unmanages."""
    assert (await api.send("PATCH", "/v1.0/subclouds/a", body, role="operator")).status == 200
    assert api.transport.only.data == body


@pytest.mark.parametrize("body", [{**MANAGING, "location": "x"}, {"force": "true"}])
async def test_operator_only_manages(api: ServedApi, body: dict[str, str]) -> None:
    """An operator changes nothing beside, nor sends force alone."""
    assert (await api.send("PATCH", "/v1.0/subclouds/a", body, role="operator")).status == 403
    assert api.transport.commands == []


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
async def test_role_before_body(api: ServedApi, method: str, path: str, body: object) -> None:
    """Who may not change anything learns nothing about the body."""
    assert (await api.send(method, path, b"not json", role="reader")).status == 403


@pytest.mark.parametrize("headers", [{}, {"X-Auth-Token": ""}, {"X-Project-Id": "admin", "X-User-Id": "admin"}])
async def test_no_token(api: ServedApi, headers: dict[str, str]) -> None:
    """Without a token nothing is done; who the caller says to be does not matter."""
    reply = await api.send("DELETE", "/v1.0/sw-update-strategy", role=None, headers=headers)

    assert reply.status == 401
    assert reply.detail == "Failed to validate access token: Authentication required"
    assert api.transport.commands == []


@pytest.mark.parametrize("token", ["nonsense", "prst_" + "x" * 43, "prst_\xfc", "<b>"])
async def test_bad_token(api: ServedApi, token: str) -> None:
    """An unknown token is refused and not repeated."""
    reply = await api.send("GET", "/v1.0/subclouds", role=None, headers={"X-Auth-Token": token})

    assert reply.status == 401
    assert reply.detail == "Failed to validate access token: Auth token is invalid"
    assert token not in reply.text.replace("<br", "")


async def test_revoked_token(api: ServedApi) -> None:
    """A revoked token ends with the very next request."""
    assert (await api.send("GET", "/v1.0/subclouds", role="admin")).status == 200

    TokenStore(api.database).revoke("admin")

    assert (await api.send("GET", "/v1.0/subclouds", role="admin")).status == 401


@pytest.mark.parametrize(
    ("project", "role", "allowed"),
    [
        ("admin", "reader", True),
        ("services", "reader", True),
        ("demo", "admin", False),
        (None, "admin", False),
        ("admin", "member", False),
    ],
)
def test_projects(project: str | None, role: str, allowed: bool) -> None:
    """Only callers of the projects admin and services may do anything."""
    assert Caller(name="a", roles=frozenset({role}), project=project).may(READ) == allowed


async def test_operators_pause_the_strategy(api: ServedApi) -> None:
    """An operator may pause the strategy and nothing else of it; readers may not."""
    path = "/v1.0/sw-update-strategy/actions"

    assert (await api.send("POST", path, {"action": "pause", "reason": "storm"}, role="operator")).status == 200
    assert api.transport.only.data == {"reason": "storm", "type": None}
    for action in ("apply", "abort", "resume", "cancel"):
        assert (await api.send("POST", path, {"action": action}, role="operator")).status == 403
    assert (await api.send("POST", path, {"action": "pause"}, role="reader")).status == 403
    assert len(api.transport.commands) == 1


async def test_operators_hold_a_site(api: ServedApi) -> None:
    """An operator may hold a site and end its hold; to put it first, to cancel it and to change limits are refused."""
    base = "/v1.0/sw-update-strategy"
    for held in (True, False):
        assert (await api.send("PATCH", f"{base}/steps/a", {"held": held}, role="operator")).status == 200
    assert [True, False] == [command.data["held"] for command in api.transport.commands]
    for method, path, body in (
        ("PATCH", f"{base}/steps/a", {"first": True}),
        ("POST", f"{base}/steps/a/cancel", {}),
        ("PATCH", base, {"max-parallel-subclouds": 1}),
    ):
        assert (await api.send(method, path, body, role="operator")).status == 403
    assert (await api.send("PATCH", f"{base}/steps/a", {"held": True}, role="reader")).status == 403
    assert len(api.transport.commands) == 2
