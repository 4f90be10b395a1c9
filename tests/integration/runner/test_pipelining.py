"""Modules go to sites through the SSH connection where the sudo of a site allows it, and as files elsewhere."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from runner.ansible_installation import AnsibleInstallation
from runner.interface import RunEnded
from statemachine.states import RunOutcome
from tests.integration.runner.forked_runs import MakeJob
from tests.integration.runner.run_watch import Results, text
from tests.integration.runner.shared_supervisors import SharedSupervisors
from tests.support.ssh_server import SshServer
from tests.support.tcp_proxy import free_port

# Whether modules are pipelined, as the setting has it; None: each run tries. They share supervisors.
WAYS = {None: None, False: AnsibleInstallation(pipelining=False), True: AnsibleInstallation(pipelining=True)}
RunAtSite = Callable[..., RunEnded]

PASSWORD = "USER ALL=(ALL) ALL"
NO_PASSWORD = "USER ALL=(ALL) NOPASSWD: ALL"
TERMINAL = "Defaults:USER requiretty"
# Counts the files of modules at the site while one runs there; the next has something to transfer too.
PLAYBOOK = """
- hosts: all
  gather_facts: false
  become: true
  tasks:
    - shell: ls {{ ansible_remote_tmp }}/*/AnsiballZ_* 2>&- | wc -l; id -un
      register: seen
    - {copy: {content: "of the test", dest: "/root/{{ ansible_user }}"}}
    - {file: {path: "/root/{{ ansible_user }}", state: absent}}
    - {debug: {msg: "{{ seen.stdout_lines | join(' files as ') }}"}}
"""


@pytest.fixture
def run(shared_supervisors: SharedSupervisors, make_job: MakeJob, results: Results, ssh_site: SshServer) -> RunAtSite:
    """Runs the playbook at the site behind SSH."""
    place = f"{ssh_site.known_hosts.parent}/home/{uuid.uuid4()}"

    def run(
        ansible: AnsibleInstallation | None = None, variables: dict[str, Any] | None = None, **secrets: str
    ) -> RunEnded:
        job = make_job(
            PLAYBOOK,
            host_vars={**ssh_site.host_vars(), "ansible_remote_tmp": place, **(variables or {})},
            secrets={**ssh_site.secrets(), **secrets},
        )
        with shared_supervisors.lent(results, preload=True, ansible=ansible) as shared:
            shared.supervisor.submit(job)
            result = results.wait()
        assert 0 == shared.plain.count
        return result

    return run


@pytest.mark.parametrize("by_key", [False, True], ids=["login by password", "login by key"])
@pytest.mark.parametrize("rule", [PASSWORD, NO_PASSWORD], ids=["sudo by password", "sudo without one"])
def test_modules_are_no_files_at_the_site(run: RunAtSite, ssh_site: SshServer, rule: str, by_key: bool) -> None:
    """By default no file of a module is at the site where its sudo needs no terminal; a run tries that once."""
    log = ssh_site.sudoers.with_name(f".{ssh_site.user}")
    with ssh_site.sudo_rules(rule, f"Defaults:USER logfile={log}, loglinelen=0"):
        result = run(variables=ssh_site.key_vars() if by_key else {})
    calls = log.read_text()
    log.unlink()

    assert (RunOutcome.SUCCEEDED, "") == (result.outcome, result.details)
    assert "0 files as root" in text(result)
    assert 1 == calls.count(" ; cat")


@pytest.mark.parametrize("rule", [PASSWORD, NO_PASSWORD], ids=["sudo by password", "sudo without one"])
def test_a_sudo_that_needs_a_terminal_gets_one(run: RunAtSite, ssh_site: SshServer, rule: str) -> None:
    """By default modules are sent as files to a site whose sudo needs a terminal, and the run succeeds."""
    with ssh_site.sudo_rules(rule, TERMINAL):
        result = run()

    assert (RunOutcome.SUCCEEDED, "") == (result.outcome, result.details)
    assert "1 files as root" in text(result)


def test_the_setting_counts(run: RunAtSite, ssh_site: SshServer) -> None:
    """With `true` there is no trial: a site whose sudo needs a terminal fails, and sudo's sentence is the reason."""
    with ssh_site.sudo_rules(PASSWORD, TERMINAL):
        result = run(WAYS[True])

    assert RunOutcome.FAILED is result.outcome
    assert "you must have a tty to run sudo" in result.details


@pytest.mark.parametrize("way", ["setting", "file", "variable"])
def test_pipelining_can_be_forbidden(run: RunAtSite, tmp_path: Path, way: str) -> None:
    """The setting, the operator's configuration file, or a variable of the site keeps modules from being pipelined."""
    config = tmp_path / "ansible.cfg"
    config.write_text("[connection]\npipelining = False\n")
    ansible = {"setting": WAYS[False], "file": AnsibleInstallation(config=config)}
    result = run(ansible.get(way), {"ansible_pipelining": False} if way == "variable" else {})

    assert (RunOutcome.SUCCEEDED, "") == (result.outcome, result.details)
    assert "1 files as root" in text(result)


@pytest.mark.parametrize("pipelining", [None, False], ids=["auto", "false"])
def test_a_wrong_password_of_sudo_is_told(run: RunAtSite, pipelining: bool | None) -> None:
    """That sudo refuses the password is told in the same sentence, whether or not modules are pipelined."""
    result = run(WAYS[pipelining], ansible_become_pass="wrong")

    assert RunOutcome.FAILED is result.outcome
    assert "Incorrect sudo password" in result.details


@pytest.mark.parametrize("pipelining", [None, False], ids=["auto", "false"])
def test_a_site_without_answer_is_told(run: RunAtSite, pipelining: bool | None) -> None:
    """That a site cannot be reached is told in the same sentence, whether or not modules are pipelined."""
    result = run(WAYS[pipelining], {"ansible_port": free_port()})

    assert RunOutcome.FAILED is result.outcome
    assert "Failed to connect to the host via ssh: ssh: connect to host 127.0.0.1" in result.details


def test_no_connection_outlives_its_run(run: RunAtSite, shared_supervisors: SharedSupervisors) -> None:
    """When a run has its result, the master of its SSH connections has ended, though the worker goes on."""
    result = run()
    run_root = shared_supervisors.get(preload=True, ansible=None).run_root
    masters = [
        process
        for process in psutil.process_iter(["cmdline"])
        if any("ssh" in word and str(run_root) in word for word in process.info["cmdline"] or [])
    ]

    assert (RunOutcome.SUCCEEDED, []) == (result.outcome, masters)
