"""The lanes of the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import _FIRST, _NOT_QUICK, _QUICK, is_quick, place_of

TESTS = Path(__file__).parents[1]


class Item:
    """A test of a file, with or without a mark."""

    def __init__(self, name: str, *, marked: bool = False) -> None:
        self.path = TESTS / name
        self._marked = marked

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
    ],
)
def test_a_test_has_one_lane(item: Item, expected: bool) -> None:
    """Folder, exception and mark decide, in this order."""
    assert is_quick(item) is expected  # type: ignore[arg-type]
