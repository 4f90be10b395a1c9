"""The controller's list of software in the form in which StarlingX's packages playbook takes it."""

from __future__ import annotations

from typing import Any

import pytest

from sites.sysinv.interpretation import read_software, software_lines


def entry(version: str, state: str = "deployed", **fields: Any) -> dict[str, Any]:
    """Return an entry of USM's list."""
    return {
        "release_id": f"starlingx-{version}",
        "sw_version": version,
        "state": state,
        "reboot_required": True,
        "packages": [],
        **fields,
    }


LISTED = [
    entry("24.09.0"),
    entry("24.09.1", "available", reboot_required=False),
    entry("25.09.0"),
    entry("25.09.1", "available"),
]


@pytest.mark.parametrize(
    ("release", "own", "lines"),
    [
        ("24.09", "25.09", ["|starlingx-24.09.0|True|deployed|", "|starlingx-24.09.1|False|available|"]),
        ("24.09", "24.09", ["|starlingx-24.09.0|True|deployed|"]),
        ("25.09", "24.09", ["|starlingx-25.09.0|True|deployed|"]),
        ("24.09", None, ["|starlingx-24.09.0|True|deployed|"]),
        ("23.09", "25.09", []),
    ],
)
def test_lines_of_a_release(release: str, own: str | None, lines: list[str]) -> None:
    """Of a release older than the controller's everything counts, of others what is deployed; in USM's order."""
    assert lines == software_lines(read_software(LISTED), release, own)


@pytest.mark.parametrize(
    "body",
    [
        None,
        {"error": "x"},
        ["24.09"],
        [entry("24.09.0", release_id="{{ lookup('pipe', 'id') }}")],
        [entry("24.09.0", state="a\nb")],
        [entry("24.09.0", reboot_required=None) | {"reboot_required": {"a": 1}}],
        [{"sw_version": "24.09.0"}],
    ],
)
def test_what_is_left_out(body: Any) -> None:
    """Nothing but plain names comes from the controller into a playbook, which would evaluate it."""
    assert () == read_software(body)
