"""Connection variables: what callers may set, in which form, and what wins when the operator says something too."""

from __future__ import annotations

from typing import Any

import pytest

from messages.connection_variables import is_set_by_prestager, site_variables
from messages.errors import RequestError
from messages.requests.base import parse_request
from messages.requests.subcloud import ImportedSubcloudChange, NewSubcloud, SubcloudChange

IMPORT_ONLY = [
    *("ansible_ssh_common_args", "ansible_ssh_extra_args", "ansible_ssh_args", "ansible_ssh_executable"),
    *("ansible_connection", "ansible_shell_executable", "ansible_become_exe", "ansible_become_method"),
    *("ansible_ssh_host", "ansible_ssh_port", "ansible_ssh_user", "ansible_ssh_private_key_file"),
    *("ansible_delegate_to", "ansible_playbook_python", "prestage_archive_dir", "prestage_shared_root"),
    *("prestager_origin", "controller_feed_root", "prestage_lock_lease_s"),
    *("ANSIBLE_HOST", "ansible_host ", "ansible_host\n", "", "{key}{value}", "x" * 300, "platform_backup_dir"),
]


def callers(variables: Any) -> Any:
    """Return the variables that are kept of a caller's."""
    return parse_request(SubcloudChange, {"connection": variables}).connection


def row(operators: dict[str, Any], caller: dict[str, Any]) -> dict[str, Any]:
    """Return a subcloud."""
    return {"connection": operators, "caller_connection": caller}


@pytest.mark.parametrize("name", IMPORT_ONLY)
@pytest.mark.parametrize("model", [NewSubcloud, SubcloudChange])
def test_what_only_the_import_may_bring(model: type[NewSubcloud], name: str) -> None:
    """Callers may set none but the listed variables, new or known site; the refusal names the variable on one line."""
    with pytest.raises(RequestError) as refused:
        parse_request(model, {"name": "a", "connection": {"ansible_port": 22, name: "x"}})

    shown = name[:62].replace("\n", "\\n")
    assert str(refused.value).startswith(f"Invalid connection: {shown}")
    assert "can only come by prestager subcloud import" in str(refused.value)


def test_a_variable_without_a_name() -> None:
    """The refusal of a variable without a name repeats none of the values, which may be secret."""
    with pytest.raises(RequestError, match=r"^Invalid connection: '' can only come") as refused:
        parse_request(SubcloudChange, {"connection": {"": "Li69nux*"}})

    assert "Li69nux*" not in str(refused.value)


@pytest.mark.parametrize("name", IMPORT_ONLY)
def test_the_import_brings_anything(name: str) -> None:
    """The operator's own file may hold every variable, with any value."""
    assert {name: "-x"} == parse_request(ImportedSubcloudChange, {"connection": {name: "-x"}}).connection


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("ansible_port", 1, 1),
        ("ansible_port", 65535, 65535),
        ("ansible_port", "2222", 2222),
        ("ansible_host", "10.0.0.1", "10.0.0.1"),
        ("ansible_host", "fd00::1", "fd00::1"),
        ("ansible_host", "edge-1.example.com", "edge-1.example.com"),
        ("ansible_host", "x" * 253, "x" * 253),
        ("ansible_user", "_ops.team-1", "_ops.team-1"),
        ("ansible_user", "x" * 32, "x" * 32),
        ("ansible_python_interpreter", "/usr/bin/python3.11", "/usr/bin/python3.11"),
        ("ansible_remote_tmp", "/home/x/~a/.ansible/tmp", "/home/x/~a/.ansible/tmp"),
        ("prestage_min_free_bytes", 0, 0),
        ("prestage_image_quota_bytes", "1073741824", 1073741824),
        ("site_version_file", "/etc/build.info", "/etc/build.info"),
        ("site_feed_dir", "/var/www/pages/feed/rel-22.12", "/var/www/pages/feed/rel-22.12"),
        ("site_image_list_file", "/opt/list", "/opt/list"),
    ],
)
def test_forms_of_the_variables(name: str, value: Any, kept: Any) -> None:
    """Each listed variable is taken in its form; numbers may be written as texts."""
    assert {name: kept} == callers({name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("ansible_port", value) for value in (0, 65536, -1, True, 22.0, "", "22 ", "+22", "22\n", "-p1", None, [22])),
        *(("ansible_port", value) for value in ("٢٢", "{{ 22 }}", "9" * 5000)),
        *(("ansible_host", value) for value in ("", "-oProxyCommand=x", "a b", "a\n", "a;b", "x" * 254, "{{ a }}")),
        *(("ansible_host", value) for value in (1, None, ["10.0.0.1"], "10.0.0.1/8", "user@host", "[fd00::1]", "ä")),
        *(("ansible_user", value) for value in ("", "-l", "1a", "a b", "a\n", "x" * 33, "a@b", "$(id)", 5)),
        *(("ansible_python_interpreter", value) for value in ("python3", "~/python", "/a b", "/a;b", "/a\n", "-c", 1)),
        *(("ansible_remote_tmp", value) for value in ("~/tmp", "$HOME", "/x/$(id)", "", "/{{ x }}", "/" + "x" * 1024)),
        *(("prestage_min_free_bytes", value) for value in (-1, "1k", 1.5, 2**63, True)),
        *(("site_feed_dir", value) for value in ("a/feeds", "/a'b", "/a|b", "/a`b")),
    ],
)
def test_wrong_forms(name: str, value: Any) -> None:
    """Anything else than the form of a variable is refused, in the whole and by its name, without the value."""
    with pytest.raises(RequestError) as refused:
        callers({name: value})

    assert str(refused.value).startswith(f"Invalid connection: {name} must be ")
    if isinstance(value, str) and len(value) > 3:
        assert value not in str(refused.value)


