"""Commands about webhooks and how they are answered."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from time import time
from typing import Any

import pytest
from sqlalchemy import delete, text

from broker.amqp.cloudevents import to_command
from db.schema import audit, commands, events, webhook_deliveries, webhooks
from db.unit_of_work import UnitOfWork
from db.webhooks import disable
from messages.commands import Command, CommandType
from messages.webhook_secrets import seal_tag
from tests.integration.webhooks.webhook_installation import SECRET, WebhookInstallation
from tests.support.waiting import PATIENCE_S, wait_for

# The statements are tried on both databases by one test; the rules are the same on both.
on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"])

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
URL = "http://receiver.example/hook/t0ken"
NO_SECRET = (
    "Invalid webhook secret: one that is made could not be told; give your own as data.sealed_password, see: prestager"
    " seal"
)
NOT_FOUND = (404, "Webhook not found")
TAKEN = (400, "A webhook with this name already exists")
DISABLED = (422, "Webhook ops is disabled; enable it first")


def said(answer: Any) -> tuple[int, str]:
    """Return status and sentence."""
    return answer.status, answer.detail


def test_life(installation: WebhookInstallation) -> None:
    """A webhook is made, changed, tried, and removed with its log; each answer shows it without its secret."""
    made = installation.ask(CommandType.WEBHOOK_CREATE, secret=SECRET, name="ops", url=URL, types=["step."])
    changed = installation.change("ops", name="night", subcloud="edge-1")
    turned = installation.change("night", rotate=True, secret=SECRET)
    pinged = installation.ask(CommandType.WEBHOOK_PING, "night")
    hurried = installation.ask(CommandType.WEBHOOK_REDELIVER, "1", delivery=pinged.body["id"])
    disabled = installation.change("night", enabled=False)
    enabled = installation.change("night", enabled=True)
    removed = installation.ask(CommandType.WEBHOOK_DELETE, "night")

    assert {
        "id": 1,
        "name": "ops",
        "url": URL,
        "types": ["step."],
        "subcloud": None,
        "enabled": True,
        "disabled-at": None,
        "disabled-reason": None,
        "failing-since": None,
        "old-secret-until": None,
        "updated-at": None,
    }.items() <= made.body.items()
    assert ("night", "edge-1", ["step."]) == tuple(changed.body[key] for key in ("name", "subcloud", "types"))
    assert turned.body["old-secret-until"] is not None
    assert ("webhook.ping", "pending", 0) == tuple(pinged.body[key] for key in ("type", "state", "attempts"))
    assert pinged.body["id"] == hurried.body["id"]
    assert (False, None) == (disabled.body["enabled"], disabled.body["disabled-reason"])
    assert disabled.body["disabled-at"] is not None
    assert (True, None) == (enabled.body["enabled"], enabled.body["disabled-at"])
    assert (200, None) == (removed.status, removed.body)
    assert ([], []) == (installation.rows(webhooks), installation.rows(webhook_deliveries))


@pytest.mark.parametrize("database_kind", ["postgresql"])
@pytest.mark.parametrize("kind", [CommandType.WEBHOOK_PING, CommandType.WEBHOOK_REDELIVER])
def test_disabled_at_this_moment(installation: WebhookInstallation, kind: CommandType) -> None:
    """Nothing is added to a webhook that is being disabled by another process: it would stay open for ever."""
    installation.add("ops", URL)
    installation.tell()
    number = installation.ask(CommandType.WEBHOOK_PING, "ops").body["id"]
    installation.set(
        webhook_deliveries, state="failed", next_attempt_at=None, event_id=installation.rows(events)[-1]["id"]
    )
    data = {} if kind is CommandType.WEBHOOK_PING else {"delivery": number}
    with ThreadPoolExecutor(1) as thread:
        with installation.database.write() as connection:
            disable(UnitOfWork(connection, AT), 1, "")
            answer = thread.submit(lambda: installation.ask(kind, "ops", **data))
            wait_for(lambda: answer.done() or is_one_waiting(installation))

        assert DISABLED == said(answer.result(PATIENCE_S))
    assert [None] == [row["next_attempt_at"] for row in installation.rows()]


def is_one_waiting(installation: WebhookInstallation) -> bool:
    """Tell whether a transaction waits for a row that another one holds."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with installation.database.read() as connection:
        return bool(connection.execute(text(waiting)).scalar_one())


