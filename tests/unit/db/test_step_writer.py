"""One writer of step states: the core fires every transition, and one module of the database writes them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
WRITER = "db/apply_step_moves.py"
# Programs of others, and what is no part of the service.
OUTSIDE = frozenset({"tests", "playbooks", "docs", "bin", "examples", "deploy"})


def sources() -> Iterator[tuple[str, str]]:
    """Yield path and text of every module of the service."""
    for path in sorted(ROOT.glob("*/**/*.py")):
        name = path.relative_to(ROOT)
        if name.parts[0] not in OUTSIDE and not name.parts[0].startswith("."):
            yield str(name), path.read_text(encoding="utf-8")


def state_writes(text: str) -> list[int]:
    """Return the lines of statements that update steps and set their state, or that hide which columns they set."""
    return [
        call.lineno
        for call in ast.walk(ast.parse(text))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "values"
        and "update(steps)" in ast.unparse(call.func.value)
        and (call.args or any(keyword.arg in {None, "state"} for keyword in call.keywords))
    ]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("update(steps).where(steps.c.id == 1).values(state='failed')", [1]),
        ("update(steps).values({'details': ''})", [1]),
        ("update(steps).values(**values)", [1]),
        ("update(steps).where(of).values(version=2).returning(steps.c.id)", []),
        ("update(runs).values(state='finished')", []),
    ],
)
def test_such_writes_are_found(statement: str, expected: list[int]) -> None:
    """A statement counts that sets the state of steps, or columns that cannot be read from it."""
    assert expected == state_writes(statement)


def test_step_states_have_one_writer() -> None:
    """No module but one updates the state of steps."""
    assert {WRITER} == {name for name, text in sources() if state_writes(text)}


def test_transitions_are_fired_in_the_core() -> None:
    """No module outside the core fires a transition of a step: the database writes the state that it is given."""
    firing = {name for name, text in sources() if "StepMachine" in text or "STEP.fire" in text}

    assert {name for name in firing if not name.startswith("statemachine/")} == set()
