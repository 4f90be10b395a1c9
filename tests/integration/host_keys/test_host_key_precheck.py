"""Precheck meets the host key of a site before any password is sent to it."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from db.host_keys import HostKeyContact, forget_host_keys, give_host_keys, settle
from db.inventory import find_subcloud
from db.schema import run_outputs
from db.unit_of_work import unit_of_work
from messages.commands import CommandType
from messages.host_keys import parse_host_keys
from runner.processes import marked
from statemachine.host_keys import HostKeyPolicy
from tests.integration.host_keys.ssh_sites import Prestager, SshServerThread, line_of, new_key
from tests.support.tcp_proxy import TcpProxy, free_port
from tests.support.waiting import wait_for

Start = Callable[..., Prestager]
DONE = ("complete", "")


def described(text: str) -> str:
    """Return a key as people see it."""
    return parse_host_keys(text)[0].description


def forget(prestager: Prestager, name: str) -> None:
    """Forget the keys of a site, as the command does."""
    with unit_of_work(prestager.database, prestager.now) as work:
        row = find_subcloud(work.connection, name)
        assert row is not None
        assert forget_host_keys(work, row)


def give(prestager: Prestager, name: str, *lines: str) -> None:
    """Record keys of a site, as the command does."""
    with unit_of_work(prestager.database, prestager.now) as work:
        row = find_subcloud(work.connection, name)
        assert row is not None
        assert give_host_keys(work, row, parse_host_keys("\n".join(lines)))


def meet(prestager: Prestager, name: str, line: str) -> None:
    """Record the key of a site as at a first contact with accept-new."""
    contact = HostKeyContact(
        subcloud_id=prestager.site(name)["id"], key=parse_host_keys(line)[0], version="22.12", is_verified=False
    )
    with unit_of_work(prestager.database, prestager.now) as work:
        settled = settle(work, contact, HostKeyPolicy.ACCEPT_NEW)
    assert settled is not None
    assert settled.is_accepted


class TestAcceptNew:
    def test_first_contact_is_recorded_and_later_compared(self, servers: SshServerThread, start: Start) -> None:
        """The first key of a site is recorded with its version, one event tells of it; the same key is good again."""
        key = new_key()
        port, log = servers.listen(key)
        prestager = start()
        prestager.add("edge-1", port)

        ends = [prestager.prestage("edge-1"), prestager.prestage("edge-1")]

        site = prestager.site("edge-1")
        kept = (site["host_keys"], site["host_keys_origin"], site["host_keys_version"])
        told = {"keys": [described(line_of(key))], "reason": "first-contact"}
        assert [DONE, DONE] == ends
        assert (line_of(key), "first-contact", "22.12") == kept
        assert [("recorded", "subcloud/edge-1", told)] == prestager.key_events()
        assert [] == log.passwords

    def test_a_changed_key_fails_before_the_password(self, servers: SshServerThread, start: Start) -> None:
        """Another key than the recorded one fails the precheck with both fingerprints and the command that helps."""
        old, new = new_key(), new_key()
        port, _ = servers.listen(old)
        prestager = start()
        prestager.add("edge-1", port)
        prestager.prestage("edge-1")
        played = len(prestager.jobs)
        log = servers.exchange(port, new)

        state, details = prestager.prestage("edge-1")

        assert "failed" == state
        assert "prestager subcloud forget-host-key edge-1" in details
        assert all(described(line_of(key)) in details for key in (old, new))
        assert (played, [], line_of(old)) == (len(prestager.jobs), log.passwords, prestager.site("edge-1")["host_keys"])
        kind, _, data = prestager.key_events()[-1]
        assert ("changed", False) == (kind, data["accepted"])

    def test_a_changed_type_is_a_changed_key(self, servers: SshServerThread, start: Start) -> None:
        """A server that has no key of the recorded type any more is another server, whatever type it has."""
        old, new = new_key(), new_key("ecdsa-sha2-nistp256")
        port, _ = servers.listen(old)
        prestager = start()
        prestager.add("edge-1", port)
        prestager.prestage("edge-1")
        servers.exchange(port, new)

        state, details = prestager.prestage("edge-1")

        assert ("failed", True) == (state, described(line_of(new)) in details)

    def test_a_further_type_is_no_change(self, servers: SshServerThread, start: Start) -> None:
        """A server that gets a key of a type that clients like better still has the recorded one."""
        old, better = new_key("ssh-rsa"), new_key()
        port, _ = servers.listen(old)
        prestager = start()
        prestager.add("edge-1", port)
        prestager.prestage("edge-1")
        servers.exchange(port, old, better)

        assert DONE == prestager.prestage("edge-1")
        assert line_of(old) == prestager.site("edge-1")["host_keys"]

    def test_a_changed_address_is_no_first_contact(self, servers: SshServerThread, start: Start) -> None:
        """The key belongs to the site: at another address and port it must present the same one."""
        key = new_key()
        here, _ = servers.listen(key)
        there, _ = servers.listen(key, host="127.0.0.3")
        elsewhere, log = servers.listen(new_key(), host="127.0.0.4")
        prestager = start()
        prestager.add("edge-1", here)
        prestager.prestage("edge-1")

        prestager.add("edge-1", there, host="127.0.0.3")
        moved = prestager.prestage("edge-1")
        prestager.add("edge-1", elsewhere, host="127.0.0.4")
        replaced, details = prestager.prestage("edge-1")

        assert (DONE, "failed", []) == (moved, replaced, log.passwords)
        assert "Its SSH host key has changed" in details
        assert 1 == len([kind for kind, _, _ in prestager.key_events() if kind == "recorded"])

    def test_a_forgotten_key_makes_a_first_contact(self, servers: SshServerThread, start: Start) -> None:
        """After its key was forgotten a site is known by the next one that it presents; an event tells of each."""
        old, new = new_key(), new_key()
        port, _ = servers.listen(old)
        prestager = start()
        prestager.add("edge-1", port)
        prestager.prestage("edge-1")
        servers.exchange(port, new)
        forget(prestager, "edge-1")

        assert DONE == prestager.prestage("edge-1")
        assert line_of(new) == prestager.site("edge-1")["host_keys"]
        assert ["recorded", "forgotten", "recorded"] == [kind for kind, _, _ in prestager.key_events()]

    def test_a_given_key_is_compared(self, servers: SshServerThread, start: Start) -> None:
        """Of several given keys any is good, and another one is refused though nothing was ever recorded by contact."""
        keys = [new_key(), new_key("ecdsa-sha2-nistp384")]
        port, _ = servers.listen(keys[1])
        prestager = start()
        prestager.add("edge-1", port)
        give(prestager, "edge-1", *map(line_of, keys))

        assert DONE == prestager.prestage("edge-1")
        servers.exchange(port, new_key())
        assert "failed" == prestager.prestage("edge-1")[0]

    def test_a_renamed_site_keeps_its_key(self, servers: SshServerThread, start: Start) -> None:
        """Another name is no first contact."""
        port, _ = servers.listen(new_key())
        prestager = start()
        prestager.add("edge-1", port)
        prestager.prestage("edge-1")
        prestager.ask(CommandType.SUBCLOUD_UPDATE, "edge-1", name="edge-2")
        servers.exchange(port, new_key())

        assert "failed" == prestager.prestage("edge-2")[0]


class TestReinstalled:
    @pytest.fixture
    def prestaged(self, servers: SshServerThread, start: Start) -> tuple[Prestager, int]:
        """Give an installation that knows the key of a site which runs 22.12, and the port of the site."""
        port, _ = servers.listen(new_key())
        prestager = start()
        prestager.add("edge-1", port)
        assert DONE == prestager.prestage("edge-1")
        return prestager, port

    def test_once_after_an_administrator_set_the_version(
        self, prestaged: tuple[Prestager, int], servers: SshServerThread
    ) -> None:
        """A changed key is recorded once when an administrator has set another version since; an event tells of it."""
        prestager, port = prestaged
        prestager.change("edge-1", **{"software-version": "23.09"})
        new = new_key()
        servers.exchange(port, new)

        accepted = prestager.prestage("edge-1")
        site = prestager.site("edge-1")
        kind, _, data = prestager.key_events()[-1]
        servers.exchange(port, new_key())
        again = prestager.prestage("edge-1")

        kept = (site["host_keys"], site["host_keys_origin"], site["host_keys_version"])
        assert (DONE, (line_of(new), "reinstalled", "23.09")) == (accepted, kept)
        assert ("changed", True, "23.09") == (kind, data["accepted"], data["software_version"])
        assert "failed" == again[0]

    def test_not_after_a_configurator_set_the_version(
        self, prestaged: tuple[Prestager, int], servers: SshServerThread
    ) -> None:
        """A version that somebody with fewer rights set explains no changed key."""
        prestager, port = prestaged
        prestager.change("edge-1", admin=False, **{"software-version": "23.09"})
        servers.exchange(port, new_key())

        assert "failed" == prestager.prestage("edge-1")[0]

    def test_not_after_a_configurator_set_the_version_of_the_record(
        self, servers: SshServerThread, start: Start
    ) -> None:
        """A version that a configurator set before the first contact does not count as changed later."""
        port, _ = servers.listen(new_key())
        prestager = start()
        prestager.add("edge-1", port)
        prestager.change("edge-1", admin=False, **{"software-version": "21.05"})
        first = prestager.prestage("edge-1")
        prestager.change("edge-1", **{"software-version": "22.12"})
        servers.exchange(port, new_key())

        assert (DONE, "failed") == (first, prestager.prestage("edge-1")[0])

    def test_not_after_the_key_was_seen_with_the_new_version(
        self, prestaged: tuple[Prestager, int], servers: SshServerThread
    ) -> None:
        """A site that kept its key over a change of version has no reinstallation to explain another one."""
        prestager, port = prestaged
        prestager.change("edge-1", **{"software-version": "23.03"})
        kept = prestager.prestage("edge-1")
        servers.exchange(port, new_key())

        assert (DONE, "failed") == (kept, prestager.prestage("edge-1")[0])

    @pytest.mark.parametrize("moved", [{"management-start-ip": "198.51.100.7"}, {"name": "edge-2"}])
    def test_not_after_a_caller_moved_the_site(
        self, prestaged: tuple[Prestager, int], servers: SshServerThread, moved: dict[str, str]
    ) -> None:
        """A caller who has the version read elsewhere does not make a changed key acceptable by it."""
        prestager, port = prestaged
        name = moved.get("name", "edge-1")
        # The network of a managed site cannot be changed.
        for change in ({"management-state": "unmanaged"}, moved):
            prestager.ask(CommandType.SUBCLOUD_UPDATE, "edge-1", admin=False, **change)
        prestager.ask(CommandType.SUBCLOUD_UPDATE, name, admin=False, **{"management-state": "managed"})
        prestager.change(name, **{"software-version": "23.09"})
        servers.exchange(port, new_key())

        assert "failed" == prestager.prestage(name)[0]

    def test_not_with_the_version_of_before(self, prestaged: tuple[Prestager, int], servers: SshServerThread) -> None:
        """An administrator who sets the version that the site has explains no changed key."""
        prestager, port = prestaged
        prestager.change("edge-1", **{"software-version": "22.12"})
        servers.exchange(port, new_key())

        assert "failed" == prestager.prestage("edge-1")[0]


class TestStrict:
    def test_a_site_without_a_key_is_refused(self, servers: SshServerThread, start: Start) -> None:
        """Without a given key the precheck fails with what to do, and the site is not even asked for its key."""
        port, log = servers.listen(new_key())
        prestager = start(host_keys="strict")
        prestager.add("edge-1", port)

        state, details = prestager.prestage("edge-1")

        assert ("failed", []) == (state, log.users)
        assert "prestager subcloud set-host-key edge-1" in details
        assert [] == prestager.key_events()

    def test_the_key_of_an_earlier_first_contact_is_not_good(self, servers: SshServerThread, start: Start) -> None:
        """What was recorded at a first contact, before keys had to be given, is no given key."""
        key = new_key()
        port, log = servers.listen(key)
        prestager = start(host_keys="strict")
        prestager.add("edge-1", port)
        meet(prestager, "edge-1", line_of(key))

        state, details = prestager.prestage("edge-1")

        assert ("failed", []) == (state, log.users)
        assert "No SSH host key was given for it" in details

    def test_a_given_key_is_good(self, servers: SshServerThread, start: Start) -> None:
        """With the given key the site is prestaged; a changed version explains no other key."""
        key = new_key()
        port, _ = servers.listen(key)
        prestager = start(host_keys="strict")
        prestager.add("edge-1", port)
        give(prestager, "edge-1", line_of(key))
        first = prestager.prestage("edge-1")
        prestager.change("edge-1", **{"software-version": "23.09"})
        servers.exchange(port, new_key())

        assert (DONE, "failed") == (first, prestager.prestage("edge-1")[0])


class TestIgnore:
    def test_no_key_is_asked_for(self, servers: SshServerThread, start: Start) -> None:
        """Nothing is asked, recorded or told, and playbooks check nothing."""
        port, log = servers.listen(new_key())
        prestager = start(host_keys="ignore")
        prestager.add("edge-1", port)

        assert DONE == prestager.prestage("edge-1")
        assert ([], [], None) == (log.users, prestager.key_events(), prestager.site("edge-1")["host_keys"])
        assert {None} == {job.known_host for job in prestager.jobs}


class TestWays:
    def test_a_local_connection_has_no_key(self, start: Start) -> None:
        """A site that is reached without SSH is left alone."""
        prestager = start(host_keys="strict")
        prestager.add("edge-1", 1, ansible_connection="local")

        assert DONE == prestager.prestage("edge-1")

    @pytest.mark.parametrize("connection", ["paramiko", "ansible.builtin.paramiko_ssh", "ansible.netcommon.libssh"])
    def test_another_ssh_client_is_refused(self, start: Start, connection: str) -> None:
        """SSH through a client that does not check the recorded key gets no password."""
        prestager = start()
        prestager.add("edge-1", 1, ansible_connection=connection)

        state, details = prestager.prestage("edge-1")

        assert ("failed", True, []) == (state, connection in details, prestager.jobs)

    def test_the_operators_arguments_are_used(self, servers: SshServerThread, start: Start, tmp_path: Path) -> None:
        """A site behind a proxy command is asked through it, and its own trust options do not count."""
        port, _ = servers.listen(new_key())
        proxy = tmp_path / "proxy.py"
        proxy.write_text(_PROXY)
        prestager = start()
        given = f"-o ProxyCommand='{sys.executable} {proxy} {port}' -o StrictHostKeyChecking=no"
        prestager.add("edge-1", 1, host="site.invalid", ansible_ssh_common_args=given)

        first = prestager.prestage("edge-1")
        servers.exchange(port, new_key())

        assert (DONE, "failed") == (first, prestager.prestage("edge-1")[0])

    def test_a_site_that_refuses_connections(self, servers: SshServerThread, start: Start) -> None:
        """A site whose key cannot be read fails its precheck with what ssh says."""
        port, _ = servers.listen(new_key())
        servers.end(port)
        prestager = start()
        prestager.add("edge-1", port)

        state, details = prestager.prestage("edge-1")

        assert ("failed", True) == (state, "Connection refused" in details)

    def test_a_site_that_is_silent(self, start: Start) -> None:
        """A server that takes the connection and says nothing is given up after the time to connect."""
        with TcpProxy(free_port()) as proxy:
            proxy.swallow()
            prestager = start(site_connect_timeout_s=1)
            prestager.add("edge-1", proxy.port)

            state, details = prestager.prestage("edge-1")

        assert ("failed", True) == (state, "timed out" in details)

    def test_a_stop_ends_the_client(self, start: Start) -> None:
        """A worker that stops while it reads a key leaves no ssh behind, and the precheck is done again later."""
        worker = f"test-{uuid.uuid4().hex[:8]}"
        with TcpProxy(free_port()) as proxy:
            proxy.swallow()
            prestager = start(site_connect_timeout_s=60, worker_name=worker)
            prestager.add("edge-1", proxy.port)
            prestager.begin("edge-1")
            wait_for(lambda: marked(worker))
            prestager.installation.actors.stop()

            assert [] == marked(worker)
        assert prestager.last_step("edge-1")["finished_at"] is None

    def test_the_log_of_the_precheck_names_the_key(self, servers: SshServerThread, start: Start) -> None:
        """Whoever reads the log finds the fingerprint to compare with the site's own."""
        key = new_key()
        port, _ = servers.listen(key)
        prestager = start()
        prestager.add("edge-1", port)
        prestager.prestage("edge-1")

        with prestager.database.read() as connection:
            logs = connection.execute(select(run_outputs.c.content)).scalars().all()
        assert any(described(line_of(key)) in prestager.unpacked(content) for content in logs)


