"""Print rows and objects as a table, JSON, CSV or names, for people and for programs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest
from shutil import get_terminal_size
from textwrap import wrap
from typing import Annotated, Any, Final

import typer

_GAP: Final = "  "
# The last column is not made narrower than that, in characters.
_NARROWEST: Final = 20
# A column of sentences gets so much, if they are as long, before spare columns are shown, in characters.
_COMFORTABLE: Final = 40
_QUOTED: Final = re.compile(r'[",]')

Record = Mapping[str, Any]


class OutputFormat(StrEnum):
    """Form in which a command prints what it found."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    NAME = "name"


Output = Annotated[OutputFormat, typer.Option("--output", "-o", help="Form of the output.")]


@dataclass(frozen=True, kw_only=True)
class ShownField:
    """A key of the API's objects as a column of a table, or as a line where one object is shown.

    Attributes:
        key: Key of the object, dots for keys below it; it heads the column of CSV.

        title: Name of the line where one object is shown; in capitals it heads the column of a table.

        is_wide: It is shown in `wide` and CSV only.

        is_spare: A table leaves this column out on a terminal that is too narrow for it.

        text: Makes a text of the value; None: the usual one.

        whole: Makes the text of the whole object instead, where it comes from several keys.
    """

    key: str
    title: str
    is_wide: bool = False
    is_spare: bool = False
    text: Callable[[Any], str] | None = None
    whole: Callable[[Record], str] | None = None

    def of(self, record: Record) -> str:
        """Return the text of this field of an object; empty where it has none."""
        if self.whole is not None:
            return printable(self.whole(record))
        value = _value(record, self.key)
        return printable(self.text(value)) if self.text is not None and value is not None else _text(value)


def say(sentence: str) -> None:
    """Print a sentence for the operator, on standard error: standard output is for data."""
    typer.echo(printable(sentence), err=True)


def print_records(
    records: Sequence[Record], fields: Sequence[ShownField], form: OutputFormat, name: str, *, has_head: bool = True
) -> None:
    """Print a list of objects; nothing in a table is cut.

    Args:
        records: Objects of the API.

        fields: Columns of `table`, `wide` and `csv`; JSON has the objects as they are.

        form: Form of the output.

        name: Key of what `name` prints.

        has_head: Whether CSV begins with the line of keys.
    """
    match form:
        case OutputFormat.TABLE | OutputFormat.WIDE:
            columns = [[field.title.upper(), *map(field.of, records)] for field in _columns(records, fields, form)]
            _write(_table(list(zip(*columns, strict=True))))
        case OutputFormat.JSON:
            _write([_json(records, indent=2)])
        case OutputFormat.CSV:
            _write(list(_lines(records, fields, form, name))[0 if has_head else 1 :])
        case _:
            _write(_lines(records, fields, form, name))


def print_found(records: Sequence[Record], fields: Sequence[ShownField], form: OutputFormat, name: str) -> None:
    """Print a list as `print_records` does; of an empty one no table, whose head alone would say nothing."""
    if records or form not in {OutputFormat.TABLE, OutputFormat.WIDE}:
        print_records(records, fields, form, name)


def print_record(record: Record, fields: Sequence[ShownField], form: OutputFormat, name: str) -> None:
    """Print one object, in `table` a line for each field that has a value, in `wide` for each.

    The arguments are those of `print_records`.
    """
    match form:
        case OutputFormat.TABLE | OutputFormat.WIDE:
            found = [(field, field.of(record)) for field in fields]
            is_wide = form is OutputFormat.WIDE
            _write(_table([[field.title, text] for field, text in found if is_wide or (text and not field.is_wide)]))
        case OutputFormat.JSON:
            _write([_json(record, indent=2)])
        case _:
            _write(_lines([record], fields, form, name))


