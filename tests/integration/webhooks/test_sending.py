"""What receivers get, in which order, and what comes of their answers."""

from __future__ import annotations

import asyncio
import hmac
import json
import socket
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_network
from pathlib import Path
from threading import Event
from time import time
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import delete

from db.encryption import Sealer
from db.inventory import installation_id
from db.schema import events, webhook_deliveries, webhooks
from messages.commands import CommandType
from tests.integration.webhooks.receiver import Got, Receiver, receiving
from tests.integration.webhooks.webhook_installation import LOOPBACK, SECRET, WebhookInstallation
from webhooks.addresses import NOT_ALLOWED

# What the sender does is the same on both; what its statements do is tested on both in test_repository.
pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


def is_signed(got: Got, secret: str = SECRET) -> bool:
    """Tell by the specification's words alone whether one of the signatures is right."""
    content = b".".join([got.headers["webhook-id"].encode(), got.headers["webhook-timestamp"].encode(), got.body])
    key = b64decode(secret.split("_", 1)[1])
    digest = b64encode(hmac.new(key, content, sha256).digest()).decode()
    return f"v1,{digest}" in got.headers["webhook-signature"].split(" ")


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


class TestAnswers:
    async def test_delivered(self, installation: WebhookInstallation, receiver: Receiver) -> None:
        """Any 2xx is taken; the log tells the status and how long it took."""
        receiver.answers = [204]
        installation.add("ops", receiver.url)
        installation.tell()
        await installation.send()

        (row,) = installation.rows()
        assert ("delivered", 1, 204, "", None) == tuple(
            row[key] for key in ("state", "attempts", "last_status", "error", "next_attempt_at")
        )
        assert 0 < row["duration_s"] < 5
        assert row["finished_at"] is not None
        assert ["delivered"] == installation.meters.outcomes

    async def test_again_after_500(self, installation: WebhookInstallation, receiver: Receiver) -> None:
        """A failed try is made again when its time has come, not before, under the same id and another signature."""
        receiver.answers = [500]
        installation.add("ops", receiver.url)
        installation.tell()
        await installation.send()
        (waiting,) = installation.rows()
        await installation.send()
        early = len(receiver.got)
        installation.due()
        await installation.send()

        assert ("pending", 1, 500, "The receiver answered 500 Internal Server Error.") == tuple(
            waiting[key] for key in ("state", "attempts", "last_status", "error")
        )
        assert 3 < waiting["next_attempt_at"] - time() <= 5
        assert 1 == early
        first, second = receiver.got
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert is_signed(second)
        assert [("delivered", 2)] == [(row["state"], row["attempts"]) for row in installation.rows()]
        assert ["retried", "delivered"] == installation.meters.outcomes

    async def test_given_up_after_a_day(self, installation: WebhookInstallation, receiver: Receiver) -> None:
        """After eleven tries within a day a delivery has failed; the webhook goes on."""
        receiver.answers = [503] * 11
        installation.add("ops", receiver.url)
        installation.tell()
        for _ in range(12):
            await installation.send()
            installation.due()

        (row,) = installation.rows()
        assert ("failed", 11) == (row["state"], row["attempts"])
        assert "The receiver answered 503 Service Unavailable. Given up after 11 tries." == row["error"]
        assert installation.webhook("ops")["enabled"]

    async def test_retry_after(self, installation: WebhookInstallation, receiver: Receiver) -> None:
        """A receiver may ask for patience, up to an hour."""
        receiver.answers = [
            web.Response(status=429, headers={"Retry-After": "60"}),
            web.Response(status=503, headers={"Retry-After": "90000"}),
        ]
        installation.add("ops", receiver.url)
        installation.tell(2)
        await installation.send()

        assert [60, 3600] == [pytest.approx(row["next_attempt_at"] - time(), abs=5) for row in installation.rows()]

    async def test_gone(self, installation: WebhookInstallation, receiver: Receiver) -> None:
        """410 ends it: the webhook is disabled with that reason, what waits fails, and an event tells."""
        receiver.answers = [410]
        installation.add("ops", receiver.url)
        installation.tell(3)
        await installation.send()

        webhook = installation.webhook("ops")
        assert (False, "The receiver answered 410: it wants nothing more.") == (
            webhook["enabled"],
            webhook["disabled_reason"],
        )
        assert ["failed"] * 3 == installation.states()
        told = installation.rows(events)[-1]
        assert ("webhook.disabled", "webhook/ops") == (told["type"], told["subject"])
        assert {"webhook": "ops", "reason": webhook["disabled_reason"]} == told["data"]

    async def test_nothing_but_failures(self, installation: WebhookInstallation, receiver: Receiver) -> None:
        """A webhook that took nothing for five days is disabled; one success in between begins them anew."""
        receiver.answers = [500, 200, 500, 500, 500]
        installation.add("ops", receiver.url)
        installation.tell()
        await installation.send()
        began = installation.webhook("ops")["failing_since"]
        installation.tell()
        await installation.send()
        worked = installation.webhook("ops")["failing_since"]
        installation.set(webhooks, failing_since=time() - 5 * 86400 - 60)
        installation.tell(3)
        await installation.send()

        assert (pytest.approx(time(), abs=5), None) == (began, worked)
        assert (
            "Every try has failed for 5 days. The receiver answered 500 Internal Server Error."
            == (installation.webhook("ops")["disabled_reason"])
        )

    async def test_few_failures(self, installation: WebhookInstallation, receiver: Receiver) -> None:
        """One that is seldom used is not disabled by the first failure after five days: three of new events are."""
        receiver.answers = [500] * 4
        installation.add("ops", receiver.url)
        installation.tell()
        await installation.send()
        installation.set(webhook_deliveries, created_at=datetime.now(UTC) - timedelta(days=6), next_attempt_at=None)
        installation.set(webhooks, failing_since=time() - 5 * 86400 - 60)
        installation.tell()
        was_enabled = []
        for _ in range(3):
            was_enabled.append(installation.webhook("ops")["enabled"])
            await installation.send()
            installation.due()

        assert [True] * 3 == was_enabled
        assert not installation.webhook("ops")["enabled"]

    async def test_redirect(self, installation: WebhookInstallation, receiver: Receiver) -> None:
        """A redirect is not followed."""
        receiver.answers = [web.Response(status=302, headers={"Location": f"{receiver.url}/elsewhere"})]
        installation.add("ops", receiver.url)
        installation.tell()
        await installation.send()

        (row,) = installation.rows()
        assert 1 == len(receiver.got)
        assert "The receiver answered 302: redirects are not followed; set the url that it leads to." == row["error"]

    async def test_silence(self, installation: WebhookInstallation, receiver: Receiver) -> None:
        """Who does not answer in time has not taken it."""
        receiver.hold.clear()
        installation.add("ops", receiver.url)
        installation.tell()
        await installation.send(timeout_s=0.2)

        assert [("pending", "The receiver did not answer within 0.2 s.")] == [
            (row["state"], row["error"]) for row in installation.rows()
        ]

    async def test_endless_body(self, installation: WebhookInstallation, receiver: Receiver) -> None:
        """The status says it: a body that never ends is not read."""

        async def drip(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"x" * 100)
            await asyncio.Event().wait()
            return response

        receiver.answers = [drip]
        installation.add("ops", receiver.url)
        installation.tell(2)
        await installation.send()

        assert ["delivered"] * 2 == installation.states()

    async def test_body_is_not_kept(self, installation: WebhookInstallation, receiver: Receiver) -> None:
        """Nothing that a receiver says is kept: a webhook is no way to read what only this machine reaches."""
        receiver.answers = [web.Response(status=500, reason="inner-thing", text="inner-thing" * 500)]
        installation.add("ops", receiver.url)
        installation.tell()
        await installation.send()

        assert "inner-thing" not in str(installation.rows())

    async def test_nobody_there(self, installation: WebhookInstallation) -> None:
        """A receiver that is away is a failed try whose sentence has no URL."""
        async with receiving() as gone:
            url = gone.url
        installation.add("ops", url)
        installation.tell()
        await installation.send()

        (row,) = installation.rows()
        assert ("pending", "The receiver cannot be connected to: Connection refused.") == (row["state"], row["error"])

    async def test_a_bug_waits_too(self, installation: WebhookInstallation, monkeypatch: pytest.MonkeyPatch) -> None:
        """A try that a bug of ours ended is a failed one with its pause, and says no more than the error's kind."""

        async def post(_: object, url: str, *rest: object) -> None:
            raise KeyError(url)

        monkeypatch.setattr("webhooks.http_client.WebhookClient.post", post)
        installation.add("ops", "http://receiver.example/t0ken")
        installation.tell()
        await installation.send()

        (row,) = installation.rows()
        assert ("pending", 1, "The try could not be made (KeyError).") == (row["state"], row["attempts"], row["error"])
        assert 3 < row["next_attempt_at"] - time() <= 5

    async def test_untrusted_certificate(
        self, installation: WebhookInstallation, certificate: Path, tls: object
    ) -> None:
        """A certificate of an unknown authority is refused, and taken when its authority is set."""
        async with receiving(tls) as receiver:  # type: ignore[arg-type]
            installation.add("ops", receiver.url)
            installation.tell()
            await installation.send()
            (refused,) = installation.rows()
            installation.due()
            await installation.send(ca_file=certificate)

        assert refused["error"].startswith("The receiver's certificate is not trusted: self")
        assert (["delivered"], 1) == (installation.states(), len(receiver.got))

    @pytest.mark.parametrize("host", ["localhost", "[::ffff:127.0.0.1]"])
    async def test_certificate_of_another(
        self, installation: WebhookInstallation, certificate: Path, tls: object, host: str
    ) -> None:
        """A certificate for another name or address is refused, and nothing of the URL is told."""
        allowed = (*LOOPBACK, ip_network("::ffff:127.0.0.1/128"))
        async with receiving(tls) as receiver:  # type: ignore[arg-type]
            installation.add("ops", receiver.url.replace("127.0.0.1", host))
            installation.tell()
            await installation.send(ca_file=certificate, allowed=allowed)

        (row,) = installation.rows()
        assert "The receiver's certificate is not trusted: it is for another name or address." == row["error"]

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
    async def test_own_services(self, installation: WebhookInstallation, receiver: Receiver, host: str) -> None:
        """What only this machine reaches is refused when the socket is made, however its address is written."""
        installation.add("ops", receiver.url.replace("127.0.0.1", host))
        installation.tell()
        await installation.send(allowed=())

        assert [] == receiver.got
        assert [("pending", NOT_ALLOWED)] == [(row["state"], row["error"]) for row in installation.rows()]


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
                let_go.wait(10)
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
