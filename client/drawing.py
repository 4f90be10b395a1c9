"""Bars, colours and packed lines for a terminal, with the standard library alone: commands that draw start quickly."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from shutil import get_terminal_size
from typing import IO, Final

# Characters in a line where the output is no terminal: nothing is cut or broken there.
ENDLESS: Final = 10_000
# Eighths of a character that is filled from the left.
_EIGHTHS: Final = "▏▎▍▌▋▊▉"
_FULL: Final = "█"
_EMPTY: Final = "░"
_ASCII_FULL: Final = "#"
_ASCII_EMPTY: Final = "."
_RESET: Final = "\x1b[0m"
_CODE: Final = re.compile(r"\x1b\[\d*m")
_LOWEST_WIDTH: Final = 40


class Colour(StrEnum):
    """Colours of texts on a terminal, as the codes that it obeys."""

    BOLD = "\x1b[1m"
    RED = "\x1b[31m"
    GREEN = "\x1b[32m"
    YELLOW = "\x1b[33m"
    DIM = "\x1b[2m"


class Canvas:
    """Width, signs and colours that an output can show.

    Args:
        columns: Characters in a line.

        has_blocks: Whether it shows block elements; otherwise bars are made of ASCII.

        has_colours: Whether it obeys codes of colours.
    """

    def __init__(self, *, columns: int, has_blocks: bool, has_colours: bool) -> None:
        self.columns = columns
        self._has_blocks = has_blocks
        self._has_colours = has_colours

    @classmethod
    def of(cls, stream: IO[str], environment: Mapping[str, str] | None = None) -> Canvas:
        """Return that of a stream: fitted to a terminal, and endless without colours elsewhere.

        `NO_COLOR`, if it is not empty, and `TERM=dumb` switch colours off.
        """
        environment = os.environ if environment is None else environment
        is_terminal = stream.isatty()
        is_plain = bool(environment.get("NO_COLOR")) or environment.get("TERM") == "dumb"
        columns = max(get_terminal_size().columns, _LOWEST_WIDTH) if is_terminal else ENDLESS
        return cls(columns=columns, has_blocks=_shows_blocks(stream), has_colours=is_terminal and not is_plain)

    @property
    def is_endless(self) -> bool:
        """Whether lines are never broken."""
        return self.columns >= ENDLESS

    def paint(self, text: str, *colours: Colour) -> str:
        """Return a text in colours, or as it is where there are none."""
        return f"{''.join(colours)}{text}{_RESET}" if text and colours and self._has_colours else text

    def bar(self, parts: Sequence[tuple[float, Colour]], whole: float, width: int) -> str:
        """Return a bar.

        Args:
            parts: Lengths from the left, in the unit of `whole`, each with its colour; together at most `whole`.

            whole: Length of the whole bar; 0: it is empty.

            width: Characters of the whole bar.
        """
        drawn, done, reached = "", 0.0, 0
        for length, colour in parts:
            done += length
            end = int(done * width / whole) if whole else 0
            drawn += self.paint((_FULL if self._has_blocks else _ASCII_FULL) * (end - reached), colour)
            reached = end
        rest = width - reached
        eighths = int(done * width * 8 / whole) % 8 if whole else 0
        if self._has_blocks and rest and eighths:
            last = next((colour for length, colour in reversed(parts) if length), parts[-1][1])
            drawn += self.paint(_EIGHTHS[eighths - 1], last)
            rest -= 1
        return drawn + (_EMPTY if self._has_blocks else _ASCII_EMPTY) * rest


def _shows_blocks(stream: IO[str]) -> bool:
    try:
        _FULL.encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def packed(parts: Sequence[str], columns: int, *, gap: str = "   ", indent: str = "  ") -> list[str]:
    """Return parts in as few lines as have room for them; no part is broken, however long it is.

    Args:
        parts: Texts without colours; empty ones are left out.

        columns: Characters in a line.

        gap: Stands between two parts of a line.

        indent: Begins every line but the first.
    """
    lines: list[str] = []
    for part in filter(None, parts):
        if lines and len(lines[-1]) + len(gap) + len(part) <= columns:
            lines[-1] += gap + part
        else:
            lines.append(f"{indent if lines else ''}{part}")
    return lines


class LiveLines:
    """Lines at the end of a terminal that are drawn anew in place; elsewhere nothing is drawn.

    Args:
        stream: Where they are drawn; nothing else may be written to it while they stand, but after `erase`.

        environment: Variables; `TERM=dumb` is a terminal that cannot draw in place.
    """

    def __init__(self, stream: IO[str], environment: Mapping[str, str] | None = None) -> None:
        self._stream = stream
        self._environment = os.environ if environment is None else environment
        self._rows = 0
        self.is_live = stream.isatty() and self._environment.get("TERM") != "dumb"

    @property
    def canvas(self) -> Canvas:
        """Width and signs of the terminal as they are now."""
        return Canvas.of(self._stream, self._environment)

    def show(self, lines: Sequence[str]) -> None:
        """Draw lines in place of those that stand."""
        columns = self.canvas.columns
        drawn = "".join(f"{line}\n" for line in lines)
        self._write(f"{self._back()}{drawn}")
        # A line that is longer than the terminal goes on in the next row.
        self._rows = sum(max(1, -(-len(_CODE.sub("", line)) // columns)) for line in lines)

    def erase(self) -> None:
        """Take away the lines that stand."""
        self._write(self._back())
        self._rows = 0

    def _back(self) -> str:
        return f"\x1b[{self._rows}A\r\x1b[J" if self._rows else ""

    def _write(self, text: str) -> None:
        if self.is_live and text:
            self._stream.write(text)
            self._stream.flush()
