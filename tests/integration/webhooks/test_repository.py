"""What senders read and write, on both databases: who sends, what is sent, what is written down."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from time import time
from typing import Any

import pytest

from db.retention import Retention, purge
from db.schema import events, webhook_deliveries, webhooks
from db.webhook_deliveries import DeliveryState, Tried
from db.webhooks import LEASE_S, enabled_webhooks, follow
from messages.commands import CommandType
from tests.integration.webhooks.receiver import Receiver
from tests.integration.webhooks.webhook_installation import WebhookInstallation
from webhooks.repository import WebhookRepository, wants

URL = "http://receiver.example/hook"
AT = datetime(2026, 11, 22, 12, tzinfo=UTC)


def look(installation: WebhookInstallation, owner: str = "me", *tries: Tried) -> dict[int, list[int]]:
    """Look as `owner`; return the ids of due deliveries by webhook, first tries first."""
    work = WebhookRepository(installation.database, owner, 5 * 86400).poll(tries, frozenset(), {})
    found: dict[int, list[int]] = {one: [] for one in work.held}
    for part in (work.in_order, work.again):
        for one, rows in part.items():
            found[one] += [row["id"] for row in rows]
    return found


def tried(row: dict[str, Any], state: DeliveryState, delay_s: float | None = None) -> Tried:
    """Return a report."""
    return Tried(
        delivery_id=row["id"],
        webhook_id=row["webhook_id"],
        attempts=row["attempts"],
        state=state,
        delay_s=delay_s,
        status=200,
        error="",
        took_s=0.1,
        at=AT,
    )


class TestClaims:
    def test_one_sends(self, installation: WebhookInstallation) -> None:
        """What one process sends for no other does, until it lets go."""
        installation.add("ops", URL)
        first, second = look(installation, "a"), look(installation, "b")
        WebhookRepository(installation.database, "a", 1.0).release()
        third = look(installation, "b")

        assert ([1], [], [1]) == (list(first), list(second), list(third))

    def test_a_claim_passes(self, installation: WebhookInstallation) -> None:
        """What a process that died sent for another takes over when the claim has passed, within a minute."""
        installation.add("ops", URL)
        look(installation, "a")
        installation.set(webhooks, claimed_until=time() - 1)

        assert [1] == list(look(installation, "b"))
        assert [] == list(look(installation, "a"))

    def test_a_claim_from_the_future(self, installation: WebhookInstallation) -> None:
        """A claim that lasts longer than any does is of a clock that was set back, and holds nobody up."""
        installation.add("ops", URL)
        look(installation, "a")
        installation.set(webhooks, claimed_until=time() + 10 * LEASE_S)

        assert [1] == list(look(installation, "b"))

    def test_a_claim_is_kept(self, installation: WebhookInstallation) -> None:
        """Who sends renews the claim before less than 30 s of it are left, and not at every look."""
        installation.add("ops", URL)
        look(installation, "a")
        until = installation.webhook("ops")["claimed_until"]
        look(installation, "a")
        same = installation.webhook("ops")["claimed_until"]
        installation.set(webhooks, claimed_until=time() + 20)
        look(installation, "a")

        assert until == same
        assert installation.webhook("ops")["claimed_until"] == pytest.approx(time() + LEASE_S, abs=10)

    def test_many_at_once(self, installation: WebhookInstallation) -> None:
        """Of processes that look at the same moment one gets each webhook."""
        for number in range(5):
            installation.add(f"w{number}", URL)
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda owner: list(look(installation, owner)), "abcd"))

        assert [1, 2, 3, 4, 5] == sorted(one for part in found for one in part)


class TestFollowing:
    def test_each_event_once(self, installation: WebhookInstallation) -> None:
        """Two that follow from the same place, as after a stalled claim, make one delivery of each event."""
        installation.add("ops", URL)
        installation.tell(5)
        with installation.database.read() as connection:
            (webhook,) = enabled_webhooks(connection)

        def run(_: int) -> int:
            with installation.database.write() as connection:
                return follow(connection, webhook, wants, AT)[0]

        with ThreadPoolExecutor(2) as threads:
            looked = sorted(threads.map(run, range(2)))

        assert [0, 5] == looked
        assert installation.rows(events)[-1]["id"] == installation.webhook("ops")["cursor"]
        assert 5 == len(installation.rows())

    def test_room_again(self, installation: WebhookInstallation, monkeypatch: pytest.MonkeyPatch) -> None:
        """The cursor stops at the first event that there is no room for, and goes on from there."""
        monkeypatch.setattr("db.webhooks.MOST_OPEN", 3)
        installation.add("ops", URL, types=["strategy."])
        installation.tell(2)
        numbers = installation.tell(5, "strategy.prestage.applying")
        look(installation)
        first = [row["event_id"] for row in installation.rows()]
        installation.set(webhook_deliveries, next_attempt_at=None)
        look(installation)

        assert numbers[:3] == first
        assert numbers == [row["event_id"] for row in installation.rows()]

    def test_missed(self, installation: WebhookInstallation, capsys: pytest.CaptureFixture[str]) -> None:
        """Events that were forgotten before a webhook had room for them are missed, and the log says so."""
        installation.add("ops", URL)
        installation.tell(5)
        purge(
            installation.database, Retention(history=timedelta(days=1), audit=timedelta(days=1)), AT + timedelta(days=2)
        )
        installation.tell()
        look(installation)

        assert [5, 6] == [row["event_id"] for row in installation.rows()]
        assert "webhook.events-missed" in capsys.readouterr().out

    def test_nothing_missed(self, installation: WebhookInstallation, capsys: pytest.CaptureFixture[str]) -> None:
        """A webhook that is made when all events are old misses none of what comes."""
        installation.tell(5)
        purge(
            installation.database, Retention(history=timedelta(days=1), audit=timedelta(days=1)), AT + timedelta(days=2)
        )
        installation.add("ops", URL)
        installation.tell()
        look(installation)

        assert [6] == [row["event_id"] for row in installation.rows()]
        assert "webhook.events-missed" not in capsys.readouterr().out


class TestRecording:
    def test_written_once(self, installation: WebhookInstallation) -> None:
        """Of two reports of one try, as after a stalled claim, the second changes nothing."""
        installation.add("ops", URL)
        installation.tell()
        look(installation)
        (row,) = installation.rows()
        look(installation, "me", tried(row, DeliveryState.PENDING, 60.0))
        (first,) = installation.rows()
        look(installation, "me", tried(row, DeliveryState.DELIVERED))

        assert ("pending", 1) == (first["state"], first["attempts"])
        assert pytest.approx(time() + 60, abs=10) == first["next_attempt_at"]
        assert [first] == installation.rows()

    def test_in_their_order(self, installation: WebhookInstallation) -> None:
        """First tries come in the order of events; what is to be tried again comes when it is due."""
        installation.add("ops", URL)
        installation.tell(3)
        first = look(installation)
        look(installation, "me", tried(installation.rows()[0], DeliveryState.PENDING, 60.0))
        waiting = look(installation)
        installation.due()

        assert ({1: [1, 2, 3]}, {1: [2, 3]}, {1: [2, 3, 1]}) == (first, waiting, look(installation))

    def test_what_was_disabled_stays_failed(self, installation: WebhookInstallation) -> None:
        """A report that comes after a webhook was disabled revives nothing."""
        installation.add("ops", URL)
        installation.tell()
        look(installation)
        (row,) = installation.rows()
        installation.change("ops", enabled=False)
        look(installation, "me", tried(row, DeliveryState.PENDING, 60.0))

        assert [("failed", "The webhook was disabled.")] == [
            (row["state"], row["error"]) for row in installation.rows()
        ]


async def test_two_senders(installation: WebhookInstallation, receiver: Receiver) -> None:
    """Two coordinators that both send deliver each event once as long as none of them stalls."""
    for number in range(3):
        installation.add(f"w{number}", f"{receiver.url}/{number}")
    installation.tell(40)

    await asyncio.gather(installation.send(owner="a"), installation.send(owner="b"))
    await installation.send(owner="c")

    assert 120 == len(receiver.got) == len({got.headers["webhook-id"] for got in receiver.got})


async def test_a_restart_loses_nothing(installation: WebhookInstallation, receiver: Receiver) -> None:
    """What was not written down when a process died is sent again, under the same id."""
    installation.add("ops", receiver.url)
    numbers = installation.tell(5)
    dying = installation.sender("a")
    async with dying._client:
        await dying.poll()
        await receiver.taken(2)
        for task in list(dying._tasks):
            task.cancel()
        await asyncio.gather(*dying._tasks, return_exceptions=True)
    installation.set(webhooks, claimed_until=time() - 1)
    await installation.send(owner="b")

    assert ["delivered"] * 5 == installation.states()
    assert {str(number) for number in numbers} == {got.headers["webhook-id"].split("/")[-1] for got in receiver.got}
    assert len(receiver.got) > 5


async def test_an_orderly_stop(installation: WebhookInstallation, receiver: Receiver) -> None:
    """A sender that stops lets what is in hand end, writes it down, and lets others send at once."""
    installation.add("ops", receiver.url)
    receiver.hold.clear()
    installation.tell(3)
    sender, stop = installation.sender("a"), asyncio.Event()
    running = asyncio.create_task(sender.run(stop))
    await receiver.busy(1)
    stop.set()
    receiver.hold.set()
    await running
    first = installation.states()
    await installation.send(owner="b")

    assert ["delivered", "pending", "pending"] == first
    assert 3 == len(receiver.got)


async def test_a_database_that_is_away(
    installation: WebhookInstallation, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the database is away nothing is begun; what was tried is written down when it is back, not sent again."""
    installation.add("ops", receiver.url)
    installation.tell()
    sender, stop = installation.sender("a"), asyncio.Event()
    monkeypatch.setattr("webhooks.sender._IDLE_PAUSE_S", 0.01)
    receiver.hold.clear()
    with monkeypatch.context() as patched:
        running = asyncio.create_task(sender.run(stop))
        await receiver.busy(1)

        def away(_: object) -> None:
            raise OSError("away")

        patched.setattr(sender._repository, "record", away)
        receiver.hold.set()
        while not sender._tried:  # noqa: ASYNC110 - the try is another task's
            await asyncio.sleep(0.005)
    async with asyncio.timeout(20):
        while installation.states() != ["delivered"]:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.02)
    stop.set()
    await running

    assert 1 == len(receiver.got)


def test_nothing_to_do(installation: WebhookInstallation) -> None:
    """Without an enabled webhook a look is one small question."""
    installation.add("ops", URL, enabled=False)
    installation.tell(3)

    assert {} == look(installation)
    assert [] == installation.rows()
    assert 200 == installation.ask(CommandType.WEBHOOK_DELETE, "ops").status
