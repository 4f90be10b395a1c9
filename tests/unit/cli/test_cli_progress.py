"""How the demonstration shows progress, on a terminal and elsewhere."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from cli.demo.progress import LineView, LiveView, progress_view


def step(name: str, state: str, details: str = "", stage: int = 1) -> dict[str, Any]:
    """Return a step as the API shows it."""
    return {"cloud": name, "state": state, "details": details, "stage": stage, "finished-at": None}


def screen(*, terminal: bool) -> tuple[Console, io.StringIO]:
    """Return a console and what is written to it."""
    written = io.StringIO()
    return Console(file=written, force_terminal=terminal, width=200, markup=False, highlight=False), written


def test_lines_where_nobody_looks() -> None:
    """Only changes are printed, one line each; a site that waits is no news."""
    console, written = screen(terminal=False)

    with progress_view(console) as view:
        assert isinstance(view, LineView)
        view.show([step("a", "initial"), step("b", "prestage-precheck")])
        view.show([step("a", "initial"), step("b", "prestage-precheck")])
        view.show([step("a", "initial"), step("b", "failed", "[bold] is no markup")])

    assert ["stage 1  b  prestage-precheck", "stage 1  b  failed: [bold] is no markup"] == (
        written.getvalue().splitlines()
    )


def test_bars_on_a_terminal() -> None:
    """A terminal shows a bar per stage, the number of sites in each state, and the last failure."""
    console, written = screen(terminal=True)

    with progress_view(console) as view:
        assert isinstance(view, LiveView)
        view.show([step("a", "prestaging-images"), step("b", "initial", stage=2)])
        view.show([step("a", "complete"), step("b", "failed", "no space", stage=2)])

    shown = written.getvalue()
    assert "stage 1" in shown
    assert "stage 2" in shown
    assert "complete 1  failed 1" in shown
    assert "last failure: b: no space" in shown
