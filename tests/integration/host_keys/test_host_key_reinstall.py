"""The host key of a site that was installed anew."""

from __future__ import annotations

import pytest

from messages.commands import CommandType
from tests.integration.host_keys.ssh_sites import (
    DONE,
    SiteInstallation,
    SshServerThread,
    Start,
    line_of,
    new_key,
)


class TestReinstalled:
    @pytest.fixture
    def prestaged(self, servers: SshServerThread, start: Start) -> tuple[SiteInstallation, int]:
        """Give an installation that knows the key of a site which runs 22.12, and the port of the site."""
        port, _ = servers.listen(new_key())
        installation = start()
        installation.add("edge-1", port)
        assert DONE == installation.prestage("edge-1")
        return installation, port

    def test_once_after_an_administrator_set_the_version(
        self, prestaged: tuple[SiteInstallation, int], servers: SshServerThread
    ) -> None:
        """A changed key is recorded once when an administrator has set another version since; an event tells of it."""
        installation, port = prestaged
        installation.change("edge-1", **{"software-version": "23.09"})
        new = new_key()
        servers.exchange(port, new)

        accepted = installation.prestage("edge-1")
        site = installation.site("edge-1")
        kind, _, data = installation.key_events()[-1]
        servers.exchange(port, new_key())
        again = installation.prestage("edge-1")

        kept = (site["host_keys"], site["host_keys_origin"], site["host_keys_version"])
        assert (DONE, (line_of(new), "reinstalled", "23.09")) == (accepted, kept)
        assert ("changed", True, "23.09") == (kind, data["accepted"], data["software_version"])
        assert "failed" == again[0]

    def test_not_after_a_configurator_set_the_version(
        self, prestaged: tuple[SiteInstallation, int], servers: SshServerThread
    ) -> None:
        """A version that somebody with fewer rights set explains no changed key."""
        installation, port = prestaged
        installation.change("edge-1", admin=False, **{"software-version": "23.09"})
        servers.exchange(port, new_key())

        assert "failed" == installation.prestage("edge-1")[0]

    def test_not_after_a_configurator_set_the_version_of_the_record(
        self, servers: SshServerThread, start: Start
    ) -> None:
        """A version that a configurator set before the first contact does not count as changed later."""
        port, _ = servers.listen(new_key())
        installation = start()
        installation.add("edge-1", port)
        installation.change("edge-1", admin=False, **{"software-version": "21.05"})
        first = installation.prestage("edge-1")
        installation.change("edge-1", **{"software-version": "22.12"})
        servers.exchange(port, new_key())

        assert (DONE, "failed") == (first, installation.prestage("edge-1")[0])

    def test_not_after_the_key_was_seen_with_the_new_version(
        self, prestaged: tuple[SiteInstallation, int], servers: SshServerThread
    ) -> None:
        """A site that kept its key over a change of version has no reinstallation to explain another one."""
        installation, port = prestaged
        installation.change("edge-1", **{"software-version": "23.03"})
        kept = installation.prestage("edge-1")
        servers.exchange(port, new_key())

        assert (DONE, "failed") == (kept, installation.prestage("edge-1")[0])

    @pytest.mark.parametrize("moved", [{"management-start-ip": "198.51.100.7"}, {"name": "edge-2"}])
    def test_not_after_a_caller_moved_the_site(
        self, prestaged: tuple[SiteInstallation, int], servers: SshServerThread, moved: dict[str, str]
    ) -> None:
        """A caller who has the version read elsewhere does not make a changed key acceptable by it."""
        installation, port = prestaged
        name = moved.get("name", "edge-1")
        # The network of a managed site cannot be changed.
        for change in ({"management-state": "unmanaged"}, moved):
            installation.ask(CommandType.SUBCLOUD_UPDATE, "edge-1", admin=False, **change)
        installation.ask(CommandType.SUBCLOUD_UPDATE, name, admin=False, **{"management-state": "managed"})
        installation.change(name, **{"software-version": "23.09"})
        servers.exchange(port, new_key())

        assert "failed" == installation.prestage(name)[0]

    def test_not_with_the_version_of_before(
        self, prestaged: tuple[SiteInstallation, int], servers: SshServerThread
    ) -> None:
        """An administrator who sets the version that the site has explains no changed key."""
        installation, port = prestaged
        installation.change("edge-1", **{"software-version": "22.12"})
        servers.exchange(port, new_key())

        assert "failed" == installation.prestage("edge-1")[0]