def test_keys_that_are_forgotten_on_the_way(servers: SshServerThread, start: Start) -> None:
    """A step whose key is forgotten after its precheck has it read again before its next playbook."""
    old, new = new_key(), new_key()
    port, _ = servers.listen(old)
    prestager = start()
    prestager.add("edge-1", port)

    def forget_once() -> None:
        if len(prestager.jobs) == 1:
            servers.exchange(port, new)
            forget(prestager, "edge-1")

    prestager.on_job = forget_once

    assert DONE == prestager.prestage("edge-1")
    assert [[line_of(old)], [line_of(new)]] == [list(job.known_host.keys) for job in prestager.jobs if job.known_host]
    assert line_of(new) == prestager.site("edge-1")["host_keys"]


def test_keys_that_are_forgotten_on_the_way_with_strict(servers: SshServerThread, start: Start) -> None:
    """With given keys only, a step whose key is forgotten after its precheck fails before its next playbook."""
    key = new_key()
    port, log = servers.listen(key)
    prestager = start(host_keys="strict")
    prestager.add("edge-1", port)
    give(prestager, "edge-1", line_of(key))

    def forget_once() -> None:
        if len(prestager.jobs) == 1:
            forget(prestager, "edge-1")

    prestager.on_job = forget_once
    state, details = prestager.prestage("edge-1")

    assert ("failed", 1, []) == (state, len(prestager.jobs), log.passwords)
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
