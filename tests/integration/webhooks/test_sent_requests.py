"""Requests to webhooks: content, signature, and which events are sent."""

from __future__ import annotations

import json
from time import time

import pytest

from db.inventory import installation_id
from db.schema import events, webhooks
from messages.commands import CommandType
from tests.integration.webhooks.receiver import Receiver
from tests.integration.webhooks.webhook_installation import WebhookInstallation, is_signed

# What the sender does is the same on both; what its statements do is tested on both in test_repository.
pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


class TestRequest:
    async def test_event(self, installation: WebhookInstallation, receiver: Receiver) -> None:
        """A receiver gets the very CloudEvent of the exchange and the stream, signed, under an id that stays."""
        webhook_id = installation.add("ops", receiver.url)
        (number,) = installation.tell()

        await installation.send()

        (got,) = receiver.got
        with installation.database.read() as connection:
            own_id = installation_id(connection)
        assert json.loads(got.body) == {
            "specversion": "1.0",
            "id": str(number),
            "source": f"/prestager/{own_id}",
            "type": "io.prestager.event.step.prestage.complete",
            "subject": "step/1",
            "time": "2026-11-22T12:00:00+00:00",
            "datacontenttype": "application/json",
            "data": {"strategy": 1, "subcloud": "edge-1", "stage": 1},
        }
        assert "application/cloudevents+json" == got.headers["Content-Type"]
        assert got.headers["User-Agent"].startswith("Prestager/")
        assert f"{own_id}/{webhook_id}/{number}" == got.headers["webhook-id"]
        assert "." not in got.headers["webhook-id"]
        assert abs(time() - int(got.headers["webhook-timestamp"])) < 60
        assert is_signed(got)
        assert not is_signed(got, "whsec_" + "b3RoZXI=" * 4)

    async def test_both_secrets_for_a_day(self, installation: WebhookInstallation, receiver: Receiver) -> None:
        """After a change of the secret the old one signs too for a day, and not a moment longer."""
        installation.add("ops", receiver.url)
        other = "whsec_" + "b3RoZXIx" * 4
        assert 200 == installation.change("ops", secret=other).status
        installation.tell()
        await installation.send()
        installation.set(webhooks, old_until=1.0)
        installation.tell()
        await installation.send()

        both, one = receiver.got
        assert (True, True) == (is_signed(both), is_signed(both, other))
        assert (False, True) == (is_signed(one), is_signed(one, other))
        # And the old one is nowhere any more.
        assert installation.webhook("ops")["old_sealed"] is None

    async def test_filters(self, installation: WebhookInstallation, receiver: Receiver) -> None:
        """A webhook gets what its types and its subcloud say, the abort of many steps too."""
        installation.add("ops", receiver.url, types=["step.prestage.f", "strategy."], subcloud="edge-2")
        installation.tell(kind="step.prestage.failed", subcloud="edge-2")
        installation.tell(kind="step.prestage.failed", subcloud="edge-1")
        installation.tell(kind="step.prestage.complete", subcloud="edge-2")
        installation.tell(kind="strategy.prestage.aborted", subcloud=None, steps=[{"subcloud": "edge-2"}])

        await installation.send()

        assert ["step.prestage.failed", "strategy.prestage.aborted"] == [
            json.loads(got.body)["type"].removeprefix("io.prestager.event.") for got in receiver.got
        ]

    async def test_only_from_now_on(self, installation: WebhookInstallation, receiver: Receiver) -> None:
        """A new webhook gets nothing of before."""
        installation.tell(3)
        installation.add("ops", receiver.url)
        (number,) = installation.tell()
        await installation.send()

        assert [str(number)] == [json.loads(got.body)["id"] for got in receiver.got]

    async def test_ping(self, installation: WebhookInstallation, receiver: Receiver) -> None:
        """A ping goes to that webhook alone, whatever its filters, and to no exchange and no stream."""
        installation.add("ops", receiver.url, types=["strategy."])
        installation.add("other", receiver.url + "/other")
        made = installation.ask(CommandType.WEBHOOK_PING, "ops")
        await installation.send()

        (got,) = receiver.got
        body = json.loads(got.body)
        assert ("io.prestager.event.webhook.ping", "webhook/ops", {"webhook": "ops"}) == (
            body["type"],
            body["subject"],
            body["data"],
        )
        assert is_signed(got)
        assert [("delivered", made.body["id"])] == [(row["state"], row["id"]) for row in installation.rows()]
        assert [] == installation.rows(events)
