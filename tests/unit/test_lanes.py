"""The lanes of the tests."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.conftest import _FIRST, _NOT_QUICK, _QUICK, is_quick, may_have_quick_tests, place_of

TESTS = Path(__file__).parents[1]


class Item:
    """A test of a file, with or without a mark, of a kind of database."""

    def __init__(self, name: str, *, marked: bool = False, kind: str | None = None) -> None:
        self.path = TESTS / name
        self._marked = marked
        if kind is not None:
            self.callspec = SimpleNamespace(params={"database_kind": kind})

    def get_closest_marker(self, name: str) -> object:
        """Return the mark `quick`, if it has it."""
        return name if self._marked else None


def test_what_is_left_out_exists() -> None:
    """Files that the quick lane leaves out exist and are in a folder of that lane."""
    assert sorted(_NOT_QUICK) == sorted(
        name for name in _NOT_QUICK if name.startswith(_QUICK) and (TESTS / name).is_file()
    )


def test_what_begins_first_exists() -> None:
    """Each place in the order of the beginning has tests, so that nothing that takes minutes comes last unnoticed."""
    places = {place_of(file) for file in TESTS.rglob("test_*.py")}

    assert {*range(len(_FIRST) + 1)} == places


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (Item("unit/test_lanes.py"), True),
        (Item(next(iter(_NOT_QUICK))), False),
        (Item("faults/test_fault_kills.py"), False),
        (Item("faults/test_fault_kills.py", marked=True), True),
        (Item("integration/actors/test_audit.py", kind="sqlite"), True),
        (Item("integration/actors/test_audit.py", kind="postgresql"), False),
        (Item("integration/actors/test_audit.py", kind="postgresql", marked=True), True),
        (Item("integration/db/test_db_claims.py", kind="postgresql"), True),
    ],
)
def test_a_test_has_one_lane(item: Item, expected: bool) -> None:
    """Folder, exception, kind of database and mark decide, in this order."""
    assert is_quick(item) is expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("unit", True),
        ("integration", True),
        ("faults", False),
        ("integration/amqp", False),
        ("integration/db/test_db_claims.py", True),
        ("integration/db/test_db_loader.py", False),
        # It has a mark.
        ("acceptance/crash/test_crash_any_time.py", True),
    ],
)
def test_what_the_quick_lane_does_not_load(name: str, expected: bool) -> None:
    """Files and folders without a test of the quick lane are told from their paths and the marks in their texts."""
    assert may_have_quick_tests(TESTS / name) is expected
