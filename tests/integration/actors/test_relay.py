"""The outbox relay by itself."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from broker.outbox_relay import OutboxRelay, one_by_one
from db.schema import outbox
from db.unit_of_work import unit_of_work
from tests.support.installation import Installation


class TestRelay:
    def test_what_was_published_is_forgotten(self, installation: Installation) -> None:
        """The relay publishes in order, says the same thing once, and empties the outbox."""
        said: list[tuple[str, int | None]] = []
        with unit_of_work(installation.database) as work:
            work.enqueue("coordinate")
            work.enqueue("stage_content", [7])
            work.enqueue("coordinate")

        OutboxRelay(
            installation.database, one_by_one(lambda actor, argument, _: said.append((actor, argument)))
        ).relay()

        assert [("coordinate", None), ("stage_content", 7)] == said
        assert [] == installation.rows(outbox)

    def test_what_could_not_be_published_stays(self, installation: Installation) -> None:
        """A publish that fails leaves the outbox as it was: it is tried again."""
        with unit_of_work(installation.database) as work:
            work.enqueue("coordinate")

        def broken(actor: str, argument: int | None, trace: str | None) -> None:
            raise ConnectionError

        with pytest.raises(ConnectionError):
            OutboxRelay(installation.database, one_by_one(broken)).relay()

        assert [("coordinate", None)] == installation.messages()

    def test_a_row_of_another_version_does_not_stop_it(self, installation: Installation) -> None:
        """A call of an actor that nobody knows is dropped; the calls behind it are published."""
        said: list[str] = []
        with unit_of_work(installation.database) as work:
            work.enqueue("from_the_future")
            work.enqueue("coordinate")

        def publish(actor: str, *_: int | str | None) -> None:
            {"coordinate": said.append}[actor](actor)

        OutboxRelay(installation.database, one_by_one(publish)).relay()

        assert ["coordinate"] == said
        assert [] == installation.messages()

    def test_a_large_outbox_is_emptied_in_batches(self, installation: Installation) -> None:
        """More than one batch of messages is published whole."""
        said: list[int | None] = []
        with unit_of_work(installation.database) as work:
            work.enqueue("stage_content", range(1, 1201))

        OutboxRelay(installation.database, one_by_one(lambda _, argument, __: said.append(argument))).relay()

        assert list(range(1, 1201)) == said

    @pytest.mark.parametrize(("aside_s", "expected"), [(0.0, []), (-60.0, [7]), (60.0, [7])])
    def test_what_another_process_wrote(self, installation: Installation, aside_s: float, expected: list[int]) -> None:
        """A relay says at once what its own process wrote; of another's only what was left lying.

        A time that is still to come tells of a clock that was set back: that is not waited for.
        """
        said: list[int | None] = []
        for writer, argument in (("mine", 1), ("other", 7)):
            installation.database.attach_relay(writer, lambda: None)
            with unit_of_work(installation.database) as work:
                work.enqueue("stage_content", [argument])
        relay = OutboxRelay(installation.database, one_by_one(lambda _, argument, __: said.append(argument)), "mine")

        relay.relay()
        with installation.database.write() as connection:
            connection.execute(update(outbox).values(written_at=outbox.c.written_at + aside_s))
        relay.relay()

        assert [1, *expected] == said
        assert [("stage_content", 7)] * (not expected) == installation.messages()
