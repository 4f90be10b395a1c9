"""The pictures are those of the code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from rich.text import Text

from docs.pictures import page, state_diagram
from docs.terminal_pictures import COLUMNS, FOLDER, PICTURES, fixed_answers, picture, printed

ROOT = Path(__file__).parents[3]


def test_the_pictures_are_drawn_from_the_code() -> None:
    """What is committed is what `make pictures` draws."""
    assert page() == (ROOT / "docs" / "pictures.md").read_text()


def test_a_diagram() -> None:
    """Names become ids without blanks, each source has its arrow, and what nothing leaves is an end."""
    rows = [{"trigger": "go", "source": ["initial", "on hold"], "dest": "at-end"}]

    assert [
        "stateDiagram-v2",
        "    [*] --> initial",
        '    state "on hold" as on_hold',
        '    state "at-end" as at_end',
        "    initial --> at_end: go",
        "    on_hold --> at_end: go",
        "    at_end --> [*]",
    ] == state_diagram(["initial", "on hold", "at-end"], rows).split("\n")


SCHEMAS = {
    "sw-update-strategy": "CountedStrategy",
    "strategies/12": "HistoricStrategy",
    "sw-update-strategy/problems": "ProblemList",
    "sw-update-strategy/preview": "StrategyPreview",
    "workers": "WorkerList",
    "health": "Health",
}


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("name", PICTURES)
def test_the_pictures_of_commands(name: str, columns: int) -> None:
    """What is committed is what `make pictures` draws from the commands, and docs/cli.md shows it."""
    file = FOLDER / f"{name}-{columns}.svg"

    assert picture(name, columns) == file.read_text()
    assert f"terminal/{file.name}" in (ROOT / "docs" / "cli.md").read_text()


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("name", PICTURES)
def test_what_is_drawn_fits(name: str, columns: int) -> None:
    """No line but of a failure is wider than the terminal, nothing is cut, and a picture loads nothing."""
    lines = [line for line in Text.from_ansi(printed(name, columns)).plain.splitlines() if ": failed: " not in line]

    assert max(map(len, lines)) <= columns, max(lines, key=len)
    assert "…" not in "".join(lines)
    assert "url(http" not in picture(name, columns)


@pytest.mark.parametrize("path", fixed_answers())
def test_the_answers_are_of_this_api(path: str) -> None:
    """The answers that pictures are drawn from have the form that the document of the API has for them."""
    document = json.loads((ROOT / "docs" / "openapi.json").read_text())
    schema = {"$ref": f"#/components/schemas/{SCHEMAS[path]}", "components": document["components"]}

    Draft202012Validator(schema).validate(fixed_answers()[path])
