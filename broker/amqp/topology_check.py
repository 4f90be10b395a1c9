"""Keep exchanges and queues declared: at the start, and again when RabbitMQ has lost them."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final

import structlog

from broker.amqp.errors import PublishError
from broker.amqp.publisher import Publisher

_log = structlog.get_logger(__name__)

# Seconds after which the topology is made again unasked: what is there already costs RabbitMQ next to nothing.
_AGAIN_S: Final = 60.0
# Seconds after which it is logged again that the topology cannot be made, while the reason stays the same.
_LOGGED_S: Final = 60.0
# Seconds that a connected consumer waits for its queue to be made, at most.
_PATIENCE_S: Final = 15.0


class TopologyCheck:
    """Declares the topology; `check` is called every few seconds, `clock` gives seconds that never jump.

    Attributes:
        missing_reason: Why the topology is not there; None when it is.
    """

    def __init__(self, publisher: Publisher, clock: Callable[[], float] = monotonic) -> None:
        self.missing_reason: str | None = "its queues are not made yet"
        self._publisher = publisher
        self._clock = clock
        self._made_at = float("-inf")
        self._requested = False
        self._logged_at = float("-inf")
        # Whether the broker has made the topology, or said that it does not.
        self._is_answered = False
        # When the first consumer was connected.
        self._awaited_since: float | None = None

    def request(self) -> None:
        """Have the topology declared at the next check, as after each new consumer. Callable from any thread.

        A volume that was lost, a node that was reset, or a queue that was deleted, would else stop all consumers for
        good.
        """
        self._requested = True
        if self._awaited_since is None:
            self._awaited_since = self._clock()

    def may_consume(self) -> bool:
        """Return whether consumers may read their queues: for good, once these were declared or the broker refused.

        A consumer of a queue that is not there fails, and is made anew only seconds later. From the first request on
        it is no longer than 15 s: queues are consumed even where the line is too slow to declare all of them in time.
        """
        if self._is_answered:
            return True
        return self._awaited_since is not None and self._clock() - self._awaited_since >= _PATIENCE_S

    def check(self) -> None:
        """Declare the topology unless it was declared in the last minute and no declaration is requested."""
        if self.missing_reason is None and not self._requested and self._clock() - self._made_at < _AGAIN_S:
            return
        # Before the work: a request that comes meanwhile counts.
        self._requested = False
        try:
            self._publisher.declare()
        except PublishError as error:
            # A broker that can be used, and refused.
            self._is_answered |= error.problem is None
            self._note(error)
            return
        self._is_answered = True
        self._made_at = self._clock()
        if self.missing_reason is not None:
            self.missing_reason = None
            self._logged_at = float("-inf")
            _log.info("broker.ready")

    def _note(self, error: PublishError) -> None:
        """Keep the reason; log it when it is another one, and then each minute."""
        reason = f"its queues cannot be made: {error}"
        if reason != self.missing_reason or self._clock() - self._logged_at >= _LOGGED_S:
            self._logged_at = self._clock()
            advice = {} if error.problem is None else {"advice": error.problem.remedy}
            _log.warning("broker.not-ready", fault=str(error), **advice)
        self.missing_reason = reason
