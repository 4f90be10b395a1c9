"""Sees to it that exchanges and queues are there: at the start, and again when RabbitMQ has lost them meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final

import structlog

from broker.amqp.publisher import Publisher, PublishError

_log = structlog.get_logger(__name__)

# Seconds after which the topology is made again unasked: what is there already costs RabbitMQ next to nothing.
_AGAIN_S: Final = 60.0
# Seconds after which it is logged again that the topology cannot be made, while the reason stays the same.
_LOGGED_S: Final = 60.0
# Seconds that a connected consumer waits for its queue to be made, at most.
_PATIENCE_S: Final = 15.0


class TopologyCheck:
    """Makes the topology; `look` is called every few seconds, `clock` gives seconds that never jump.

    Attributes:
        fault: why the topology is not there; None when it is.
    """

    def __init__(self, publisher: Publisher, clock: Callable[[], float] = monotonic) -> None:
        self.fault: str | None = "its queues are not made yet"
        self._publisher = publisher
        self._clock = clock
        self._made_at = float("-inf")
        self._doubted = False
        self._logged_at = float("-inf")
        # Whether the broker has made the topology, or said that it does not.
        self._is_answered = False
        # When the first consumer was connected.
        self._awaited_since: float | None = None

    def doubt(self) -> None:
        """Have the topology made at the next look: something points to a queue that is gone. Callable from any thread.

        A volume that was lost, a node that was reset, or a queue that somebody deleted, would else stop all that
        consume for good. Each new consumer is a reason to doubt.
        """
        self._doubted = True
        if self._awaited_since is None:
            self._awaited_since = self._clock()

    def may_consume(self) -> bool:
        """Tell whether consumers may read their queues: for good, once these were made or the broker refused to.

        A consumer of a queue that is not there fails, and is made anew only seconds later. From the first doubt on it
        is no longer than 15 s: what is there is consumed even where the line is too slow to make all of it in time.
        """
        if self._is_answered:
            return True
        return self._awaited_since is not None and self._clock() - self._awaited_since >= _PATIENCE_S

    def look(self) -> None:
        """Make the topology unless it was made a short while ago and nobody doubts it."""
        if self.fault is None and not self._doubted and self._clock() - self._made_at < _AGAIN_S:
            return
        # Before the work: a doubt that comes meanwhile counts.
        self._doubted = False
        try:
            self._publisher.declare()
        except PublishError as error:
            # A broker that can be used, and refused.
            self._is_answered |= error.problem is None
            self._note(error)
            return
        self._is_answered = True
        self._made_at = self._clock()
        if self.fault is not None:
            self.fault = None
            self._logged_at = float("-inf")
            _log.info("broker.ready")

    def _note(self, error: PublishError) -> None:
        """Keep the reason; log it when it is another one, and then each minute."""
        fault = f"its queues cannot be made: {error}"
        if fault != self.fault or self._clock() - self._logged_at >= _LOGGED_S:
            self._logged_at = self._clock()
            advice = {} if error.problem is None else {"advice": error.problem.remedy}
            _log.warning("broker.not-ready", fault=str(error), **advice)
        self.fault = fault
