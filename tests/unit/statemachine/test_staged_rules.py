"""When a subcloud ends to show a release as staged."""

from __future__ import annotations

import pytest

from statemachine.staged import is_outlived

# Status, what the site ran when it was staged, what it is declared to run, what it runs now.
Shown = tuple[str | None, str | None, str, str]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (("complete", "22.12", "22.12", "22.12"), False),
        (("complete", "22.12", "22.12", "23.09"), True),
        (("complete", "22.12", "23.09", "22.12"), False),
        (("complete", "23.09", "22.12", "23.09"), False),
        (("complete", None, "22.12", "22.12"), False),
        (("complete", None, "22.12", "23.09"), True),
        (("prestaging", "22.12", "22.12", "23.09"), False),
        (("failed", "22.12", "22.12", "23.09"), False),
        ((None, None, "22.12", "23.09"), False),
    ],
)
def test_a_changed_version_ends_complete(shown: Shown, expected: bool) -> None:
    """Only a complete prestage ends, by another version than the site ran then, or was declared to run."""
    status, then, declared, now = shown
    row = {"prestage_status": status, "prestage_from_version": then, "software_version": declared}

    assert expected is is_outlived(row, now)
