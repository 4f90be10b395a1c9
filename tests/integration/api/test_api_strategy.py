from __future__ import annotations

import pytest

from db.encryption import Sealer
from db.schema import strategies
from messages.commands import Answer, CommandType
from tests.support import api_rows
from tests.support.served_api import Rig

BASE = "/v1.0/sw-update-strategy"


async def test_show(rig: Rig) -> None:
    """The active strategy is shown with every key of the contract, times as the database's; never the password.

    Who was left out at create is part of it.
    """
    excluded = [{"name": "b", "reason": "Prestage skipped 'b': Subcloud is offline."}]
    rig.insert(strategies, api_rows.strategy(1, deleted_at=api_rows.CREATED), api_rows.strategy(2, excluded=excluded))

    reply = await rig.send("GET", f"{BASE}?type=prestage", role="reader")

    assert reply.json == {
        "id": 2,
        "type": "prestage",
        "subcloud-apply-type": None,
        "max-parallel-subclouds": None,
        "stop-on-failure": False,
        "state": "applying",
        "created-at": api_rows.CREATED_READ,
        "updated-at": None,
        "extra-args": {"force": True, "prestage-software-version": "22.12", "for_sw_deploy": False},
        "excluded-subclouds": excluded,
    }
    assert reply.headers["content-type"] == "application/json"
    assert (await rig.send("GET", f"{BASE}/")).json == reply.json
    assert (await rig.send("GET", f"{BASE}?type=")).json == reply.json


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("", "Strategy not found"),
        ("?type=prestage", "Strategy of type 'prestage' not found"),
        ("?type=%3Cb%3E%26", "Strategy of type '<b>&' not found"),
        ("?type=%ED%A0%80%FF", "Strategy of type '\ufffd\ufffd\ufffd\ufffd' not found"),
    ],
)
async def test_show_none(rig: Rig, query: str, detail: str) -> None:
    """Without a strategy the answer is 404, naming the type where one was asked for; history does not count."""
    rig.insert(strategies, api_rows.strategy(1, deleted_at=api_rows.CREATED))

    reply = await rig.send("GET", f"{BASE}{query}")

    assert reply.status == 404
    assert reply.detail == detail


async def test_show_other_type(rig: Rig) -> None:
    """A strategy of another type is not the one asked for."""
    rig.insert(strategies, api_rows.strategy(1))

    reply = await rig.send("GET", f"{BASE}?type=kubernetes")

    sentence = "This is Prestager, which stages releases; dcmanager's own API serves this."
    assert (reply.status, reply.detail) == (404, f"Strategy of type 'kubernetes' not found. {sentence}")


async def test_create(rig: Rig, sealer: Sealer) -> None:
    """A create goes to the coordinator as written, with the password sealed under the command's id."""
    rig.transport.answer = Answer(status=200, body={"state": "initial"})

    reply = await rig.send("POST", BASE, {"type": "nonsense", "force": [1, None], "sysadmin_password": "TGk2OW51eCo="})

    assert reply.json == {"state": "initial"}
    command = rig.transport.only
    assert command.type == CommandType.STRATEGY_CREATE
    assert command.subject is None
    assert command.data == {"type": "nonsense", "force": [1, None]}
    assert command.password_fault is None
    assert command.requested_by == "admin"
    assert sealer.open(command.sealed_password or "", bound_to=command.id) == "Li69nux*"


async def test_create_with_an_unknown_field(rig: Rig) -> None:
    """A name that is not known goes nowhere, for it may be that of the password; the nearest is told."""
    reply = await rig.send("POST", BASE, {"type": "prestage", "sysadmin_pasword": "TGk2OW51eCo="})

    assert (reply.status, reply.detail) == (400, "Unknown field: sysadmin_pasword; did you mean sysadmin_password?")
    assert rig.transport.commands == []


async def test_create_with_a_field_of_dcmanager(rig: Rig) -> None:
    """What dcmanager knows of another type of strategy is let through; the coordinator names it."""
    reply = await rig.send("POST", BASE, {"type": "prestage", "rollback": False, "sysadmin_password": "TGk2OW51eCo="})

    assert (reply.status, rig.transport.only.data) == (200, {"type": "prestage", "rollback": False})


@pytest.mark.parametrize(
    ("password", "fault"),
    [({}, "missing"), ({"sysadmin_password": ""}, "missing"), ({"sysadmin_password": "abc"}, "undecodable")],
)
async def test_create_without_good_password(rig: Rig, password: dict[str, str], fault: str) -> None:
    """The fault of a password goes to the coordinator, which knows in which order faults are told."""
    await rig.send("POST", BASE, {"type": "prestage", **password})

    assert rig.transport.only.password_fault == fault
    assert rig.transport.only.sealed_password is None
    assert rig.transport.only.data == {"type": "prestage"}


@pytest.mark.parametrize("body", [b"", b" \n", b"{}"])
@pytest.mark.parametrize("path", [BASE, f"{BASE}/actions"])
async def test_nothing_in_the_body(rig: Rig, path: str, body: bytes) -> None:
    """An empty body or object is refused by name."""
    reply = await rig.send("POST", path, body)

    assert (reply.status, reply.detail) == (400, "Body required")
    assert rig.transport.commands == []


@pytest.mark.parametrize("body", [b"abc", b"[1]", b'"a"', b'{"type": NaN}', b'{"a": "\xff"}', b"{" * 100_000])
async def test_unreadable_body(rig: Rig, body: bytes) -> None:
    """What is no JSON object is refused by the same text everywhere."""
    for path in (BASE, f"{BASE}/actions", "/v1.0/subcloud-groups", "/v1.0/subclouds"):
        reply = await rig.send("POST", path, body)
        assert (reply.status, reply.detail) == (400, "Request body is malformed.")
    assert rig.transport.commands == []


@pytest.mark.parametrize(
    ("action", "command_type"), [("apply", CommandType.STRATEGY_APPLY), ("abort", CommandType.STRATEGY_ABORT)]
)
async def test_actions(rig: Rig, action: str, command_type: CommandType) -> None:
    """Apply and abort carry the type of the query, null without one."""
    for query in ("?type=prestage", ""):
        assert (await rig.send("POST", f"{BASE}/actions{query}", {"action": action})).status == 200

    assert [c.type for c in rig.transport.commands] == [command_type] * 2
    assert [c.data for c in rig.transport.commands] == [{"type": "prestage"}, {"type": None}]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"x": 1}, "action required"),
        ({"action": ""}, "action required"),
        ({"action": None}, "action required"),
        ({"action": "create"}, "action invalid"),
        ({"action": ["apply"]}, "action invalid"),
        ({"action": 1}, "action invalid"),
    ],
)
async def test_wrong_actions(rig: Rig, body: dict[str, object], detail: str) -> None:
    """Only apply and abort are actions."""
    reply = await rig.send("POST", f"{BASE}/actions", body)

    assert (reply.status, reply.detail) == (400, detail)
    assert rig.transport.commands == []


async def test_delete(rig: Rig) -> None:
    """A delete carries the type of the query, and its answer is what the coordinator says."""
    rig.transport.answer = Answer(status=422, detail="Unable to delete strategy of type 'prestage': because")

    reply = await rig.send("DELETE", f"{BASE}?type=prestage")

    assert (reply.status, reply.detail) == (422, "Unable to delete strategy of type 'prestage': because")
    assert rig.transport.only.type == CommandType.STRATEGY_DELETE
    assert rig.transport.only.data == {"type": "prestage"}
