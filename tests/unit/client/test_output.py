"""Tables, JSON, CSV and names."""

from __future__ import annotations

import csv
import io
import json
import os
from typing import Any

import pytest

from client.output import OutputFormat, ShownField, print_record, print_records
from client.strategy_queries import STRATEGY_FIELDS

FIELDS = (
    ShownField(key="cloud", title="site"),
    ShownField(key="extra.more", title="more", is_wide=True),
    ShownField(key="details", title="details"),
)
LONG = "Not enough space for the images, " * 10
ROWS: list[dict[str, Any]] = [
    {"cloud": "edge-1", "details": "", "extra": {"more": True}},
    {"cloud": "edge-20", "details": 'a "b", c', "extra": {"more": None}},
]


def printed(capsys: pytest.CaptureFixture[str], form: str, rows: list[dict[str, Any]] = ROWS) -> str:
    """Return what is printed of rows."""
    print_records(rows, FIELDS, OutputFormat(form), "cloud")
    return capsys.readouterr().out


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    """A table has a line for each row, in columns of equal width."""
    assert printed(capsys, "table") == 'SITE     DETAILS\nedge-1\nedge-20  a "b", c\n'


def test_wide(capsys: pytest.CaptureFixture[str]) -> None:
    """`wide` has more columns, also of keys below others."""
    assert printed(capsys, "wide").splitlines()[:2] == ["SITE     MORE  DETAILS", "edge-1   yes"]


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """`json` and `jsonl` have the objects as the API has them."""
    assert json.loads(printed(capsys, "json")) == ROWS
    assert [json.loads(line) for line in printed(capsys, "jsonl").splitlines()] == ROWS


def test_csv(capsys: pytest.CaptureFixture[str]) -> None:
    """`csv` has all columns under the API's own names."""
    assert list(csv.reader(io.StringIO(printed(capsys, "csv")))) == [
        ["cloud", "extra.more", "details"],
        ["edge-1", "yes", ""],
        ["edge-20", "", 'a "b", c'],
    ]


def test_names(capsys: pytest.CaptureFixture[str]) -> None:
    """`name` has a name a line; nothing is printed of nothing."""
    assert printed(capsys, "name") == "edge-1\nedge-20\n"
    assert printed(capsys, "name", []) == ""


def test_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    """One object is a line for each field in a table, and an object in JSON."""
    print_record(ROWS[1], FIELDS, OutputFormat.TABLE, "cloud")
    assert capsys.readouterr().out == 'site     edge-20\ndetails  a "b", c\n'
    print_record(ROWS[1], FIELDS, OutputFormat.JSON, "cloud")
    assert json.loads(capsys.readouterr().out) == ROWS[1]


@pytest.mark.parametrize("form", list(OutputFormat))
def test_no_commands_to_a_terminal(capsys: pytest.CaptureFixture[str], form: OutputFormat) -> None:
    """Characters that act on a terminal, or turn what follows around, are not printed as they are, in no form."""
    text = "a\x1b]0;x\x07b\x9b2Jc\nd\u202ee\u2066f\u200bg"

    print_records([{"cloud": text, "details": text}], FIELDS, form, "cloud")

    out = capsys.readouterr().out
    assert out.replace("\n", "").isprintable()
    if form in {OutputFormat.JSON, OutputFormat.JSONL}:
        assert text in out.encode().decode("unicode_escape")


def test_nothing_is_cut(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pipe a row is one line; on a terminal a long last column goes on below itself, and is whole too."""
    rows = [{"cloud": "edge-1", "details": LONG}]
    assert printed(capsys, "table", rows).splitlines()[1] == f"edge-1  {LONG.rstrip()}"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")

    lines = printed(capsys, "table", rows).splitlines()

    assert max(map(len, lines)) <= int(os.environ["COLUMNS"])
    assert " ".join(" ".join(lines[1:]).split()) == f"edge-1 {LONG.rstrip()}"


@pytest.mark.parametrize(("columns", "titles"), [("80", ["SITE", "DETAILS"]), ("120", ["SITE", "STARTED", "DETAILS"])])
def test_spare_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str, titles: list[str]
) -> None:
    """A terminal that is too narrow for all columns is given those that count, within its width; a pipe all of them."""
    fields = (
        ShownField(key="cloud", title="site"),
        ShownField(key="started", title="STARTED", is_spare=True),
        ShownField(key="details", title="details"),
    )
    rows = [{"cloud": "edge-1" * 4, "started": "2026-11-30 00:01:19", "details": LONG}]
    print_records(rows, fields, OutputFormat.TABLE, "cloud")
    assert capsys.readouterr().out.splitlines()[0].split() == ["SITE", "STARTED", "DETAILS"]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", columns)

    print_records(rows, fields, OutputFormat.TABLE, "cloud")

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == titles
    assert max(map(len, lines)) <= int(columns)


def test_two_columns_of_sentences(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal that is too narrow the widest columns are folded, whichever they are, and no name is broken."""
    fields = (ShownField(key="id", title="id"), *(ShownField(key=key, title=key) for key in ("text", "advice")))
    rows = [{"id": "3fa9c2d1e0b7", "text": "Permission denied " * 4, "advice": "Give the site's own password " * 3}]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")

    print_records(rows, fields, OutputFormat.TABLE, "id")

    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 60
    assert lines[1].startswith("3fa9c2d1e0b7  Permission")
    assert (4, 3) == ("".join(lines).count("Permission"), "".join(lines).count("password"))


def test_fields_without_a_value(capsys: pytest.CaptureFixture[str]) -> None:
    """A table of one object has the fields with a value; `wide` has all."""
    print_record(ROWS[0], FIELDS, OutputFormat.TABLE, "cloud")
    assert capsys.readouterr().out == "site  edge-1\n"
    print_record(ROWS[0], FIELDS, OutputFormat.WIDE, "cloud")
    assert capsys.readouterr().out == "site     edge-1\nmore     yes\ndetails\n"


def test_commands_that_are_possible_now(capsys: pytest.CaptureFixture[str]) -> None:
    """The commands of a strategy have the names of the command line."""
    print_record({"id": 1, "commands": ["abort", "pause", "update"]}, STRATEGY_FIELDS, OutputFormat.TABLE, "id")

    assert "possible now  abort, pause, set\n" in capsys.readouterr().out
