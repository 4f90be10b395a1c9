"""Interpretation of dcmanager's list of subclouds."""

from __future__ import annotations

from typing import Any

import pytest

from sites.dcmanager import DcmanagerSubclouds, read_subclouds
from sites.errors import SiteRequestError
from statemachine.site_operations import SiteOperation


def test_operations_by_name() -> None:
    """Subclouds with an operation that goes on are told by name; all are counted, other keys do not matter."""
    body = {
        "subclouds": [
            {"name": "a", "backup-status": "backing-up", "prestage-status": None, "id": 1, "data_install": "{}"},
            {"name": "b", "backup-status": "complete-central", "deploy-status": "complete"},
            {"name": "c", "deploy-status": "installing"},
        ]
    }
    expected = {
        "a": SiteOperation(key="backup-status", status="backing-up"),
        "c": SiteOperation(key="deploy-status", status="installing"),
    }

    assert DcmanagerSubclouds(count=3, operations=expected) == read_subclouds(body)


def test_no_subcloud() -> None:
    """An empty list is a list."""
    assert DcmanagerSubclouds(count=0, operations={}) == read_subclouds({"subclouds": []})


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (None, "It gave no list subclouds"),
        ([], "It gave no list subclouds"),
        ({"subclouds": {}}, "It gave no list subclouds"),
        ({"subclouds": ["a"]}, "It gave no list subclouds"),
        ({"subclouds": [{"id": 1}]}, "Its list subclouds has one without a name."),
        ({"subclouds": [{"name": ""}]}, "Its list subclouds has one without a name."),
        ({"subclouds": [{"name": ["a"]}]}, "Its list subclouds has one without a name."),
        ({"subclouds": [{"name": "a"}, {"name": "b"}, {"name": "a"}]}, "Its list subclouds has 'a' twice."),
        ({"subclouds": [{"name": "x" * 999, "backup-status": 1}]}, f"Its backup-status of '{'x' * 64}' is no text."),
    ],
)
def test_what_is_no_list_of_subclouds(body: Any, cause: str) -> None:
    """What does not answer as dcmanager does is told in one bounded sentence, and never taken for an empty list."""
    with pytest.raises(SiteRequestError) as caught:
        read_subclouds(body)

    assert str(caught.value).startswith(cause)
