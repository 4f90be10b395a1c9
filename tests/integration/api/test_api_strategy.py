from __future__ import annotations

import pytest

from db.encryption import Sealer
from db.schema import strategies
from messages.commands import Answer, CommandType
from tests.support import api_rows
from tests.support.served_api import ServedApi

BASE = "/v1.0/sw-update-strategy"


async def test_show(api: ServedApi) -> None:
    """The active strategy is shown with every key of the contract, times as the database's; never the password.

    Who was left out at create is part of it.
    """
    excluded = [{"name": "b", "reason": "Prestage skipped 'b': Subcloud is offline."}]
    api.insert(strategies, api_rows.strategy(1, deleted_at=api_rows.CREATED), api_rows.strategy(2, excluded=excluded))

    reply = await api.send("GET", f"{BASE}?type=prestage", role="reader")

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
        "rollout": {},
        "holds": [],
        "retry-of": None,
        "limit-reached": "",
        "commands": ["abort", "cancel", "pause", "update"],
        "commands-refused": {
            "apply": "the strategy is applied already",
            "approve": "no stage waits for an approval",
            "delete": "the strategy goes on; abort or cancel it first",
            "deny": "no stage waits for an approval",
            "resume": "nothing is held",
            "retry": "the strategy has not ended; single sites can be retried",
        },
        "progress": {
            **dict.fromkeys(("total", "not-started", "queued", "running", "preparing", "parked"), 0),
            **dict.fromkeys(("complete", "skipped", "failed", "aborted", "cancelled"), 0),
            "started-at": None,
            "last-change-at": None,
            "pace": 0.0,
            "usual": {},
            "eta": None,
            "eta-missing": "not worked out yet",
            "blocked-by": [],
            "stage": None,
        },
    }
    assert reply.headers["content-type"] == "application/json"
    assert (await api.send("GET", f"{BASE}/")).json == reply.json
    assert (await api.send("GET", f"{BASE}?type=")).json == reply.json


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("", "Strategy not found"),
        ("?type=prestage", "Strategy of type 'prestage' not found"),
        ("?type=%3Cb%3E%26", "Strategy of type '<b>&' not found"),
        ("?type=%ED%A0%80%FF", "Strategy of type '\ufffd\ufffd\ufffd\ufffd' not found"),
    ],
)
async def test_show_none(api: ServedApi, query: str, detail: str) -> None:
    """Without a strategy the answer is 404, naming the type where one was asked for; history does not count."""
    api.insert(strategies, api_rows.strategy(1, deleted_at=api_rows.CREATED))

    reply = await api.send("GET", f"{BASE}{query}")

    assert reply.status == 404
    assert reply.detail == detail


async def test_show_other_type(api: ServedApi) -> None:
    """A strategy of another type is not the one asked for."""
    api.insert(strategies, api_rows.strategy(1))

    reply = await api.send("GET", f"{BASE}?type=kubernetes")

    sentence = "This is Prestager, which stages releases; dcmanager's own API serves this."
    assert (reply.status, reply.detail) == (404, f"Strategy of type 'kubernetes' not found. {sentence}")


async def test_create(api: ServedApi, sealer: Sealer) -> None:
    """A create goes to the coordinator as written, with the password sealed under the command's id."""
    api.transport.answer = Answer(status=200, body={"state": "initial"})

    reply = await api.send("POST", BASE, {"type": "nonsense", "force": [1, None], "sysadmin_password": "TGk2OW51eCo="})

    assert reply.json == {"state": "initial"}
    command = api.transport.only
    assert command.type == CommandType.STRATEGY_CREATE
    assert command.subject is None
    assert command.data == {"type": "nonsense", "force": [1, None]}
    assert command.password_fault is None
    assert command.requested_by == "admin"
    assert sealer.open(command.sealed_password or "", bound_to=command.id) == "Li69nux*"


async def test_create_with_an_unknown_field(api: ServedApi) -> None:
    """A name that is not known goes nowhere, for it may be that of the password; the nearest is told."""
    reply = await api.send("POST", BASE, {"type": "prestage", "sysadmin_pasword": "TGk2OW51eCo="})

    assert (reply.status, reply.detail) == (400, "Unknown field: sysadmin_pasword; did you mean sysadmin_password?")
    assert api.transport.commands == []


