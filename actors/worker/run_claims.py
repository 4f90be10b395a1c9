"""Claim queued runs of one kind, prechecks or playbooks, in sets as long as there is room, and begin them.

One claim of a kind goes on at a time, so that no claim takes more runs than there is room for. Messages that come
meanwhile make the next set.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from threading import Lock
from time import monotonic
from typing import Final

import structlog

from actors.worker.claimed_runs import ClaimedRuns
from db.runs import RunAssignment

_log = structlog.get_logger(__name__)

# Most runs of one claim. Of several workers with room each gets some: none takes all that waits at once.
SET: Final = 20
# Seconds between two looks while nothing shows that runs wait.
_LOOK_S: Final = 0.5


class RunClaims:
    """Takes queued runs of `phases`. Every method can be called from any thread.

    Args:
        held: The runs of this process.

        phases: Those of one kind.

        free: Returns how many runs have room now, those aside that are claimed and not begun yet.

        begin: Begins a claimed run and returns at once; False: there is no room after all, and it is handed back.

        is_hopeless: Whether a database that is away is not to be waited for.
    """

    def __init__(
        self,
        held: ClaimedRuns,
        phases: Collection[str],
        *,
        free: Callable[[], int],
        begin: Callable[[RunAssignment], bool],
        is_hopeless: Callable[[], bool],
    ) -> None:
        self._held = held
        self.phases = phases
        self._free = free
        self._begin = begin
        self._is_hopeless = is_hopeless
        self._turn = Lock()
        # Runs whose messages wait for their turn.
        self._brought: dict[int, None] = {}
        # Whether runs may wait that no message will bring: they were turned away, or a claim left no room.
        self._may_wait = True
        self._looked_at = -_LOOK_S

    @property
    def room(self) -> int:
        """Number of runs that can be claimed now."""
        room = max(0, self._free() - self._held.unbegun(self.phases))
        if room == 0:
            self._may_wait = True
        return room

    @property
    def is_look_due(self) -> bool:
        """Whether a look may find something: runs may wait, or it is a while since the last one."""
        return self._may_wait or monotonic() - self._looked_at >= _LOOK_S

    def expect(self) -> None:
        """Have the next look made at once: runs may wait that were turned away."""
        self._may_wait = True

    def take(self, run_id: int) -> bool:
        """Claim the run of a message, with those of other messages that wait, and begin it; False: there is no room.

        A run that is taken, or withdrawn, is left alone. One that this process holds, or has held, costs nothing.

        Raises:
            DatabaseUnavailableError: It was away for too long; a later look finds the run.
        """
        if self._held.is_known(run_id):
            return True
        self._brought[run_id] = None
        with self._turn:
            if run_id not in self._brought:
                # It was in the set of another message.
                return True
            room = min(SET, self.room)
            # Its own first: the others stay when there is no room for them.
            wanted = [run_id, *(one for one in list(self._brought) if one != run_id)][: max(1, room)]
            for one in wanted:
                self._brought.pop(one, None)
            if room == 0:
                return False
            wanted = [one for one in wanted if not self._held.is_known(one)]
            claimed = self._held.claim(wanted, self._is_hopeless) if wanted else []
            self._may_wait |= len(claimed) >= room
        self._begin_all(claimed)
        return True

    def look(self) -> None:
        """Claim the oldest queued runs and begin them, as long as there are some and there is room.

        Raises:
            DatabaseUnavailableError: The database was away for too long.
        """
        is_full = True
        while is_full:
            with self._turn:
                most = min(SET, self.room)
                if most == 0:
                    return
                self._looked_at = monotonic()
                claimed = self._held.claim_oldest(self.phases, most, self._is_hopeless)
                self._may_wait = is_full = len(claimed) == most
            is_full = self._begin_all(claimed) and is_full

    def _begin_all(self, claimed: list[RunAssignment]) -> bool:
        """Begin runs; hand them back from the first on that has no room."""
        for place, one in enumerate(claimed):
            with self._held.context(one.run_id).bound():
                if self._begin_safely(one):
                    continue
            self._may_wait = True
            self._held.hand_back([left.run_id for left in claimed[place:]])
            return False
        return True

    def _begin_safely(self, assignment: RunAssignment) -> bool:
        try:
            return self._begin(assignment)
        except Exception as error:  # noqa: BLE001 - logged, and the run's outcome
            _log.exception("run.not-begun")
            self._held.fail(assignment.run_id, f"The run could not be begun: {type(error).__name__}.")
            return True
