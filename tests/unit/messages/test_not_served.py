"""Callers who mean dcmanager's own API are told so; for what dcmanager does not have either, nothing is said."""

from __future__ import annotations

import pytest

from messages.dcmanager import NOT_SERVED, not_served_path, with_not_served


@pytest.mark.parametrize(
    "path",
    [
        "/v1.0/subcloud-backup",
        "/v1.0/subcloud-backup/restore",
        "/v1.0/system-peers/",
        "/v1.0/phased-subcloud-deploy/edge-1/install",
        "/v1.0/subclouds/edge-1/redeploy",
        "/v1.0/subclouds/edge-1/redeploy/",
    ],
)
def test_paths_of_dcmanager(path: str) -> None:
    """A path that dcmanager serves and we do not is said to be its."""
    assert NOT_SERVED == not_served_path(path)


@pytest.mark.parametrize(
    "path", ["/", "", "/v1.0", "/v1.0/nothing", "/v2.0/alarms", "/alarms", "/v1.0/subclouds/alarms", "/v1.0/subclouds"]
)
def test_other_paths(path: str) -> None:
    """Of any other path nothing is said."""
    assert "" == not_served_path(path)


@pytest.mark.parametrize("foreign", ["patch", "sw-deploy", "kubernetes"])
def test_types_of_dcmanager(foreign: str) -> None:
    """A type of strategy that dcmanager serves is said to be its, after the contract's text."""
    assert f"type invalid. {NOT_SERVED}" == with_not_served("type invalid", foreign)
    assert f"It does not exist. {NOT_SERVED}" == with_not_served("It does not exist.", foreign)


@pytest.mark.parametrize("other", ["prestages", "", None, 1, ["patch"], {"patch": 1}])
def test_other_types(other: object) -> None:
    """Of any other type the contract's text is all that is said."""
    assert "type invalid" == with_not_served("type invalid", other)