@pytest.mark.parametrize(
    "variables",
    [
        {"ansible_ssh_pass": "hunter2"},
        {"ansible_port": 22, "x": [{"deep": {"api_key": "hunter2"}}]},
        '{"bmc_pwd": "hunter2"}',
    ],
)
def test_secrets_are_refused(variables: Any) -> None:
    """A secret anywhere in the variables is refused as one, by HTTP and by AMQP alike, and not repeated."""
    with pytest.raises(RequestError, match=r"looks like a secret; passwords come with") as refused:
        callers(variables)

    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "no json", "[]", "22", '{"ansible_port"', "[" * 100_000])
def test_texts_that_hold_no_variables(text: str) -> None:
    """A text must be a JSON object; the refusal says so and repeats nothing."""
    with pytest.raises(RequestError, match=r"^Invalid connection: give a JSON object of Ansible variables"):
        callers(text)


def test_the_operators_win() -> None:
    """Both sides are joined key by key; where both name a variable the operator's counts."""
    joined = site_variables(row({"ansible_port": 22, "x": 1}, {"ansible_port": 2222, "ansible_user": "ops"}))

    assert {"ansible_port": 22, "x": 1, "ansible_user": "ops"} == joined


@pytest.mark.parametrize("name", ["ansible_host", "ansible_port", "ansible_user"])
def test_the_operators_win_under_another_name(name: str) -> None:
    """Ansible knows some things by two names; a caller's is left out where the operator uses the other one."""
    other = name.replace("ansible_", "ansible_ssh_")

    assert {other: "theirs"} == site_variables(row({other: "theirs"}, {name: "mine"}))


@pytest.mark.parametrize("connection", ["local", "docker", "paramiko", "community.docker.docker", "SSH", " ssh", ""])
def test_another_connection_than_ssh(connection: str) -> None:
    """On a site that the operator reaches by something else than ssh no variable of a caller counts."""
    operators = {"ansible_connection": connection}

    assert operators == site_variables(row(operators, {"ansible_host": "10.0.0.1", "site_feed_dir": "/x"}))


def test_places_on_the_site_are_not_on_the_controller() -> None:
    """A playbook on the controller gets no program and no directory of a caller; the import may name both."""
    places = {"ansible_python_interpreter": "/opt/x", "ansible_remote_tmp": "/opt/y"}

    assert {} == site_variables(row({}, places), on_controller=True)
    assert places == site_variables(row(places, {}), on_controller=True)
    assert places == site_variables(row({}, places))


@pytest.mark.parametrize("connection", ["ssh", "ansible.builtin.ssh", "smart"])
def test_ssh_by_name(connection: str) -> None:
    """An operator who names ssh itself leaves callers their variables."""
    joined = site_variables(row({"ansible_connection": connection}, {"ansible_port": 22}))

    assert {"ansible_connection": connection, "ansible_port": 22} == joined


def test_variables_of_our_own_playbooks() -> None:
    """Somebody else's playbooks get nothing from callers that only ours give a meaning."""
    mixed = row({"site_feed_dir": "/operators"}, {"prestage_min_free_bytes": 1, "ansible_port": 22})

    assert {"site_feed_dir": "/operators", "ansible_port": 22} == site_variables(mixed, own_playbooks=False)
    assert {"site_feed_dir": "/operators", "ansible_port": 22, "prestage_min_free_bytes": 1} == site_variables(mixed)


@pytest.mark.parametrize("name", ["controller_feed_root", "prestage_shared_root", "prestage_archive_dir"])
def test_what_prestager_sets(name: str) -> None:
    """Paths on the controller are Prestager's own to set."""
    assert is_set_by_prestager(name)
    assert not is_set_by_prestager("platform_backup_dir")