@pytest.mark.parametrize(
    ("method", "path", "body", "told"),
    [
        (
            "POST",
            f"{BASE}/actions",
            {"action": "resume", "sysadmin_pasword": "TGk2OW51eCo="},
            "sysadmin_pasword; did you mean sysadmin_password?",
        ),
        ("POST", f"{BASE}/actions", {"action": "pause", "reasons": "x"}, "reasons; did you mean reason?"),
        ("POST", f"{BASE}/actions", {"action": "cancel", "grace": 1}, "grace; did you mean grace-s?"),
        ("PATCH", BASE, {"rollouts": {}}, "rollouts; did you mean rollout?"),
    ],
)
async def test_changes_with_an_unknown_field(
    api: ServedApi, method: str, path: str, body: dict[str, object], told: str
) -> None:
    """A name that is not known of an action or a change goes nowhere either; the nearest is told."""
    reply = await api.send(method, path, body)

    assert (reply.status, reply.detail) == (400, f"Unknown field: {told}")
    assert api.transport.commands == []


@pytest.mark.parametrize(("query", "expected"), [("", "patch"), ("?type=prestage", "prestage")])
async def test_the_type_of_a_changed_strategy(api: ServedApi, query: str, expected: str) -> None:
    """The type of the strategy that is changed is that of the query, else that of the body."""
    await api.send("PATCH", BASE + query, {"type": "patch", "max-parallel-subclouds": 3})

    assert {"type": expected, "max-parallel-subclouds": 3} == api.transport.only.data


async def test_create_with_a_field_of_dcmanager(api: ServedApi) -> None:
    """What dcmanager knows of another type of strategy is let through; the coordinator names it."""
    reply = await api.send("POST", BASE, {"type": "prestage", "rollback": False, "sysadmin_password": "TGk2OW51eCo="})

    assert (reply.status, api.transport.only.data) == (200, {"type": "prestage", "rollback": False})


@pytest.mark.parametrize(
    ("password", "fault"),
    [({}, "missing"), ({"sysadmin_password": ""}, "missing"), ({"sysadmin_password": "abc"}, "undecodable")],
)
async def test_create_without_good_password(api: ServedApi, password: dict[str, str], fault: str) -> None:
    """The fault of a password goes to the coordinator, which knows in which order faults are told."""
    await api.send("POST", BASE, {"type": "prestage", **password})

    assert api.transport.only.password_fault == fault
    assert api.transport.only.sealed_password is None
    assert api.transport.only.data == {"type": "prestage"}


@pytest.mark.parametrize("body", [b"", b" \n", b"{}"])
@pytest.mark.parametrize("path", [BASE, f"{BASE}/actions"])
async def test_nothing_in_the_body(api: ServedApi, path: str, body: bytes) -> None:
    """An empty body or object is refused by name."""
    reply = await api.send("POST", path, body)

    assert (reply.status, reply.detail) == (400, "Body required")
    assert api.transport.commands == []


@pytest.mark.parametrize("body", [b"abc", b"[1]", b'"a"', b'{"type": NaN}', b'{"a": "\xff"}', b"{" * 100_000])
async def test_unreadable_body(api: ServedApi, body: bytes) -> None:
    """What is no JSON object is refused by the same text everywhere."""
    for path in (BASE, f"{BASE}/actions", "/v1.0/subcloud-groups", "/v1.0/subclouds"):
        reply = await api.send("POST", path, body)
        assert (reply.status, reply.detail) == (400, "Request body is malformed.")
    assert api.transport.commands == []


@pytest.mark.parametrize(
    ("action", "command_type"), [("apply", CommandType.STRATEGY_APPLY), ("abort", CommandType.STRATEGY_ABORT)]
)
async def test_actions(api: ServedApi, action: str, command_type: CommandType) -> None:
    """Apply and abort carry the type of the query, null without one."""
    for query in ("?type=prestage", ""):
        assert (await api.send("POST", f"{BASE}/actions{query}", {"action": action})).status == 200

    assert [c.type for c in api.transport.commands] == [command_type] * 2
    assert [c.data for c in api.transport.commands] == [{"type": "prestage"}, {"type": None}]


async def test_wrong_actions(api: ServedApi) -> None:
    """Only apply and abort are actions."""
    reply = await api.send("POST", f"{BASE}/actions", {"action": "create"})

    assert (reply.status, reply.detail) == (400, "action invalid")
    assert api.transport.commands == []


async def test_delete(api: ServedApi) -> None:
    """A delete carries the type of the query, and its answer is what the coordinator says."""
    api.transport.answer = Answer(status=422, detail="Unable to delete strategy of type 'prestage': because")

    reply = await api.send("DELETE", f"{BASE}?type=prestage")

    assert (reply.status, reply.detail) == (422, "Unable to delete strategy of type 'prestage': because")
    assert api.transport.only.type == CommandType.STRATEGY_DELETE
    assert api.transport.only.data == {"type": "prestage"}
