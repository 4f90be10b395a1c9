"""Bounds a playbook's output: keeps its beginning, its end, and a line about the gap between."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from messages.limits import left_out_note

HEAD_LIMIT_BYTES = 1024 * 1024
TAIL_LIMIT_BYTES = 3 * 1024 * 1024

# Longest piece handed on at once, in characters: keeps lines of the report pipe short.
_PIECE_LENGTH = 32 * 1024

# Gets a piece that is held back, and its place in the whole text in bytes.
OnHeld = Callable[[int, str], None]


class BoundedText:
    """Passes text through until the head is full, then holds back the newest text only.

    Sizes are UTF-8 bytes. A piece longer than the limits is cut in parts first, so both limits hold within one part.

    Attributes:
        head_bytes: how much was passed through.

        cut_bytes: how much of what came after that is not kept.
    """

    def __init__(
        self,
        head_limit_bytes: int = HEAD_LIMIT_BYTES,
        tail_limit_bytes: int = TAIL_LIMIT_BYTES,
        on_held: OnHeld = lambda _at, _piece: None,
    ) -> None:
        self.head_bytes = 0
        self.cut_bytes = 0
        self._head_room = head_limit_bytes
        self._tail_limit = tail_limit_bytes
        self._on_held = on_held
        self._tail: deque[tuple[str, int]] = deque()
        self._tail_size = 0

    def add(self, text: str) -> Iterator[str]:
        """Take `text` in and yield the pieces that may be passed on now."""
        for piece in _pieces(text):
            size = len(piece.encode("utf-8", "replace"))
            if size <= self._head_room:
                self._head_room -= size
                self.head_bytes += size
                yield piece
            else:
                self._head_room = 0
                self._hold_back(piece, size)

    def finish(self) -> Iterator[str]:
        """Yield the line about the gap, if there is one, and the end of the text."""
        if self.cut_bytes:
            yield left_out_note(self.cut_bytes)
        while self._tail:
            yield self._tail.popleft()[0]

    def _hold_back(self, piece: str, size: int) -> None:
        self._on_held(self.head_bytes + self.cut_bytes + self._tail_size, piece)
        self._tail.append((piece, size))
        self._tail_size += size
        while self._tail_size > self._tail_limit:
            _, dropped = self._tail.popleft()
            self._tail_size -= dropped
            self.cut_bytes += dropped


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), _PIECE_LENGTH):
        yield text[start : start + _PIECE_LENGTH]
