"""Arguments of ssh that check a host key, before those of a site's own variables."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from messages.connection_variables import is_reached_by_ssh
from runner.errors import SshArgumentsError
from runner.interface import PlaybookJob
from runner.inventory import write_job
from runner.private_dir import PrivateDir
from runner.protocol import decode_order, encode
from runner.ssh_arguments import KnownHost, checked_ssh_args, ssh_target, uses_unchecked_ssh

SITE = KnownHost(alias="7", keys=["ssh-ed25519 AAAA", "ssh-rsa BBBB"], algorithms=["ssh-ed25519", "rsa-sha2-512"])
LENIENT = (
    "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o GlobalKnownHostsFile=/x -o HostKeyAlias=other"
    " -o HostKeyAlgorithms=ssh-rsa -o VerifyHostKeyDNS=yes -o NoHostAuthenticationForLocalhost=yes"
)


def effective(arguments: str) -> dict[str, str]:
    """Return the options that ssh itself makes of arguments."""
    done = subprocess.run(
        ["ssh", "-G", "-F", "none", *shlex.split(arguments), "10.0.0.1"], check=True, capture_output=True, text=True
    )
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


@pytest.mark.parametrize("given", [None, LENIENT, "", "-o ProxyJump=jump.example"])
@pytest.mark.parametrize("later", ["", LENIENT])
def test_what_checks_the_key_counts(given: str | None, later: str) -> None:
    """Whatever a host's variables say, ssh looks the key up under the site's id in the run's file alone."""
    variables = {} if given is None else {"ansible_ssh_args": given}
    found = effective(f"{checked_ssh_args(SITE, Path('/run/a b/50%/known_hosts'), variables)} {later}")

    assert ("true", "7") == (found["stricthostkeychecking"], found["hostkeyalias"])
    assert ("/run/a b/50%/known_hosts", "/dev/null") == (
        found["userknownhostsfile"].strip('"'),
        found["globalknownhostsfile"],
    )
    assert "ssh-ed25519,rsa-sha2-512" == found["hostkeyalgorithms"]
    assert ("false", "no") == (found["verifyhostkeydns"], found["nohostauthenticationforlocalhost"])


def test_the_operators_arguments_stay() -> None:
    """Arguments of a host's own follow those that check the key; without them ours do."""
    own = effective(checked_ssh_args(SITE, Path("/f"), {"ansible_ssh_args": "-o ProxyJump=jump.example"}))
    ours = effective(checked_ssh_args(SITE, Path("/f"), {}))

    assert "jump.example" == own["proxyjump"]
    assert ("15", "60") == (ours["serveraliveinterval"], ours["controlpersist"])


@pytest.mark.parametrize(
    ("connection", "checked", "unchecked"),
    [
        (None, True, False),
        ("", True, False),
        ("ssh", True, False),
        ("smart", True, False),
        ("ansible.builtin.ssh", True, False),
        ("paramiko", False, True),
        ("ansible.builtin.paramiko_ssh", False, True),
        ("ansible.netcommon.libssh", False, True),
        ("local", False, False),
        ("community.docker.docker", False, False),
    ],
)
def test_which_connections_have_a_host_key(connection: str | None, checked: bool, unchecked: bool) -> None:
    """OpenSSH's client checks keys, others of SSH cannot, and all else has none."""
    variables = {} if connection is None else {"ansible_connection": connection or None}

    assert (checked, unchecked) == (is_reached_by_ssh(variables), uses_unchecked_ssh(variables))


def test_the_target_is_that_of_ansible() -> None:
    """Of two names for one thing the one that counts for Ansible does, and arguments come in its order."""
    target = ssh_target(
        "edge-1",
        {
            "ansible_host": "10.0.0.1",
            "ansible_ssh_host": "10.0.0.2",
            "ansible_port": 22,
            "ansible_ssh_port": "2222",
            "ansible_ssh_args": "-a",
            "ansible_ssh_common_args": "-o 'x y'",
            "ansible_ssh_extra_args": "-e",
        },
    )

    assert ("10.0.0.2", 2222, None, "ssh") == (target.host, target.port, target.user, target.executable)
    assert (["-a"], ["-o", "x y", "-e"]) == (list(target.arguments), list(target.more_arguments))
    assert "edge-1" == ssh_target("edge-1", {}).host


@pytest.mark.parametrize("variables", [{"ansible_ssh_common_args": "-o 'x"}, {"ansible_port": "ssh"}])
def test_variables_that_are_no_arguments(variables: dict[str, Any]) -> None:
    """A site whose variables ssh could not be given is refused with the name of the variable."""
    with pytest.raises(SshArgumentsError, match=next(iter(variables))):
        ssh_target("edge-1", variables)


def test_the_run_gets_the_keys_and_its_variable_wins(tmp_path: Path) -> None:
    """The keys are in a private file of the run, and the variable that names it is not that of the host."""
    place = PrivateDir(tmp_path / "p")
    place.create()
    order = PlaybookJob(
        run_id=1,
        deadline_s=1.0,
        playbook=Path("/p.yml"),
        host="edge-1",
        host_vars={"ansible_ssh_args": "-o X=y"},
        secrets={},
        extra_vars={},
        known_host=SITE,
    )
    write_job(order, place)
    text = place.hosts_file.read_text().replace("!unsafe ", "")
    written = yaml.safe_load(text)["all"]["hosts"]["edge-1"]["ansible_ssh_args"]

    assert "7 ssh-ed25519 AAAA\n7 ssh-rsa BBBB\n" == place.known_hosts_file.read_text()
    assert 0o600 == place.known_hosts_file.stat().st_mode & 0o777
    assert str(place.known_hosts_file) in shlex.split(written)[1]
    assert written.endswith("-o X=y")


def test_the_order_carries_the_keys() -> None:
    """What the child reads is what the supervisor wrote, with and without keys."""
    for known_host in (SITE, None):
        order = PlaybookJob(
            run_id=1,
            deadline_s=1.0,
            playbook=Path("/p.yml"),
            host="a",
            host_vars={},
            secrets={},
            extra_vars={},
            known_host=known_host,
        )

        assert order == decode_order(encode(order))
