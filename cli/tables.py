"""Prints rows in columns: fitted to a terminal, and one line per row for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

# Lines that are not for a terminal are for programs: they are not wrapped.
_ENDLESS: Final = 10_000
_GAP: Final = "  "


def output() -> Console:
    """Return standard output; wide where it is no terminal. What is printed is text as it is, never markup."""
    console = Console(markup=False, highlight=False)
    return console if console.is_terminal else Console(markup=False, highlight=False, width=_ENDLESS)


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows below their headers."""
    console = output()
    if console.is_terminal:
        console.print(_table(headers, rows))
        return
    lines = [tuple(headers), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        console.print(_GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        # What does not fit goes on in the next line; three dots cannot be copied.
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table