def _columns(records: Sequence[Record], fields: Sequence[ShownField], form: OutputFormat) -> list[ShownField]:
    """Return the columns of a table: on a terminal as many of the spare ones, the last of them first, as have room."""
    if form is OutputFormat.WIDE:
        return list(fields)
    shown = [field for field in fields if not field.is_wide]
    if not sys.stdout.isatty():
        return shown
    widths = {field.key: _comfortable([field.title, *map(field.of, records)]) for field in shown}
    room = get_terminal_size().columns
    for spare in [field for field in shown if field.is_spare]:
        if sum(widths[field.key] for field in shown) + len(_GAP) * (len(shown) - 1) > room:
            shown.remove(spare)
    return shown


def _comfortable(cells: Sequence[str]) -> int:
    """Return the width with which a column is easy to read: texts of several words go on below themselves."""
    longest = max(cells, key=len)
    return len(longest) if " " not in longest else min(len(longest), _COMFORTABLE)


def _lines(records: Sequence[Record], fields: Sequence[ShownField], form: OutputFormat, name: str) -> Iterator[str]:
    if form is OutputFormat.JSONL:
        yield from (_json(record) for record in records)
    elif form is OutputFormat.NAME:
        yield from (_text(_value(record, name)) for record in records)
    else:
        yield _csv([field.key for field in fields])
        yield from (_csv([field.of(record) for field in fields]) for record in records)


def _csv(cells: Iterable[str]) -> str:
    """Return a line of CSV (RFC 4180)."""
    return ",".join('"{}"'.format(cell.replace('"', '""')) if _QUOTED.search(cell) else cell for cell in cells)


def _json(value: Any, indent: int | None = None) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    # A line end is one of the indentation: those of texts are escaped already.
    return "".join(sign if sign.isprintable() or sign == "\n" else json.dumps(sign)[1:-1] for sign in text)


def _value(record: Record, key: str) -> Any:
    found: Any = record
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case Mapping():
            return ", ".join(f"{key} {_text(one)}" for key, one in value.items())
        case list():
            return ", ".join(map(_text, value))
        case _:
            return printable(str(value))


def printable(text: str) -> str:
    """Return a text as one line without characters that a terminal would obey or that change the direction of others.

    White space becomes spaces, anything else that does not print the replacement character.
    """
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(sign: str) -> str:
    if sign.isprintable():
        return sign
    return " " if sign.isspace() else "\N{REPLACEMENT CHARACTER}"


def _table(lines: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield lines with columns of equal width; on a terminal, what is too long for its column goes on below it."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    if sys.stdout.isatty():
        widths = _fitted(lines, widths, get_terminal_size().columns - len(_GAP) * (len(widths) - 1))
    for line in lines:
        cells = [_folded(cell, width) for cell, width in zip(line, widths, strict=True)]
        for parts in zip_longest(*cells, fillvalue=""):
            yield _GAP.join(part.ljust(width) for part, width in zip(parts, widths, strict=True)).rstrip()


def _fitted(lines: Sequence[Sequence[str]], widths: Sequence[int], room: int) -> list[int]:
    """Return widths that fit into the room: the widest columns become narrower, but for the last none breaks a word."""
    least = [max(len(word) for cell in column for word in [*cell.split(), ""]) for column in zip(*lines, strict=True)]
    least[-1] = min(least[-1], _NARROWEST)
    fitted = list(widths)
    while sum(fitted) > room:
        wide = [number for number, width in enumerate(fitted) if width > least[number]]
        if not wide:
            break
        fitted[max(wide, key=fitted.__getitem__)] -= 1
    return fitted


def _folded(cell: str, width: int) -> list[str]:
    return wrap(cell, width, break_on_hyphens=False) if len(cell) > width else [cell]


def _write(lines: Iterable[str]) -> None:
    text = "\n".join(lines)
    if text:
        # Not by `typer.echo`, which replaces an output whose encoding is ASCII: that shows the rest as escapes.
        sys.stdout.write(f"{text}\n")