@on_sqlite
class TestCreate:
    def test_secret_is_needed(self, installation: WebhookInstallation) -> None:
        """Who sends by message gives the secret sealed: one that is made could not be told."""
        assert (400, NO_SECRET) == said(installation.ask(CommandType.WEBHOOK_CREATE, name="ops", url=URL))

    def test_secret_in_a_wrong_form(self, installation: WebhookInstallation) -> None:
        """A secret whose form the API found wrong is refused in its turn."""
        data = {"name": "ops", "url": URL}
        command = Command(type=CommandType.WEBHOOK_CREATE, data=data, password_fault="undecodable")
        wrong_name = command.model_copy(update={"id": "2", "data": {**data, "name": "1"}})

        assert installation.coordinator.execute(command).detail.startswith(
            "Invalid webhook secret: give whsec_ followed by"
        )
        assert installation.coordinator.execute(wrong_name).detail.startswith("Invalid webhook name")

    def test_faults_are_refusals(self, installation: WebhookInstallation) -> None:
        """A wrong body is a 400 with its sentence, and nothing is made."""
        answer = installation.ask(CommandType.WEBHOOK_CREATE, secret=SECRET, name="ops", url="ftp://x")

        assert 400 == answer.status
        assert answer.detail.startswith("Invalid webhook url: ")
        assert [] == installation.rows(webhooks)

    def test_names_are_unique(self, installation: WebhookInstallation) -> None:
        """A name that is taken is refused, when making and when changing; one's own is not."""
        installation.add("ops", URL)
        installation.add("night", URL)

        assert TAKEN == said(installation.ask(CommandType.WEBHOOK_CREATE, secret=SECRET, name="ops", url=URL))
        assert TAKEN == said(installation.change("night", name="ops"))
        assert 200 == installation.change("ops", name="ops").status

    def test_not_too_many(self, installation: WebhookInstallation, monkeypatch: pytest.MonkeyPatch) -> None:
        """There are at most a hundred webhooks."""
        monkeypatch.setattr("actors.coordinator.webhooks._MOST_WEBHOOKS", 1)
        installation.add("ops", URL)

        answer = installation.ask(CommandType.WEBHOOK_CREATE, secret=SECRET, name="night", url=URL)

        assert (422, "There are 1 webhooks already; delete one first") == said(answer)

    def test_made_disabled(self, installation: WebhookInstallation) -> None:
        """A webhook may be made disabled."""
        installation.add("ops", URL, enabled=False)

        assert DISABLED == said(installation.ask(CommandType.WEBHOOK_PING, "ops"))

    def test_by_cloudevent(self, installation: WebhookInstallation) -> None:
        """A program makes a webhook over RabbitMQ with a secret that was sealed for that one command."""
        event = {
            "specversion": "1.0",
            "source": "//ci.example.net/night",
            "id": "hook-1",
            "type": "io.prestager.command.webhook.create",
            "data": {"request": {"name": "ops", "url": URL}},
        }
        command = to_command(json.dumps(event).encode(), own_source="", is_ours=False)
        event["data"]["sealed_password"] = installation.sealer.seal(SECRET, bound_to=command.id)  # type: ignore[index]
        answer = installation.coordinator.execute(to_command(json.dumps(event).encode(), own_source="", is_ours=False))

        row = installation.webhook("ops")
        assert 200 == answer.status
        assert SECRET == installation.sealer.open(row["sealed"], bound_to=row["bound_to"])


