from __future__ import annotations

import pytest

from statemachine.releases import is_older, is_outlived, is_release


@pytest.mark.parametrize("text", ["22.12", "1.0", "0.0", "9999.9999"])
def test_release(text: str) -> None:
    """Two numbers of up to four digits and a dot are a release."""
    assert is_release(text)


@pytest.mark.parametrize(
    "text", ["", "22", "22.", ".12", "22.12.1", "22,12", "v22.12", " 22.12", "22.12\n", "-1.2", "12345.1", "२२.१२"]
)
def test_no_release(text: str) -> None:
    """Anything else is none."""
    assert not is_release(text)


@pytest.mark.parametrize(
    ("release", "than"), [("21.12", "22.06"), ("22.06", "22.12"), ("9.9", "9.10"), ("9.12", "10.1")]
)
def test_older(release: str, than: str) -> None:
    """Releases are compared number by number, never as text, and only one way round."""
    assert is_older(release, than)
    assert not is_older(than, release)


@pytest.mark.parametrize(("release", "than"), [("22.12", "22.12"), ("22.12", "x"), ("x", "22.12"), ("", "")])
def test_not_older(release: str, than: str) -> None:
    """Nothing is older than itself, and a text that is no release is older than nothing."""
    assert not is_older(release, than)


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
