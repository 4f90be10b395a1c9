"""The pictures are those of the code."""

from __future__ import annotations

from pathlib import Path

from docs.pictures import page, state_diagram

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
