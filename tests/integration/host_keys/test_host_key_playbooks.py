"""Ansible talks to the server that has the recorded key and to no other, whatever variables say."""

from __future__ import annotations

import shutil
import tempfile
import uuid
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from messages.host_keys import parse_host_keys, signature_algorithms
from runner.interface import PlaybookJob, RunEnded
from runner.ssh_arguments import KnownHost
from runner.supervisor import Supervisor
from tests.integration.host_keys.ssh_sites import SiteInstallation, SshServerThread, line_of, new_key
from tests.support.waiting import PATIENCE_S, wait_for

PASSWORD = "Li69nux*"
END_S = PATIENCE_S
PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.raw: "true"
"""
# What an operator may have written into an inventory to silence ssh.
LENIENT = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o HostKeyAlias=other"
OVERRIDES: dict[str, dict[str, Any]] = {
    "none": {},
    "common": {"ansible_ssh_common_args": LENIENT},
    "first": {"ansible_ssh_args": f"{LENIENT} -o NoHostAuthenticationForLocalhost=yes"},
    "extra": {"ansible_ssh_extra_args": LENIENT, "ansible_sftp_extra_args": LENIENT},
    "checking": {"ansible_host_key_checking": False, "ansible_ssh_host_key_checking": False},
}


@pytest.fixture
def results() -> Queue[RunEnded]:
    """Give where results arrive."""
    return Queue()


@pytest.fixture
def supervisor(results: Queue[RunEnded]) -> Iterator[Supervisor]:
    """Give a supervisor of its own."""
    root = Path(tempfile.mkdtemp(prefix="pt-", dir="/dev/shm"))
    running = Supervisor(slots=1, worker=f"test-{uuid.uuid4().hex[:8]}", on_finished=results.put, run_root=root, warm=0)
    running.start()
    yield running
    running.stop()
    shutil.rmtree(root)


def known(*lines: str) -> KnownHost:
    """Return a site that is known by these keys."""
    keys = parse_host_keys("\n".join(lines))
    return KnownHost(alias="7", keys=lines, algorithms=signature_algorithms(keys))


def job(directory: Path, port: int, known_host: KnownHost | None, **variables: Any) -> PlaybookJob:
    """Return a playbook that logs in at a port of the loopback address."""
    playbook = directory / "playbook.yml"
    playbook.write_text(PLAYBOOK)
    return PlaybookJob(
        run_id=1,
        playbook=playbook,
        host="edge-1",
        host_vars={"ansible_host": "127.0.0.1", "ansible_port": port, "ansible_user": "sysadmin", **variables},
        secrets={"ansible_ssh_pass": PASSWORD, "ansible_become_pass": PASSWORD},
        extra_vars={},
        known_host=known_host,
        deadline_s=END_S,
    )


@pytest.mark.parametrize("variables", OVERRIDES.values(), ids=OVERRIDES)
def test_another_server_gets_no_password(
    servers: SshServerThread, supervisor: Supervisor, results: Queue[RunEnded], tmp_path: Path, variables: Any
) -> None:
    """A server without the recorded key gets neither user nor password; no variable of the host changes that."""
    port, log = servers.listen(new_key())
    supervisor.submit(job(tmp_path, port, known(line_of(new_key())), **variables))
    result = results.get(timeout=END_S)

    assert ("failed", [], []) == (result.outcome, log.users, log.passwords)
    assert "does not have the recorded SSH host key" in result.details
    assert "prestager subcloud forget-host-key edge-1" in result.details


def test_the_recorded_server_gets_the_password(
    servers: SshServerThread, supervisor: Supervisor, results: Queue[RunEnded], tmp_path: Path
) -> None:
    """One of several recorded keys is enough, also where the server has others that clients like better."""
    key = new_key("ssh-rsa")
    port, log = servers.listen(new_key(), key)
    supervisor.submit(job(tmp_path, port, known(line_of(new_key("ecdsa-sha2-nistp256")), line_of(key))))
    results.get(timeout=END_S)

    assert PASSWORD in log.passwords


def test_without_a_known_key_nothing_is_checked(
    servers: SshServerThread, supervisor: Supervisor, results: Queue[RunEnded], tmp_path: Path
) -> None:
    """With PRESTAGER_HOST_KEYS=ignore whoever answers gets the password."""
    port, log = servers.listen(new_key())
    supervisor.submit(job(tmp_path, port, None))
    results.get(timeout=END_S)

    assert PASSWORD in log.passwords


def test_the_operators_own_arguments_stay(
    servers: SshServerThread, supervisor: Supervisor, results: Queue[RunEnded], tmp_path: Path
) -> None:
    """Arguments that the operator wrote for ssh still count beside ours."""
    key = new_key()
    port, log = servers.listen(key)
    given = {"ansible_ssh_args": "-o User=admin -o ControlMaster=no"}
    supervisor.submit(job(tmp_path, port, known(line_of(key)), **given))
    result = results.get(timeout=END_S)

    assert {"admin"} == set(log.users), zlib.decompress(result.output)


PREPARE = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.wait_for:
        path: {go}
        timeout: 50
      delegate_to: localhost
"""


def test_a_man_in_the_middle_gets_no_password(
    servers: SshServerThread, start: Callable[..., SiteInstallation], tmp_path: Path
) -> None:
    """A server that takes the place of the site between its precheck and its playbook never gets the password."""
    go, playbooks = tmp_path / "go", tmp_path / "playbooks"
    playbooks.mkdir()
    (playbooks / "prepare_prestage_packages.yml").write_text(PREPARE.format(go=go))
    for name in ("prestage_sw_packages.yml", "prestage_images.yml"):
        (playbooks / name).write_text(PLAYBOOK)
    installation = start(with_ansible=True, playbooks_dir=playbooks, worker_name=f"test-{uuid.uuid4().hex[:8]}")
    port, site = servers.listen(new_key())
    installation.add("edge-1", port)
    installation.begin("edge-1")
    wait_for(lambda: installation.step("edge-1")["state"] == "prestage-prepare", END_S)
    attacker = servers.exchange(port, new_key())
    go.touch()

    state, details = installation.ended("edge-1")

    assert ("failed", [], []) == (state, site.passwords, attacker.passwords)
    assert "SSH host key" in details, details
