"""Writes output and progress of this worker's runs while they go on.

The runner's thread hands pieces over; a loop writes everything of all runs in one transaction, about once a second.
Nothing here is needed for the work to be right: what cannot be written waits, within bounds, or is left out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from threading import Lock
from time import monotonic
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from db.database import Database
from db.errors import DatabaseUnavailableError
from db.live_output import Piece, add_pieces, forget_between, forget_from, hold, set_progress, tell_progress
from db.unit_of_work import unit_of_work
from runner.event_collector import HEAD_LIMIT_BYTES, TAIL_LIMIT_BYTES
from runner.progress import Progress

_log = structlog.get_logger(__name__)

# Seconds between two flushes.
LIVE_S: Final = 1.0
# Seconds between two events about the progress of one run; the first and the last are emitted in any case.
_EMIT_EVERY_S: Final = 2.0
# Events about progress that one flush may emit, beside the first ones of runs.
_EMIT_MOST: Final = 20
# The most that waits of one run, in bytes; the newest. A whole head fits, which may come at once.
_WAITING_BYTES: Final = HEAD_LIMIT_BYTES
# Longest piece in the database, in bytes.
_PIECE_BYTES: Final = 256 * 1024
# How much a run adds before what is too much of it is taken away, in bytes.
_TRIM_BYTES: Final = 512 * 1024


@dataclass(kw_only=True)
class _Run:
    """State of one running run."""

    pieces: deque[tuple[int, bytes]] = field(default_factory=deque)
    size_bytes: int = 0
    # Pieces that are being written now.
    in_hand: Sequence[tuple[int, bytes]] = ()
    progress: Progress = field(default_factory=Progress)
    # The database does not know the newest progress.
    is_unwritten: bool = False
    # No event has the newest progress.
    is_unemitted: bool = False
    # Clock when progress was last emitted, in seconds; None: never.
    emitted_s: float | None = None
    # Added to the database since it was last trimmed.
    untrimmed_bytes: int = 0
    # A try to write ended without an answer: some of what waits may be in the database already.
    is_unsure: bool = False

    @property
    def has_news(self) -> bool:
        """Whether anything is to be written."""
        return bool(self.pieces) or self.is_unwritten

    def bound(self) -> None:
        """Forget the oldest pieces that wait when they are too long."""
        while self.size_bytes > _WAITING_BYTES:
            self.size_bytes -= len(self.pieces.popleft()[1])


@dataclass(frozen=True, kw_only=True)
class _Share:
    """Writes of one run at one flush."""

    run_id: int
    pieces: Sequence[tuple[int, bytes]]
    progress: Progress | None
    is_emitted: bool
    # Clock when it was emitted before; None: never.
    emitted_s: float | None
    is_unsure: bool
    is_trimmed: bool


class LiveRuns:
    """Takes output and progress of runs from the runner; `flush` is the work of a loop.

    `clock` gives seconds that never jump.
    """

    def __init__(self, database: Database, owner: str, clock: Callable[[], float] = monotonic) -> None:
        self._database = database
        self._owner = owner
        self._clock = clock
        self._lock = Lock()
        self._runs: dict[int, _Run] = {}

    def add_output(self, run_id: int, at_bytes: int, content: bytes) -> None:
        """Take a piece of what a run printed, at its place in all that it printed. Quick, from any thread."""
        with self._lock:
            run = self._runs.setdefault(run_id, _Run())
            run.pieces.append((at_bytes, content))
            run.size_bytes += len(content)
            run.bound()

    def set_progress(self, run_id: int, progress: Progress) -> None:
        """Take in how far a run is. Quick, from any thread."""
        with self._lock:
            run = self._runs.setdefault(run_id, _Run())
            run.progress = progress
            run.is_unwritten = run.is_unemitted = True

    def unwritten(self, run_id: int) -> list[Piece]:
        """Return what a run printed last that is not surely in the database, in its order. Quick, from any thread."""
        with self._lock:
            run = self._runs.get(run_id)
            return [] if run is None else _joined(run_id, [*run.in_hand, *run.pieces])

    def ended(self, run_id: int) -> Mapping[str, Any] | None:
        """Forget a run that has ended; return how far it came, None of one that never said anything."""
        with self._lock:
            run = self._runs.pop(run_id, None)
        return None if run is None else asdict(run.progress)

    def flush(self) -> None:
        """Write everything that waits."""
        shares = self._collect()
        if not shares:
            return
        try:
            self._write(shares)
            self._take_out_of_hand(shares)
        except DatabaseUnavailableError:
            self._put_back(shares)
            raise
        except Exception:  # noqa: BLE001 - what one run says must not hold up the others for ever
            _log.exception("live.unwritable", runs=[share.run_id for share in shares])
            self._take_out_of_hand(shares)

    def _collect(self) -> list[_Share]:
        now = self._clock()
        with self._lock:
            emitted = self._due(now)
            news = [(run_id, run) for run_id, run in self._runs.items() if run.has_news or run_id in emitted]
            return [self._share(run_id, run, now, is_emitted=run_id in emitted) for run_id, run in news]

    def _due(self, now: float) -> set[int]:
        """Return the runs whose progress is written now: first ones, then those that have waited longest."""
        waiting = [(run.emitted_s, run_id) for run_id, run in self._runs.items() if run.is_unemitted]
        first = {run_id for emitted_s, run_id in waiting if emitted_s is None}
        later = sorted((emitted_s, run_id) for emitted_s, run_id in waiting if emitted_s is not None)
        due = [run_id for emitted_s, run_id in later if now - emitted_s >= _EMIT_EVERY_S]
        return first.union(due[: max(0, _EMIT_MOST - len(first))])

    @staticmethod
    def _share(run_id: int, run: _Run, now: float, *, is_emitted: bool) -> _Share:
        run.untrimmed_bytes += run.size_bytes
        share = _Share(
            run_id=run_id,
            pieces=[*run.pieces],
            progress=run.progress if run.is_unwritten else None,
            is_emitted=is_emitted,
            emitted_s=run.emitted_s,
            is_unsure=run.is_unsure,
            is_trimmed=run.untrimmed_bytes > _TRIM_BYTES,
        )
        run.in_hand = share.pieces
        run.pieces.clear()
        run.size_bytes = 0
        run.is_unwritten = run.is_unsure = False
        if share.is_trimmed:
            run.untrimmed_bytes = 0
        if is_emitted:
            run.emitted_s, run.is_unemitted = now, False
        return share

    def _take_out_of_hand(self, shares: Iterable[_Share]) -> None:
        with self._lock:
            for share in shares:
                if share.run_id in self._runs:
                    self._runs[share.run_id].in_hand = ()

    def _put_back(self, shares: Iterable[_Share]) -> None:
        with self._lock:
            for share in shares:
                run = self._runs.get(share.run_id)
                if run is None:
                    continue
                run.in_hand = ()
                run.pieces.extendleft(reversed(share.pieces))
                run.size_bytes += sum(len(content) for _, content in share.pieces)
                run.bound()
                run.is_unsure = True
                run.is_unwritten = run.is_unwritten or share.progress is not None
                if share.is_emitted:
                    run.emitted_s, run.is_unemitted = share.emitted_s, True

    def _write(self, shares: Sequence[_Share]) -> None:
        with unit_of_work(self._database) as work:
            connection = work.connection
            ours = hold(connection, [share.run_id for share in shares], self._owner)
            mine = [share for share in shares if share.run_id in ours]
            for share in mine:
                if share.is_unsure and share.pieces:
                    forget_from(connection, share.run_id, share.pieces[0][0])
            add_pieces(connection, [piece for share in mine for piece in _joined(share.run_id, share.pieces)])
            for share in mine:
                if share.is_trimmed and share.pieces:
                    _trim(connection, share)
            progress = {share.run_id: asdict(share.progress) for share in mine if share.progress is not None}
            set_progress(connection, progress)
            tell_progress(work, [share.run_id for share in mine if share.is_emitted])


def _joined(run_id: int, pieces: Iterable[tuple[int, bytes]]) -> list[Piece]:
    """Return pieces of a run, those that follow each other as one."""
    found: list[tuple[int, bytearray]] = []
    for at_bytes, content in pieces:
        last = found[-1] if found else None
        if last and last[0] + len(last[1]) == at_bytes and len(last[1]) + len(content) <= _PIECE_BYTES:
            last[1].extend(content)
        else:
            found.append((at_bytes, bytearray(content)))
    return [Piece(run_id=run_id, at_bytes=at_bytes, content=bytes(content)) for at_bytes, content in found]


def _trim(connection: Connection, share: _Share) -> None:
    """Take away what is neither of the beginning nor of the end, as of the output that is kept."""
    at_bytes, content = share.pieces[-1]
    forget_between(connection, share.run_id, HEAD_LIMIT_BYTES, at_bytes + len(content) - TAIL_LIMIT_BYTES)
