from __future__ import annotations

from datetime import date

import pytest

from api.content import check, hints_at_secret, is_secret, without_secrets


@pytest.mark.parametrize(
    "key", ["sysadmin_password", "ansible_become_pass", "Password", "bmc-password", "ssh_private_key", "api_token"]
)
def test_secret_keys(key: str) -> None:
    """A key that ends like a secret's is one; its value does not leave the API."""
    assert is_secret(key)
    assert without_secrets({key: "x", "name": "a"}) == {"name": "a"}


@pytest.mark.parametrize("key", ["name", "bypass", "for_sw_deploy", "group_id", "management-state", "force"])
def test_other_keys(key: str) -> None:
    """A key of the contract is no secret."""
    assert not is_secret(key)


@pytest.mark.parametrize("name", ["ansible_ssh_pass", "ansible_password", "ansible_ssh_private_key_file", "x_secret_y"])
def test_secret_connection_variables(name: str) -> None:
    """A connection variable with a word of secrets anywhere in its name is taken for one."""
    assert hints_at_secret(name)


@pytest.mark.parametrize("value", ["\0", "\ud800", float("nan"), date(2022, 1, 1), b"x", {"a": ["\0"]}, {"\udfff": 1}])
def test_what_cannot_be_stored(value: object) -> None:
    """What JSON or the database cannot hold is found wherever it is."""
    with pytest.raises(ValueError):
        check(value)


def test_what_can_be_stored() -> None:
    """All that JSON has can be stored, to a depth of 32."""
    value: object = "deep"
    for _ in range(31):
        value = [value]

    check({"a": value, "b": [1, 1.5, None, True, "ü"]})

    with pytest.raises(ValueError):
        check({"a": [value]})
