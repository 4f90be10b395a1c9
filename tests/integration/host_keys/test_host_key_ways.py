"""Host keys over every way to a site, and keys that are forgotten during a precheck."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path

import pytest
from sqlalchemy import select

from db.schema import run_outputs
from runner.processes import marked
from tests.integration.host_keys.ssh_sites import (
    DONE,
    SshServerThread,
    Start,
    described,
    forget,
    give,
    line_of,
    new_key,
)
from tests.support.tcp_proxy import TcpProxy, free_port
from tests.support.waiting import wait_for


class TestWays:
    def test_a_local_connection_has_no_key(self, start: Start) -> None:
        """A site that is reached without SSH is left alone."""
        installation = start(host_keys="strict")
        installation.add("edge-1", 1, ansible_connection="local")

        assert DONE == installation.prestage("edge-1")

    @pytest.mark.parametrize("connection", ["paramiko", "ansible.builtin.paramiko_ssh", "ansible.netcommon.libssh"])
    def test_another_ssh_client_is_refused(self, start: Start, connection: str) -> None:
        """SSH through a client that does not check the recorded key gets no password."""
        installation = start()
        installation.add("edge-1", 1, ansible_connection=connection)

        state, details = installation.prestage("edge-1")

        assert ("failed", True, []) == (state, connection in details, installation.playbooks.jobs)

    def test_the_operators_arguments_are_used(self, servers: SshServerThread, start: Start, tmp_path: Path) -> None:
        """A site behind a proxy command is asked through it, and its own trust options do not count."""
        port, _ = servers.listen(new_key())
        proxy = tmp_path / "proxy.py"
        proxy.write_text(_PROXY)
        installation = start()
        given = f"-o ProxyCommand='{sys.executable} {proxy} {port}' -o StrictHostKeyChecking=no"
        installation.add("edge-1", 1, host="site.invalid", ansible_ssh_common_args=given)

        first = installation.prestage("edge-1")
        servers.exchange(port, new_key())

        assert (DONE, "failed") == (first, installation.prestage("edge-1")[0])

    def test_a_site_that_refuses_connections(self, servers: SshServerThread, start: Start) -> None:
        """A site whose key cannot be read fails its precheck with what ssh says."""
        port, _ = servers.listen(new_key())
        servers.end(port)
        installation = start()
        installation.add("edge-1", port)

        state, details = installation.prestage("edge-1")

        assert ("failed", True) == (state, "Connection refused" in details)

    def test_a_site_that_is_silent(self, start: Start) -> None:
        """A server that takes the connection and says nothing is given up after the time to connect."""
        with TcpProxy(free_port()) as proxy:
            proxy.swallow()
            installation = start(site_connect_timeout_s=1)
            installation.add("edge-1", proxy.port)

            state, details = installation.prestage("edge-1")

        assert ("failed", True) == (state, "timed out" in details)

    def test_a_stop_ends_the_client(self, start: Start) -> None:
        """A worker that stops while it reads a key leaves no ssh behind, and the precheck is done again later."""
        worker = f"test-{uuid.uuid4().hex[:8]}"
        with TcpProxy(free_port()) as proxy:
            proxy.swallow()
            installation = start(site_connect_timeout_s=60, worker_name=worker)
            installation.add("edge-1", proxy.port)
            installation.begin("edge-1")
            wait_for(lambda: marked(worker))
            installation.process.lifecycle.stop()

            assert [] == marked(worker)
        assert installation.step("edge-1")["finished_at"] is None

    def test_the_log_of_the_precheck_names_the_key(self, servers: SshServerThread, start: Start) -> None:
        """Whoever reads the log finds the fingerprint to compare with the site's own."""
        key = new_key()
        port, _ = servers.listen(key)
        installation = start()
        installation.add("edge-1", port)
        installation.prestage("edge-1")

        with installation.database.read() as connection:
            logs = connection.execute(select(run_outputs.c.content)).scalars().all()
        assert any(described(line_of(key)) in installation.unpacked(content) for content in logs)


def test_keys_that_are_forgotten_on_the_way(servers: SshServerThread, start: Start) -> None:
    """A step whose key is forgotten after its precheck has it read again before its next playbook."""
    old, new = new_key(), new_key()
    port, _ = servers.listen(old)
    installation = start()
    installation.add("edge-1", port)

    def forget_once() -> None:
        if len(installation.playbooks.jobs) == 1:
            servers.exchange(port, new)
            forget(installation, "edge-1")

    installation.on_job = forget_once

    assert DONE == installation.prestage("edge-1")
    assert [[line_of(old)], [line_of(new)]] == [
        list(job.known_host.keys) for job in installation.playbooks.jobs if job.known_host
    ]
    assert line_of(new) == installation.site("edge-1")["host_keys"]


def test_keys_that_are_forgotten_on_the_way_with_strict(servers: SshServerThread, start: Start) -> None:
    """With given keys only, a step whose key is forgotten after its precheck fails before its next playbook."""
    key = new_key()
    port, log = servers.listen(key)
    installation = start(host_keys="strict")
    installation.add("edge-1", port)
    give(installation, "edge-1", line_of(key))

    def forget_once() -> None:
        if len(installation.playbooks.jobs) == 1:
            forget(installation, "edge-1")

    installation.on_job = forget_once
    state, details = installation.prestage("edge-1")

    assert ("failed", 1, []) == (state, len(installation.playbooks.jobs), log.passwords)
    assert "prestager subcloud set-host-key edge-1" in details


_PROXY = """
import socket, sys, threading
site = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def back():
    while piece := site.recv(65536):
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
threading.Thread(target=back, daemon=True).start()
while piece := sys.stdin.buffer.read1(65536):
    site.sendall(piece)
"""
