"""When consumers may read their queues: once these were made, or nobody here can make them."""

from __future__ import annotations

from typing import cast

import pytest

from broker.amqp.errors import PublishError
from broker.amqp.publisher import Publisher
from broker.amqp.topology_check import TopologyCheck
from messages.errors import Explanation

SILENT = PublishError("the broker does not answer", Explanation(reason="does not answer", remedy="See to it."))


class Broker:
    """Makes queues, or fails with what it is given."""

    def __init__(self, error: PublishError | None) -> None:
        self.error = error

    def declare(self) -> None:
        """Fail unless there is no error."""
        if self.error is not None:
            raise self.error


class TimedCheck(TopologyCheck):
    """A check whose broker and time the test sets."""

    def __init__(self, error: PublishError | None = None) -> None:
        self.broker, self.now = Broker(error), 100.0
        super().__init__(cast("Publisher", self.broker), lambda: self.now)


def test_nothing_is_consumed_before_the_queues_are_made() -> None:
    """A consumer that is connected waits until the queues are made."""
    check = TimedCheck()
    check.request()
    before = check.may_consume()
    check.check()

    assert (False, True) == (before, check.may_consume())


def test_a_broker_that_is_out_of_reach_is_waited_for() -> None:
    """While the broker cannot be used no consumer reads a queue, however long that lasts before one is connected."""
    check = TimedCheck(SILENT)
    check.check()
    check.now += 3600
    check.check()

    assert not check.may_consume()


def test_a_refusal_ends_the_waiting() -> None:
    """Where the broker refuses to make the queues, or is full, what is there of them is consumed."""
    check = TimedCheck(PublishError("the broker takes nothing in"))
    check.check()

    assert check.may_consume()


@pytest.mark.parametrize(("waited_s", "expected"), [(14.0, False), (15.0, True)])
def test_a_connected_consumer_waits_for_15_s_at_most(waited_s: float, expected: bool) -> None:
    """Over a line on which queues are never made in time, those that are there are consumed all the same."""
    check = TimedCheck(SILENT)
    check.request()
    check.now += 5
    check.check()
    check.request()
    check.now += waited_s - 5

    assert expected == check.may_consume()


def test_what_was_made_once_is_consumed() -> None:
    """A later failure, as while the broker is away, holds no consumer up."""
    check = TimedCheck()
    check.check()
    check.broker.error = SILENT
    check.request()
    check.check()

    assert check.may_consume()
