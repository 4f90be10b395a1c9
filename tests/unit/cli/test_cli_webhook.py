"""Settings of webhooks."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("ALLOW_NETWORKS", "127.0.0.1/8", "must be networks such as 127.0.0.0/8"),
        ("ALLOW_NETWORKS", "localhost", "must be networks such as 127.0.0.0/8"),
        ("CA_FILE", "/nowhere.pem", "names /nowhere.pem, from which no certificate can be read"),
        ("GIVE_UP_DAYS", "0", "greater than 0"),
    ],
)
def test_settings(prestager, data_dir, monkeypatch: pytest.MonkeyPatch, name: str, value: str, complaint: str) -> None:
    """Wrong settings are told by `config check`."""
    monkeypatch.setenv(f"PRESTAGER_WEBHOOK_{name}", value)

    ended = prestager("config", "check")

    assert (1, True) == (ended.code, f"PRESTAGER_WEBHOOK_{name}" in ended.err)
    assert complaint in ended.err
