from __future__ import annotations

import pytest

from api.errors import BootstrapValuesError
from api.subcloud_body import parse_bootstrap_values


def test_real_file() -> None:
    """A usual file gives its keys and values as written."""
    content = b"""---
system_mode: simplex
name: "subcloud1"
description: 'test'
management_subnet: 192.168.101.0/24
management_start_address: 192.168.101.2
external_oam_floating_address: 10.10.10.12
connection:
  ansible_port: 2222
docker_registries:
  docker.io: {username: u, password: p}
"""

    assert parse_bootstrap_values(content) == {
        "system_mode": "simplex",
        "name": "subcloud1",
        "description": "test",
        "management_subnet": "192.168.101.0/24",
        "management_start_address": "192.168.101.2",
        "external_oam_floating_address": "10.10.10.12",
        "connection": {"ansible_port": 2222},
        "docker_registries": {"docker.io": {"username": "u", "password": "p"}},
    }


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("22.10", "22.10"),
        ("no", "no"),
        ("2001:10:20:30:40:50:51:52", "2001:10:20:30:40:50:51:52"),
        ("2022-01-01", "2022-01-01"),
        ("0123", "0123"),
        ("1_000", "1_000"),
        ("true", True),
        ("42", 42),
        ("-7", -7),
        ("", None),
        ("~", None),
        ("null", None),
        ('"42"', "42"),
    ],
)
def test_values_stay_what_was_written(written: str, read: object) -> None:
    """Only null, true/false and decimal whole numbers are other than text."""
    assert {"key": read} == parse_bootstrap_values(f"key: {written}\n".encode())


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"a: [1\nb: 2", "bootstrap_values is not valid YAML (line 2)"),
        (b"a: \xff", "bootstrap_values is not valid YAML"),
        (b"a: \x00", "bootstrap_values is not valid YAML"),
        (b"a: 1\n---\nb: 2\n", "bootstrap_values is not valid YAML (line 2)"),
        (b"a: !!python/object/apply:os.system ['true']", "bootstrap_values is not valid YAML (line 1)"),
        (b"a: !!timestamp 2022-01-01", "bootstrap_values holds a value that cannot be read"),
        (b"a: !!float .inf", "bootstrap_values holds a value that cannot be read"),
        (b"a: !!int x", "bootstrap_values holds a value that cannot be read"),
        (b"", "bootstrap_values must be a mapping of names to values"),
        (b"- a\n- b\n", "bootstrap_values must be a mapping of names to values"),
        (b"text", "bootstrap_values must be a mapping of names to values"),
        (b"a: &x [1]\nb: *x\n", "bootstrap_values must not use aliases"),
        (b"a: " + b"[" * 100_000, "bootstrap_values is nested too deeply"),
        (b"a: " + b"{b: " * 50 + b"}" * 50, "bootstrap_values is nested too deeply"),
    ],
)
def test_unreadable_files(content: bytes, fault: str) -> None:
    """A file that cannot be read, or costs too much, is refused with the reason and the line."""
    with pytest.raises(BootstrapValuesError) as caught:
        parse_bootstrap_values(content)

    assert fault == str(caught.value)


def test_fault_repeats_nothing_of_the_file() -> None:
    """The error and what it came from hold no content: the file may hold passwords."""
    with pytest.raises(BootstrapValuesError) as caught:
        parse_bootstrap_values(b"password: 'Li69nux*\nb: [")

    assert "Li69nux" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_byte_order_mark() -> None:
    """The mark that some editors put first is no part of the first key."""
    assert parse_bootstrap_values(b"\xef\xbb\xbfname: a") == {"name": "a"}
