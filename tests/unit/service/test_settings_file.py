"""Secrets in a file of settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.load_settings import holds_secrets


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('site_password = "x"', True),
        ('[site]\n[site.login]\npassword = "x"', True),
        ('[[registries]]\nname = "a"\n[[registries]]\napi_key = "x"', True),
        ('registries = [[{token = "x"}]]', True),
        ('broker_url = "amqp://me:x@host/"', True),
        ('broker_url = "amqp://me@host/"\n[site]\nport = 22', False),
        ('site_password_file = "/run/secrets/site"', False),
        ("", False),
        ("password = ", False),
    ],
)
def test_a_file_that_holds_secrets(tmp_path: Path, content: str, expected: bool) -> None:
    """A file holds a secret where a name or a URL in it says so, however deep the name is; a broken one holds none."""
    file = tmp_path / "settings.toml"
    file.write_text(content)

    assert expected is holds_secrets(file)


def test_no_file_of_settings(tmp_path: Path) -> None:
    """A file that is missing holds no secret."""
    assert not holds_secrets(tmp_path / "settings.toml")
