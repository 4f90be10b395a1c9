"""What Keystone says of a token, read into a caller (contract 12.2)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from api.keystone.identity import is_keystone_error, read_token

HOME = {"id": "p", "name": "admin", "domain": {"id": "default", "name": "Default"}}


def answer(**changes: Any) -> bytes:
    """Return a validation's answer; None leaves a key out."""
    fields = {
        "methods": ["password"],
        "user": {"id": "u1", "name": "alice", "domain": {"id": "default", "name": "Default"}},
        "audit_ids": ["x"],
        "expires_at": "2026-11-22T11:38:24.000000Z",
        "issued_at": "2026-11-22T10:38:24.000000Z",
        "project": HOME,
        "is_domain": False,
        "roles": [{"id": "r1", "name": "reader"}, {"id": "r2", "name": "Configurator"}],
    }
    return json.dumps(
        {"token": {key: value for key, value in (fields | changes).items() if value is not None}}
    ).encode()


def test_caller() -> None:
    """Name and id make the caller, roles are compared in lower case, and times are in UTC."""
    known = read_token(answer(), "Default")

    assert "alice (u1)" == known.caller.name
    assert {"reader", "configurator"} == known.caller.roles
    assert "admin" == known.caller.project
    assert datetime(2026, 11, 22, 11, 38, 24, tzinfo=UTC) == known.expires_at


@pytest.mark.parametrize(
    "changes",
    [
        {"project": None, "roles": None, "is_domain": None},
        {"project": None, "system": {"all": True}},
        {"project": None, "domain": {"id": "default", "name": "Default"}},
        {"project": {"id": "p", "name": "admin", "domain": {"id": "d2", "name": "elsewhere"}}},
        {"project": {"id": "p", "name": "admin", "domain": None}},
        {"is_domain": True},
    ],
)
def test_no_project(changes: dict[str, Any]) -> None:
    """A token for nothing, for a domain, the system, or a project of another domain counts for no project."""
    assert read_token(answer(**changes), "Default").caller.project is None


def test_names_are_for_logs() -> None:
    """A name of many or odd characters is cut and cleaned; the id still tells users apart."""
    user = {"id": "u1", "name": "x\n\x1b[31m" + "y" * 300}

    name = read_token(answer(user=user), "Default").caller.name

    assert name.startswith("x??[31my")
    assert name.endswith("y (u1)")
    assert len(name) < 200


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{}", b'{"token": null}', answer(user={"name": "a"}), answer(expires_at="soon")]
)
def test_what_is_no_answer(body: bytes) -> None:
    """What cannot be read is no caller."""
    with pytest.raises(ValueError):
        read_token(body, "Default")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"error":{"code":404,"message":"Could not recognize Fernet token","title":"Not Found"}}', True),
        (b'{"error":{"code":403}}', False),
        (b"<html>404</html>", False),
        (b"", False),
    ],
)
def test_whose_refusal(body: bytes, expected: bool) -> None:
    """Only Keystone's own page says that a token is unknown."""
    assert expected == is_keystone_error(body, 404)