@on_sqlite
class TestUpdate:
    def test_unknown(self, installation: WebhookInstallation) -> None:
        """What is not there is not found."""
        for kind in (CommandType.WEBHOOK_UPDATE, CommandType.WEBHOOK_DELETE, CommandType.WEBHOOK_PING):
            assert NOT_FOUND == said(installation.ask(kind, "ops", name="x"))
        assert NOT_FOUND == said(installation.ask(CommandType.WEBHOOK_REDELIVER, None, delivery=1))

    def test_nothing_to_update(self, installation: WebhookInstallation) -> None:
        """A change without a change is refused."""
        installation.add("ops", URL)

        assert (400, "nothing to update") == said(installation.change("ops"))
        assert (400, "nothing to update") == said(installation.change("ops", rotate=False))

    def test_rotation_needs_a_secret(self, installation: WebhookInstallation) -> None:
        """Who sends by message gives the new secret sealed, too."""
        installation.add("ops", URL)

        assert (400, NO_SECRET) == said(installation.change("ops", rotate=True))

    def test_new_secret(self, installation: WebhookInstallation) -> None:
        """A new secret takes the place of the old one, which counts for a day more; the one before that is gone."""
        installation.add("ops", URL)
        first = installation.webhook("ops")
        installation.change("ops", secret=SECRET)
        second = installation.webhook("ops")
        answer = installation.change("ops", secret=SECRET)
        third = installation.webhook("ops")

        assert first["sealed"] == second["old_sealed"]
        assert second["sealed"] == third["old_sealed"]
        assert pytest.approx(time() + 86400, abs=60) == third["old_until"]
        assert seal_tag(third["sealed"]) == answer.body["secret-tag"]

    def test_another_url_begins_anew(self, installation: WebhookInstallation) -> None:
        """With another URL what failed before does not count."""
        installation.add("ops", URL)
        installation.set(webhooks, failing_since=5.0)
        kept = installation.change("ops", types=[])
        changed = installation.change("ops", url=URL + "/new")

        assert "1970-01-01T00:00:05.000+00:00" == kept.body["failing-since"]
        assert changed.body["failing-since"] is None

    def test_enabled_again(self, installation: WebhookInstallation) -> None:
        """Enabled again it gets nothing of what happened meanwhile; enabling what is enabled changes nothing."""
        installation.add("ops", URL)
        installation.tell(2)
        installation.change("ops", enabled=True)
        untouched = installation.webhook("ops")["cursor"]
        installation.change("ops", enabled=False)
        installation.change("ops", enabled=True)

        assert (0, 2) == (untouched, installation.webhook("ops")["cursor"])

    def test_no_event_of_a_wish(self, installation: WebhookInstallation) -> None:
        """Who disables a webhook needs no event to know it."""
        installation.add("ops", URL)
        installation.change("ops", enabled=False)

        assert [] == installation.rows(events)


@on_sqlite
class TestRedeliver:
    def ended(self, installation: WebhookInstallation, cause: CommandType | None = None) -> int:
        """Have a delivery end, of an event or a ping; return its id."""
        installation.tell()
        made = installation.ask(CommandType.WEBHOOK_PING, "ops").body["id"]
        values = {"state": "failed", "next_attempt_at": None}
        if cause is None:
            values |= {"event_id": installation.rows(events)[-1]["id"]}
        installation.set(webhook_deliveries, **values)
        return int(made)

    def test_refusals(self, installation: WebhookInstallation) -> None:
        """What cannot be sent again is refused with the reason."""
        installation.add("ops", URL)
        installation.add("other", URL)
        number = self.ended(installation)
        ask = lambda name, **data: said(installation.ask(CommandType.WEBHOOK_REDELIVER, name, **data))  # noqa: E731
        strange = ask("other", delivery=number)
        with installation.database.write() as connection:
            connection.execute(delete(events))
        forgotten = ask("ops", delivery=number)
        installation.set(webhook_deliveries, event_id=None)
        ping = ask("ops", delivery=number)

        assert (404, "Delivery not found") == strange == ask("ops", delivery=99)
        assert (422, "Event 1 is no longer kept") == forgotten
        assert (422, "A ping is not sent again; send another one") == ping
        assert (400, "Invalid delivery: give the id of a delivery") == ask("ops", delivery="1")
        installation.change("ops", enabled=False)
        assert DISABLED == ask("ops", delivery=number)


@on_sqlite
class TestKept:
    def test_secret_and_url(self, installation: WebhookInstallation) -> None:
        """No secret is in the database in the clear, and no URL in audit and events."""
        installation.add("ops", URL)
        installation.change("ops", secret=SECRET)
        installation.ask(CommandType.WEBHOOK_DELETE, "ops", secret=SECRET)

        kept = {table.name: str(installation.rows(table)) for table in (webhooks, audit, commands, events)}
        assert SECRET not in "".join(kept.values())
        assert "t0ken" not in kept["audit"] + kept["events"]

    def test_a_repeat_is_one(self, installation: WebhookInstallation) -> None:
        """The same command again is answered from what was stored, with the first seal's tag."""
        first = Command(
            id="a/1", type=CommandType.WEBHOOK_CREATE, data={"name": "ops", "url": URL}, sealed_password="first"
        )
        again = first.model_copy(update={"sealed_password": "second"})

        assert seal_tag("first") == installation.coordinator.execute(first).body["secret-tag"]
        assert seal_tag("first") == installation.coordinator.execute(again).body["secret-tag"]
        assert "first" == installation.webhook("ops")["sealed"]
