"""Host keys in the precheck by policy: accept-new, strict, ignore."""

from __future__ import annotations

from db.host_keys import HostKeyContact, settle
from db.unit_of_work import unit_of_work
from messages.commands import CommandType
from messages.host_keys import parse_host_keys
from statemachine.host_keys import HostKeyPolicy
from tests.integration.host_keys.ssh_sites import (
    DONE,
    SiteInstallation,
    SshServerThread,
    Start,
    described,
    forget,
    give,
    line_of,
    new_key,
)


def meet(installation: SiteInstallation, name: str, line: str) -> None:
    """Record the key of a site as at a first contact with accept-new."""
    contact = HostKeyContact(
        subcloud_id=installation.site(name)["id"], key=parse_host_keys(line)[0], version="22.12", is_verified=False
    )
    with unit_of_work(installation.database, installation.now) as work:
        settled = settle(work, contact, HostKeyPolicy.ACCEPT_NEW)
    assert settled is not None
    assert settled.is_accepted


class TestAcceptNew:
    def test_first_contact_is_recorded_and_later_compared(self, servers: SshServerThread, start: Start) -> None:
        """The first key of a site is recorded with its version, one event tells of it; the same key is good again."""
        key = new_key()
        port, log = servers.listen(key)
        installation = start()
        installation.add("edge-1", port)

        ends = [installation.prestage("edge-1"), installation.prestage("edge-1")]

        site = installation.site("edge-1")
        kept = (site["host_keys"], site["host_keys_origin"], site["host_keys_version"])
        told = {"keys": [described(line_of(key))], "reason": "first-contact"}
        assert [DONE, DONE] == ends
        assert (line_of(key), "first-contact", "22.12") == kept
        assert [("recorded", "subcloud/edge-1", told)] == installation.key_events()
        assert [] == log.passwords

    def test_a_changed_key_fails_before_the_password(self, servers: SshServerThread, start: Start) -> None:
        """Another key than the recorded one fails the precheck with both fingerprints and the command that helps."""
        old, new = new_key(), new_key()
        port, _ = servers.listen(old)
        installation = start()
        installation.add("edge-1", port)
        installation.prestage("edge-1")
        played = len(installation.playbooks.jobs)
        log = servers.exchange(port, new)

        state, details = installation.prestage("edge-1")

        assert "failed" == state
        assert "prestager subcloud forget-host-key edge-1" in details
        assert all(described(line_of(key)) in details for key in (old, new))
        assert (played, [], line_of(old)) == (
            len(installation.playbooks.jobs),
            log.passwords,
            installation.site("edge-1")["host_keys"],
        )
        kind, _, data = installation.key_events()[-1]
        assert ("changed", False) == (kind, data["accepted"])

    def test_a_changed_type_is_a_changed_key(self, servers: SshServerThread, start: Start) -> None:
        """A server that has no key of the recorded type any more is another server, whatever type it has."""
        old, new = new_key(), new_key("ecdsa-sha2-nistp256")
        port, _ = servers.listen(old)
        installation = start()
        installation.add("edge-1", port)
        installation.prestage("edge-1")
        servers.exchange(port, new)

        state, details = installation.prestage("edge-1")

        assert ("failed", True) == (state, described(line_of(new)) in details)

    def test_a_further_type_is_no_change(self, servers: SshServerThread, start: Start) -> None:
        """A server that gets a key of a type that clients like better still has the recorded one."""
        old, better = new_key("ssh-rsa"), new_key()
        port, _ = servers.listen(old)
        installation = start()
        installation.add("edge-1", port)
        installation.prestage("edge-1")
        servers.exchange(port, old, better)

        assert DONE == installation.prestage("edge-1")
        assert line_of(old) == installation.site("edge-1")["host_keys"]

    def test_a_changed_address_is_no_first_contact(self, servers: SshServerThread, start: Start) -> None:
        """The key belongs to the site: at another address and port it must present the same one."""
        key = new_key()
        here, _ = servers.listen(key)
        there, _ = servers.listen(key, host="127.0.0.3")
        elsewhere, log = servers.listen(new_key(), host="127.0.0.4")
        installation = start()
        installation.add("edge-1", here)
        installation.prestage("edge-1")

        installation.add("edge-1", there, host="127.0.0.3")
        moved = installation.prestage("edge-1")
        installation.add("edge-1", elsewhere, host="127.0.0.4")
        replaced, details = installation.prestage("edge-1")

        assert (DONE, "failed", []) == (moved, replaced, log.passwords)
        assert "Its SSH host key has changed" in details
        assert 1 == len([kind for kind, _, _ in installation.key_events() if kind == "recorded"])

    def test_a_forgotten_key_makes_a_first_contact(self, servers: SshServerThread, start: Start) -> None:
        """After its key was forgotten a site is known by the next one that it presents; an event tells of each."""
        old, new = new_key(), new_key()
        port, _ = servers.listen(old)
        installation = start()
        installation.add("edge-1", port)
        installation.prestage("edge-1")
        servers.exchange(port, new)
        forget(installation, "edge-1")

        assert DONE == installation.prestage("edge-1")
        assert line_of(new) == installation.site("edge-1")["host_keys"]
        assert ["recorded", "forgotten", "recorded"] == [kind for kind, _, _ in installation.key_events()]

    def test_a_given_key_is_compared(self, servers: SshServerThread, start: Start) -> None:
        """Of several given keys any is good, and another one is refused though nothing was ever recorded by contact."""
        keys = [new_key(), new_key("ecdsa-sha2-nistp384")]
        port, _ = servers.listen(keys[1])
        installation = start()
        installation.add("edge-1", port)
        give(installation, "edge-1", *map(line_of, keys))

        assert DONE == installation.prestage("edge-1")
        servers.exchange(port, new_key())
        assert "failed" == installation.prestage("edge-1")[0]

    def test_a_renamed_site_keeps_its_key(self, servers: SshServerThread, start: Start) -> None:
        """Another name is no first contact."""
        port, _ = servers.listen(new_key())
        installation = start()
        installation.add("edge-1", port)
        installation.prestage("edge-1")
        installation.ask(CommandType.SUBCLOUD_UPDATE, "edge-1", name="edge-2")
        servers.exchange(port, new_key())

        assert "failed" == installation.prestage("edge-2")[0]


