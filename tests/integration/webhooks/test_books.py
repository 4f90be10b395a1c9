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
from tests.integration.webhooks.webhook_house import House
from webhooks.repository import WebhookRepository, wants

URL = "http://receiver.example/hook"
AT = datetime(2026, 11, 22, 12, tzinfo=UTC)


def look(house: House, owner: str = "me", *tries: Tried) -> dict[int, list[int]]:
    """Look as `owner`; return the ids of due deliveries by webhook, first tries first."""
    work = WebhookRepository(house.database, owner, 5 * 86400).poll(tries, frozenset(), {})
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
    def test_one_sends(self, house: House) -> None:
        """What one process sends for no other does, until it lets go."""
        house.add("ops", URL)
        first, second = look(house, "a"), look(house, "b")
        WebhookRepository(house.database, "a", 1.0).release()
        third = look(house, "b")

        assert ([1], [], [1]) == (list(first), list(second), list(third))

    def test_a_claim_passes(self, house: House) -> None:
        """What a process that died sent for another takes over when the claim has passed, within a minute."""
        house.add("ops", URL)
        look(house, "a")
        house.set(webhooks, claimed_until=time() - 1)

        assert [1] == list(look(house, "b"))
        assert [] == list(look(house, "a"))

    def test_a_claim_from_the_future(self, house: House) -> None:
        """A claim that lasts longer than any does is of a clock that was set back, and holds nobody up."""
        house.add("ops", URL)
        look(house, "a")
        house.set(webhooks, claimed_until=time() + 10 * LEASE_S)

        assert [1] == list(look(house, "b"))

    def test_a_claim_is_kept(self, house: House) -> None:
        """Who sends renews the claim before less than 30 s of it are left, and not at every look."""
        house.add("ops", URL)
        look(house, "a")
        until = house.webhook("ops")["claimed_until"]
        look(house, "a")
        same = house.webhook("ops")["claimed_until"]
        house.set(webhooks, claimed_until=time() + 20)
        look(house, "a")

        assert until == same
        assert house.webhook("ops")["claimed_until"] == pytest.approx(time() + LEASE_S, abs=10)

    def test_many_at_once(self, house: House) -> None:
        """Of processes that look at the same moment one gets each webhook."""
        for number in range(5):
            house.add(f"w{number}", URL)
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda owner: list(look(house, owner)), "abcd"))

        assert [1, 2, 3, 4, 5] == sorted(one for part in found for one in part)


