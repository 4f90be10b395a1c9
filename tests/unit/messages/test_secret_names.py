"""Names of secrets: one rule for every place that asks."""

from __future__ import annotations

from time import process_time

import pytest

from messages.secret_names import is_secret_name, mask_fields, mask_values, secret_names, without_secrets

SECRETS = [
    *("password", "sysadmin_password", "Passwd", "rootpassword", "passphrase", "DBPassword", "password2"),
    *("ansible_ssh_pass", "ansible_become_PASS", "bmc_pwd", "bmcPwd", "root-pw", "PWD"),
    *("secret", "client_secrets", "credential", "credentials", "authorization", "set-cookie", "sealed_password"),
    *("token", "x-auth-token", "access_token", "snmp_community", "community"),
    *("api_key", "apikey", "apiKey", "X-API-Key", "ssh_private_key", "ansible_private_key", "secret_key"),
    *("api_keys", "apiKeys", "privateKeys", "access-keys", "pre_shared_key", "wifi_psk", "bmc_creds", "passcode"),
    "\u017fecret",
]
OTHERS = [
    *("name", "key", "routing_key", "tokens", "passed", "bypass_checks", "compass", "passthrough", "passenger_count"),
    *("secretary", "passwordless_sudo", "tokenizer", "community_file", "spawn", "author", "keyboard"),
    *("key_ids", "primary_keys", "creditor", "incredible", "host_keys", "shared_root"),
    *("ansible_ssh_private_key_file", "ansible_ssh_password_mechanism", "password_path", "tokenFile"),
    *("password_fault", "token_name", "for_sw_deploy", "group_id", "management-state", ""),
]


@pytest.mark.parametrize("name", SECRETS)
def test_names_of_secrets(name: str) -> None:
    """A name with a whole word of secrets in it is that of a secret, however it is spelled."""
    assert is_secret_name(name)
    assert {"name": "a"} == without_secrets({name: "x", "name": "a"})


@pytest.mark.parametrize("name", OTHERS)
def test_other_names(name: str) -> None:
    """A word that only holds such a word, and a name that says where a secret is or how it is used, pass."""
    assert not is_secret_name(name)
    assert {name: "x"} == without_secrets({name: "x"})


def test_masked_values() -> None:
    """A secret is masked however deep it is; one without a value is shown to have none."""
    value = {"a": [{"api_key": ["x"], "port": 1}], "password": ""}

    assert {"a": [{"api_key": "***", "port": 1}], "password": ""} == mask_values(value, "***")


def test_nested_secrets() -> None:
    """A secret is found and left out however deep it is, and is named by its place."""
    value = {"a": [{"b": {"api_key": "x", "port": 1}}], "password": {"password": "x"}, "c": 1}

    assert ["a.0.b.api_key", "password"] == list(secret_names(value))
    assert {"a": [{"b": {"port": 1}}], "c": 1} == without_secrets(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("password=abc&force=true", "password=***&force=true"),
        ("a: password=abc", "a: password=***"),
        ('{"api_key": "a b", "port": 22}', '{"api_key": ***, "port": 22}'),
        (r"{\"bmc_pwd\": \"a b\", \"port\": 22}", r"{\"bmc_pwd\": ***, \"port\": 22}"),
        ("{'snmp_community': 'public'}", "{'snmp_community': ***}"),
        ("Authorization: Basic YTpi", "Authorization: Basic ***"),
        ("secret = 'not closed, and more", "secret = ***"),
        ("ansible_ssh_private_key_file=/k bypass=yes", "ansible_ssh_private_key_file=/k bypass=yes"),
        ("the password is wrong", "the password is wrong"),
        ('{"passwords": ["a", "b"], "port": 22}', '{"passwords": ***, "port": 22}'),
        ("{'credential': {'value': 'x', 'of': ('y', ['z}'])}, 'port': 22}", "{'credential': ***, 'port': 22}"),
        ('secrets=[{"of": "a site"', "secrets=***"),
    ],
)
def test_fields_in_a_text(text: str, expected: str) -> None:
    """A secret that is written with its name in a text is masked, and the rest of the text stays."""
    assert expected == mask_fields(text, "***")


@pytest.mark.parametrize(
    "heavy",
    ["a-", "a.", "secret", "secret-", 'secret="', "secret='", "secret =", "\\", " ", "a: ", ":[", ":{'", ':["]'],
)
def test_a_long_text_takes_little_time(heavy: str) -> None:
    """Strangers choose the text, so the time is in proportion to its length."""
    began = process_time()
    mask_fields("password" + heavy * 20_000, "***")

    assert process_time() - began < 1.0
