"""Order and number of deliveries that are under way, and deliveries that end early."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from threading import Event
from typing import Any

import pytest
from sqlalchemy import delete

from db.encryption import Sealer
from db.schema import events
from messages.commands import CommandType
from tests.integration.webhooks.receiver import Receiver, receiving
from tests.integration.webhooks.webhook_installation import SECRET, WebhookInstallation, is_signed
from tests.support.waiting import PATIENCE_S

# What the sender does is the same on both; what its statements do is tested on both in test_repository.
pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


@asynccontextmanager
async def during_a_try(installation: WebhookInstallation, receiver: Receiver) -> AsyncIterator[None]:
    """Be within the first try, whose answer comes only after the sender has looked once more."""
    receiver.hold.clear()
    sender = installation.sender()
    async with sender._client:
        await sender.poll()
        await receiver.busy(1)
        yield
        await sender.poll()
        receiver.hold.set()
        await sender.settle()


class TestOrder:
    async def test_in_the_order_of_events(self, installation: WebhookInstallation, receiver: Receiver) -> None:
        """As long as nothing fails events come one after the other in their order."""
        installation.add("ops", receiver.url)
        numbers = installation.tell(150)
        await installation.send()

        assert [str(number) for number in numbers] == [json.loads(got.body)["id"] for got in receiver.got]
        assert 1 == receiver.most_at_once

    async def test_a_failure_holds_nobody_up(self, installation: WebhookInstallation, receiver: Receiver) -> None:
        """What failed comes later; what follows it comes at once."""
        receiver.answers = [500]
        installation.add("ops", receiver.url)
        first, *others = installation.tell(3)
        await installation.send()
        installation.due()
        await installation.send()

        assert [first, *others, first] == [int(json.loads(got.body)["id"]) for got in receiver.got]

    async def test_a_slow_one_holds_no_other_up(self, installation: WebhookInstallation, receiver: Receiver) -> None:
        """A receiver that does not answer delays no other webhook."""
        async with receiving() as slow:
            slow.hold.clear()
            installation.add("slow", slow.url)
            installation.add("quick", receiver.url)
            installation.tell(20)
            sender = installation.sender()
            async with sender._client:
                await sender.poll()
                await slow.busy(1)
                await receiver.taken(20)
                slow.hold.set()
                await sender.settle()

        assert 20 == len(slow.got)

    def test_names_that_hang(self, installation: WebhookInstallation, monkeypatch: pytest.MonkeyPatch) -> None:
        """Names that nobody resolves hold up neither other webhooks nor the database nor the end of the sender."""
        let_go, gone_on, real = Event(), list[str](), socket.getaddrinfo

        def resolve(host: str, *rest: Any, **options: Any) -> Any:
            if host.endswith(".example"):
                let_go.wait(PATIENCE_S)
                gone_on.append(host)
            return real(host, *rest, **options)

        async def send() -> None:
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
            stop = asyncio.Event()
            async with receiving() as receiver:
                installation.add("z", receiver.url.replace("127.0.0.1", "localhost"))
                installation.tell()
                running = asyncio.create_task(installation.sender(timeout_s=30.0).run(stop))
                await receiver.taken(1)
                stop.set()
                await running

        monkeypatch.setattr("webhooks.sender._STOP_S", 0.1)
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        for name in "abc":
            installation.add(name, f"http://{name}.example")
        try:
            asyncio.run(send())
            assert [] == gone_on
        finally:
            let_go.set()

    async def test_at_most_three_tries_again(self, installation: WebhookInstallation, receiver: Receiver) -> None:
        """Further tries of one webhook go out beside each other, three at once."""
        receiver.answers = [500] * 8
        installation.add("ops", receiver.url)
        installation.tell(8)
        await installation.send()
        installation.due()
        receiver.hold.clear()
        sending = asyncio.create_task(installation.send())
        await receiver.busy(3)
        receiver.hold.set()
        await sending

        assert 3 == receiver.most_at_once
        assert ["delivered"] * 8 == installation.states()

    async def test_bounded_backlog(
        self, installation: WebhookInstallation, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """At most so many deliveries are open; the others are made when there is room, and none is lost."""
        monkeypatch.setattr("db.webhooks.MOST_OPEN", 10)
        receiver.answers = [500] * 10
        installation.add("ops", receiver.url)
        numbers = installation.tell(35)
        await installation.send()
        first = installation.states()
        installation.due()
        await installation.send()

        assert ["pending"] * 10 == first
        assert set(numbers) == {int(json.loads(got.body)["id"]) for got in receiver.got[10:]}
        assert ["delivered"] * 35 == installation.states()


class TestEnds:
    async def test_forgotten_event(self, installation: WebhookInstallation, receiver: Receiver) -> None:
        """An event that was forgotten by age before it could be delivered is a failure that says so."""
        receiver.answers = [500]
        installation.add("ops", receiver.url)
        installation.tell()
        await installation.send()
        with installation.database.write() as connection:
            connection.execute(delete(events))
        installation.due()
        await installation.send()

        assert [("failed", "The event is no longer kept, see PRESTAGER_RETENTION_DAYS.")] == [
            (row["state"], row["error"]) for row in installation.rows()
        ]
        assert 1 == len(receiver.got)

    async def test_another_key(self, installation: WebhookInstallation, receiver: Receiver) -> None:
        """A secret that cannot be opened disables the webhook, which says what to do; nothing unsigned goes out."""
        installation.add("ops", receiver.url)
        installation.tell()
        installation.sealer = Sealer(b"o" * 32)
        await installation.send()

        assert "cannot be opened" in installation.webhook("ops")["disabled_reason"]
        assert [] == receiver.got

    async def test_a_secret_anew(self, installation: WebhookInstallation, receiver: Receiver) -> None:
        """With a new secret such a webhook goes on; the one before, which cannot be opened, does not sign."""
        installation.add("ops", receiver.url)
        installation.sealer = Sealer(b"o" * 32)
        installation.ask(CommandType.WEBHOOK_UPDATE, "ops", secret=SECRET)
        installation.tell()
        await installation.send()

        (got,) = receiver.got
        assert is_signed(got)
        assert 1 == len(got.headers["webhook-signature"].split(" "))
        assert installation.webhook("ops")["enabled"]

    async def test_disabled_meanwhile(self, installation: WebhookInstallation, receiver: Receiver) -> None:
        """A webhook that somebody disables gets nothing more; enabled again, it gets what happens from then on."""
        installation.add("ops", receiver.url)
        installation.tell()
        installation.change("ops", enabled=False)
        await installation.send()
        installation.tell()
        installation.change("ops", enabled=True)
        (number,) = installation.tell()
        await installation.send()

        assert [number] == [int(json.loads(got.body)["id"]) for got in receiver.got]

    async def test_disabled_and_enabled_meanwhile(self, installation: WebhookInstallation, receiver: Receiver) -> None:
        """What failed with a webhook that was disabled is not sent, though it was enabled again within one try."""
        installation.add("ops", receiver.url)
        installation.tell(3)
        async with during_a_try(installation, receiver):
            installation.change("ops", enabled=False)
            installation.change("ops", enabled=True)
        (number,) = installation.tell()
        await installation.send()

        assert [1, number] == [int(json.loads(got.body)["id"]) for got in receiver.got]

    async def test_deleted_meanwhile(self, installation: WebhookInstallation, receiver: Receiver) -> None:
        """A webhook that is deleted while a delivery is under way takes its log along, and nothing breaks."""
        installation.add("ops", receiver.url)
        installation.tell(2)
        async with during_a_try(installation, receiver):
            installation.ask(CommandType.WEBHOOK_DELETE, "ops")

        assert (1, []) == (len(receiver.got), installation.rows())

    async def test_redelivery(self, installation: WebhookInstallation, receiver: Receiver) -> None:
        """What failed or was delivered may be sent once more, under the same id."""
        installation.add("ops", receiver.url)
        installation.tell()
        await installation.send()
        (row,) = installation.rows()
        again = installation.ask(CommandType.WEBHOOK_REDELIVER, "ops", delivery=row["id"])
        await installation.send()

        first, second = receiver.got
        assert ("redelivery", "pending") == (again.body["cause"], again.body["state"])
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert ["delivered"] * 2 == installation.states()