class TestFollowing:
    def test_each_event_once(self, house: House) -> None:
        """Two that follow from the same place, as after a stalled claim, make one delivery of each event."""
        house.add("ops", URL)
        house.tell(5)
        with house.database.read() as connection:
            (webhook,) = enabled_webhooks(connection)

        def run(_: int) -> int:
            with house.database.write() as connection:
                return follow(connection, webhook, wants, AT)[0]

        with ThreadPoolExecutor(2) as threads:
            looked = sorted(threads.map(run, range(2)))

        assert [0, 5] == looked
        assert house.rows(events)[-1]["id"] == house.webhook("ops")["cursor"]
        assert 5 == len(house.rows())

    def test_room_again(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        """The cursor stops at the first event that there is no room for, and goes on from there."""
        monkeypatch.setattr("db.webhooks.MOST_OPEN", 3)
        house.add("ops", URL, types=["strategy."])
        house.tell(2)
        numbers = house.tell(5, "strategy.prestage.applying")
        look(house)
        first = [row["event_id"] for row in house.rows()]
        house.set(webhook_deliveries, next_attempt_at=None)
        look(house)

        assert numbers[:3] == first
        assert numbers == [row["event_id"] for row in house.rows()]

    def test_missed(self, house: House, capsys: pytest.CaptureFixture[str]) -> None:
        """Events that were forgotten before a webhook had room for them are missed, and the log says so."""
        house.add("ops", URL)
        house.tell(5)
        purge(house.database, Retention(history=timedelta(days=1), audit=timedelta(days=1)), AT + timedelta(days=2))
        house.tell()
        look(house)

        assert [5, 6] == [row["event_id"] for row in house.rows()]
        assert "webhook.events-missed" in capsys.readouterr().out

    def test_nothing_missed(self, house: House, capsys: pytest.CaptureFixture[str]) -> None:
        """A webhook that is made when all events are old misses none of what comes."""
        house.tell(5)
        purge(house.database, Retention(history=timedelta(days=1), audit=timedelta(days=1)), AT + timedelta(days=2))
        house.add("ops", URL)
        house.tell()
        look(house)

        assert [6] == [row["event_id"] for row in house.rows()]
        assert "webhook.events-missed" not in capsys.readouterr().out


class TestRecording:
    def test_written_once(self, house: House) -> None:
        """Of two reports of one try, as after a stalled claim, the second changes nothing."""
        house.add("ops", URL)
        house.tell()
        look(house)
        (row,) = house.rows()
        look(house, "me", tried(row, DeliveryState.PENDING, 60.0))
        (first,) = house.rows()
        look(house, "me", tried(row, DeliveryState.DELIVERED))

        assert ("pending", 1) == (first["state"], first["attempts"])
        assert pytest.approx(time() + 60, abs=10) == first["next_attempt_at"]
        assert [first] == house.rows()

    def test_in_their_order(self, house: House) -> None:
        """First tries come in the order of events; what is to be tried again comes when it is due."""
        house.add("ops", URL)
        house.tell(3)
        first = look(house)
        look(house, "me", tried(house.rows()[0], DeliveryState.PENDING, 60.0))
        waiting = look(house)
        house.due()

        assert ({1: [1, 2, 3]}, {1: [2, 3]}, {1: [2, 3, 1]}) == (first, waiting, look(house))

    def test_what_was_disabled_stays_failed(self, house: House) -> None:
        """A report that comes after a webhook was disabled revives nothing."""
        house.add("ops", URL)
        house.tell()
        look(house)
        (row,) = house.rows()
        house.change("ops", enabled=False)
        look(house, "me", tried(row, DeliveryState.PENDING, 60.0))

        assert [("failed", "The webhook was disabled.")] == [(row["state"], row["error"]) for row in house.rows()]


async def test_two_senders(house: House, receiver: Receiver) -> None:
    """Two coordinators that both send deliver each event once as long as none of them stalls."""
    for number in range(3):
        house.add(f"w{number}", f"{receiver.url}/{number}")
    house.tell(40)

    await asyncio.gather(house.send(owner="a"), house.send(owner="b"))
    await house.send(owner="c")

    assert 120 == len(receiver.got) == len({got.headers["webhook-id"] for got in receiver.got})


async def test_a_restart_loses_nothing(house: House, receiver: Receiver) -> None:
    """What was not written down when a process died is sent again, under the same id."""
    house.add("ops", receiver.url)
    numbers = house.tell(5)
    dying = house.sender("a")
    async with dying._client:
        await dying.poll()
        await receiver.taken(2)
        for task in list(dying._tasks):
            task.cancel()
        await asyncio.gather(*dying._tasks, return_exceptions=True)
    house.set(webhooks, claimed_until=time() - 1)
    await house.send(owner="b")

    assert ["delivered"] * 5 == house.states()
    assert {str(number) for number in numbers} == {got.headers["webhook-id"].split("/")[-1] for got in receiver.got}
    assert len(receiver.got) > 5


async def test_an_orderly_stop(house: House, receiver: Receiver) -> None:
    """A sender that stops lets what is in hand end, writes it down, and lets others send at once."""
    house.add("ops", receiver.url)
    receiver.hold.clear()
    house.tell(3)
    sender, stop = house.sender("a"), asyncio.Event()
    running = asyncio.create_task(sender.run(stop))
    await receiver.busy(1)
    stop.set()
    receiver.hold.set()
    await running
    first = house.states()
    await house.send(owner="b")

    assert ["delivered", "pending", "pending"] == first
    assert 3 == len(receiver.got)


async def test_a_database_that_is_away(house: House, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the database is away nothing is begun; what was tried is written down when it is back, not sent again."""
    house.add("ops", receiver.url)
    house.tell()
    sender, stop = house.sender("a"), asyncio.Event()
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
        while house.states() != ["delivered"]:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.02)
    stop.set()
    await running

    assert 1 == len(receiver.got)


def test_nothing_to_do(house: House) -> None:
    """Without an enabled webhook a look is one small question."""
    house.add("ops", URL, enabled=False)
    house.tell(3)

    assert {} == look(house)
    assert [] == house.rows()
    assert 200 == house.ask(CommandType.WEBHOOK_DELETE, "ops").status