class TestStrict:
    def test_a_site_without_a_key_is_refused(self, servers: SshServerThread, start: Start) -> None:
        """Without a given key the precheck fails with what to do, and the site is not even asked for its key."""
        port, log = servers.listen(new_key())
        installation = start(host_keys="strict")
        installation.add("edge-1", port)

        state, details = installation.prestage("edge-1")

        assert ("failed", []) == (state, log.users)
        assert "prestager subcloud set-host-key edge-1" in details
        assert [] == installation.key_events()

    def test_the_key_of_an_earlier_first_contact_is_not_good(self, servers: SshServerThread, start: Start) -> None:
        """What was recorded at a first contact, before keys had to be given, is no given key."""
        key = new_key()
        port, log = servers.listen(key)
        installation = start(host_keys="strict")
        installation.add("edge-1", port)
        meet(installation, "edge-1", line_of(key))

        state, details = installation.prestage("edge-1")

        assert ("failed", []) == (state, log.users)
        assert "No SSH host key was given for it" in details

    def test_a_given_key_is_good(self, servers: SshServerThread, start: Start) -> None:
        """With the given key the site is prestaged; a changed version explains no other key."""
        key = new_key()
        port, _ = servers.listen(key)
        installation = start(host_keys="strict")
        installation.add("edge-1", port)
        give(installation, "edge-1", line_of(key))
        first = installation.prestage("edge-1")
        installation.change("edge-1", **{"software-version": "23.09"})
        servers.exchange(port, new_key())

        assert (DONE, "failed") == (first, installation.prestage("edge-1")[0])


class TestIgnore:
    def test_no_key_is_asked_for(self, servers: SshServerThread, start: Start) -> None:
        """Nothing is asked, recorded or told, and playbooks check nothing."""
        port, log = servers.listen(new_key())
        installation = start(host_keys="ignore")
        installation.add("edge-1", port)

        assert DONE == installation.prestage("edge-1")
        assert ([], [], None) == (log.users, installation.key_events(), installation.site("edge-1")["host_keys"])
        assert {None} == {job.known_host for job in installation.playbooks.jobs}
