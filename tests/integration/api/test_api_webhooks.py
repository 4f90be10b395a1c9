"""/v1.0/webhooks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from api.webhooks import _SHOWN_ALREADY
from db.encryption import Sealer
from db.schema import webhook_deliveries, webhooks
from messages.commands import Answer, CommandType
from messages.webhook_secrets import key_of, seal_tag
from tests.support import api_rows
from tests.support.served_api import ServedApi

BASE = "/v1.0/webhooks"
SECRET = "whsec_" + "c2VjcmV0" * 4
NEW = {"name": "ops", "url": "http://receiver.example/t0ken"}


def webhook(webhook_id: int, name: str, **values: Any) -> dict[str, Any]:
    """Return a row."""
    return {
        "id": webhook_id,
        "name": name,
        "url": "http://receiver.example/t0ken",
        "types": [],
        "enabled": True,
        "disabled_reason": "",
        "sealed": "sealed-thing",
        "bound_to": "a/1",
        "cursor": 0,
        "created_at": api_rows.CREATED,
        **values,
    }


def delivery(delivery_id: int, **values: Any) -> dict[str, Any]:
    """Return a row."""
    return {
        "id": delivery_id,
        "webhook_id": 1,
        "event_id": delivery_id + 100,
        "type": "step.prestage.complete",
        "subject": "step/7",
        "cause": "event",
        "state": "delivered",
        "attempts": 1,
        "next_attempt_at": None,
        "error": "",
        "created_at": api_rows.CREATED,
        **values,
    }


@pytest.fixture
def answered(api: ServedApi) -> ServedApi:
    """The API with a coordinator that stores the secret that comes first, as the real one does."""
    stored: dict[str, str] = {}

    class Stored:
        def __init__(self) -> None:
            self.commands = api.transport.commands

        async def request(self, command: Any) -> Answer:
            self.commands.append(command)
            tag = stored.setdefault(command.id, seal_tag(command.sealed_password or ""))
            return Answer(status=200, body={"name": "ops", "secret-tag": tag})

    api.transport.request = Stored().request  # type: ignore[method-assign]
    return api


def opened(api: ServedApi, sealer: Sealer) -> str:
    """Return the secret that the first command carried."""
    command = api.transport.commands[0]
    return sealer.open(str(command.sealed_password), bound_to=command.id)


async def test_made_secret(answered: ServedApi, sealer: Sealer) -> None:
    """A secret that nobody gave is made, travels sealed for that command, and is in the answer."""
    reply = await answered.send("POST", BASE, NEW)

    assert {"name": "ops", "secret": opened(answered, sealer)} == reply.json
    assert 32 == len(key_of(reply.json["secret"]))
    assert (CommandType.WEBHOOK_CREATE, NEW) == (answered.transport.only.type, answered.transport.only.data)


async def test_given_secret(answered: ServedApi, sealer: Sealer) -> None:
    """A secret that the caller gave travels sealed, and is in no answer."""
    reply = await answered.send("POST", BASE, {**NEW, "secret": SECRET})

    assert {"name": "ops"} == reply.json
    assert SECRET == opened(answered, sealer)
    assert NEW == answered.transport.only.data


async def test_shown_once(answered: ServedApi) -> None:
    """A repeat by the same key gets the webhook without the secret, and a note that says what to do."""
    key = {"Idempotency-Key": "one"}
    first = await answered.send("POST", BASE, NEW, headers=key)
    again = await answered.send("POST", BASE, NEW, headers=key)

    assert first.json["secret"].startswith("whsec_")
    assert {"name": "ops", "secret": None, "note": _SHOWN_ALREADY} == again.json
    assert answered.transport.commands[0].digest() == answered.transport.commands[1].digest()


@pytest.mark.parametrize("secret", ["", "plain", "whsec_c2hvcnQ=", 5, ["whsec_"], True])
async def test_secret_in_a_wrong_form(api: ServedApi, secret: object) -> None:
    """A secret that is none goes on as that fact alone."""
    await api.send("POST", BASE, {**NEW, "secret": secret})

    command = api.transport.only
    assert (None, "undecodable", NEW) == (command.sealed_password, command.password_fault, command.data)


async def test_change(answered: ServedApi, sealer: Sealer) -> None:
    """A change goes on as written; with `rotate` a secret is made and shown, and without it none is."""
    plain = await answered.send("PATCH", f"{BASE}/ops", {"types": []})
    turned = await answered.send("PATCH", f"{BASE}/ops", {"rotate": True})
    given = await answered.send("PATCH", f"{BASE}/ops", {"secret": SECRET})

    first, second, third = answered.transport.commands
    assert ({"name": "ops"}, {"name": "ops"}) == (plain.json, given.json)
    assert turned.json["secret"] == sealer.open(str(second.sealed_password), bound_to=second.id)
    assert (None, "ops", {"types": []}) == (first.sealed_password, first.subject, first.data)
    assert (SECRET, {}) == (sealer.open(str(third.sealed_password), bound_to=third.id), third.data)


@pytest.mark.parametrize(
    ("method", "path", "kind", "data"),
    [
        ("DELETE", "/ops", CommandType.WEBHOOK_DELETE, {}),
        ("POST", "/ops/ping", CommandType.WEBHOOK_PING, {}),
        ("POST", "/ops/deliveries/12/redeliver", CommandType.WEBHOOK_REDELIVER, {"delivery": 12}),
    ],
)
async def test_wishes(api: ServedApi, method: str, path: str, kind: CommandType, data: Mapping[str, Any]) -> None:
    """Other wishes go on with the reference as written."""
    await api.send(method, BASE + path)

    assert (kind, "ops", data) == (api.transport.only.type, api.transport.only.subject, api.transport.only.data)


async def test_list_and_show(api: ServedApi) -> None:
    """A webhook is shown with the number of its open deliveries, in the order of names, and never with its secret."""
    api.insert(webhooks, webhook(1, "ops", types=["step."], disabled_reason="gone", enabled=False), webhook(2, "b"))
    api.insert(webhook_deliveries, delivery(1, state="pending", next_attempt_at=5.0))

    listed = await api.send("GET", f"{BASE}/", role="configurator")
    shown = await api.send("GET", f"{BASE}/1")

    assert ["b", "ops"] == [one["name"] for one in listed.json["webhooks"]]
    assert listed.json["webhooks"][1] == shown.json == (await api.send("GET", f"{BASE}/ops")).json
    assert {
        "id": 1,
        "name": "ops",
        "url": "http://receiver.example/t0ken",
        "types": ["step."],
        "subcloud": None,
        "enabled": False,
        "disabled-at": None,
        "disabled-reason": "gone",
        "failing-since": None,
        "old-secret-until": None,
        "created-at": api_rows.CREATED_ZONED,
        "updated-at": None,
        "open-deliveries": 1,
    } == shown.json
    assert "sealed-thing" not in listed.text + shown.text


async def test_deliveries(api: ServedApi) -> None:
    """The log is shown newest first, page by page, of one webhook alone, and by state when asked for."""
    api.insert(webhooks, webhook(1, "ops"), webhook(2, "b"))
    waiting = {"state": "pending", "next_attempt_at": 60.0, "error": "Away.", "last_status": 500, "duration_s": 0.5}
    api.insert(webhook_deliveries, *(delivery(number) for number in (1, 2)))
    api.insert(webhook_deliveries, delivery(3, **waiting))
    api.insert(webhook_deliveries, delivery(4, webhook_id=2))

    first = (await api.send("GET", f"{BASE}/ops/deliveries?limit=2")).json
    second = (await api.send("GET", first["next"])).json
    pending = (await api.send("GET", f"{BASE}/1/deliveries?state=pending")).json["deliveries"]

    assert ([3, 2], [1], None) == (
        [one["id"] for one in first["deliveries"]],
        [one["id"] for one in second["deliveries"]],
        second["next"],
    )
    assert pending == [(await api.send("GET", f"{BASE}/ops/deliveries/3")).json]
    assert {
        "id": 3,
        "webhook-id": 1,
        "event-id": 103,
        "type": "step.prestage.complete",
        "subject": "step/7",
        "cause": "event",
        "state": "pending",
        "attempts": 1,
        "next-attempt-at": "1970-01-01T00:01:00.000+00:00",
        "status": 500,
        "error": "Away.",
        "duration-s": 0.5,
        "attempted-at": None,
        "created-at": api_rows.CREATED_ZONED,
        "finished-at": None,
    } == pending[0]


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/nobody", 404, "Webhook not found"),
        ("/a%00b", 404, "Webhook not found"),
        ("/9", 404, "Webhook not found"),
        ("/nobody/deliveries", 404, "Webhook not found"),
        ("/ops/deliveries/9", 404, "Delivery not found"),
        ("/ops/deliveries/x", 404, "Delivery not found"),
        ("/ops/deliveries/" + "9" * 30, 404, "Delivery not found"),
        ("/ops/deliveries?state=lost", 400, "state must be one of pending, delivered, failed"),
        ("/ops/deliveries?limit=0", 400, "limit must be a number from 1 to 1000"),
    ],
)
async def test_faults(api: ServedApi, path: str, status: int, detail: str) -> None:
    """What is not there is not found; what cannot be asked is told."""
    api.insert(webhooks, webhook(1, "ops"))

    reply = await api.send("GET", BASE + path)

    assert (status, detail) == (reply.status, reply.detail)


PATHS = (
    ("GET", ""),
    ("POST", ""),
    ("GET", "/ops"),
    ("PATCH", "/ops"),
    ("DELETE", "/ops"),
    ("POST", "/ops/ping"),
    ("GET", "/ops/deliveries"),
    ("GET", "/ops/deliveries/1"),
    ("POST", "/ops/deliveries/1/redeliver"),
)


@pytest.mark.parametrize("role", ["reader", "operator"])
async def test_rights(api: ServedApi, role: str) -> None:
    """Webhooks are for those who may change them, to read as well: a URL may hold a token."""
    statuses = [(await api.send(method, BASE + path, NEW, role=role)).status for method, path in PATHS]

    assert [403] * len(PATHS) == statuses
    assert [] == api.transport.commands


@pytest.mark.parametrize(
    "body", [{**NEW, "secret": SECRET}, {"secret": SECRET + "!"}, {"rotate": True, "secret": SECRET}]
)
@pytest.mark.parametrize(
    "answer", [Answer(status=200, body={"secret-tag": "x"}), Answer(status=400, detail="no"), RuntimeError()]
)
async def test_secrets_stay_inside(
    api: ServedApi, capfd: pytest.CaptureFixture[str], body: Mapping[str, Any], answer: Answer | Exception
) -> None:
    """A given secret is in no message, no log and no answer, whatever becomes of the request."""
    api.transport.answer = answer

    replies = [await api.send(method, path, body) for method, path in (("POST", BASE), ("PATCH", f"{BASE}/ops"))]

    messages = [command.model_dump_json() for command in api.transport.commands]
    for text in (*messages, *capfd.readouterr(), *(reply.text for reply in replies)):
        assert SECRET not in text
