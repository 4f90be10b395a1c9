from __future__ import annotations

import pytest

from api.content import hints_at_secret, is_secret, without_secrets


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
