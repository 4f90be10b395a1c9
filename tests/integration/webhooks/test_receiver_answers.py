"""What becomes of a delivery by the answer of its receiver, or without one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from time import time

import pytest
from aiohttp import web

from db.schema import events, webhook_deliveries, webhooks
from tests.integration.webhooks.receiver import Receiver, receiving
from tests.integration.webhooks.webhook_installation import LOOPBACK, WebhookInstallation, is_signed
from webhooks.addresses import NOT_ALLOWED

# What the sender does is the same on both; what its statements do is tested on both in test_repository.
pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


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
        assert ["delivered"] == installation.metrics.outcomes

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
        assert ["retried", "delivered"] == installation.metrics.outcomes

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
