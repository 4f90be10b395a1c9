"""Host keys of the simulated fleet: kept between its starts, and judged with what its sysinv says."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from simulator.host_keys import kept_host_key, remove_all_but_host_keys
from simulator.inventory import write_site_urls
from simulator.simulation import Fleet
from simulator.site_spec import Account, SiteSpec
from tests.integration.host_keys.ssh_sites import SiteInstallation
from tests.support.simulated_fleet import simulated_fleet
from tests.support.simulated_sites import sites_in_thread

NAME = "edge-001"
DONE = ("complete", "")
Start = Callable[..., SiteInstallation]


@contextmanager
def fleet_with(installation: SiteInstallation, directory: Path) -> Iterator[Fleet]:
    """Serve the fleet, on new ports, and have the installation know where its first site is."""
    with simulated_fleet(directory, count=1) as fleet:
        (site,) = fleet.sites
        write_site_urls(fleet, directory / "urls.toml")
        installation.add(NAME, site.ssh.port, host=site.ssh.host)
        yield fleet


def asking(start: Start, directory: Path) -> SiteInstallation:
    """Start an installation that reads facts at the sites of a fleet that was served once."""
    with simulated_fleet(directory, count=1):
        pass
    return start(
        inspector="sysinv",
        controller_check="declared",
        site_password="Li69nux*$(x)",
        site_ca_file=directory / "fleet" / "ca.pem",
        site_urls_file=directory / "urls.toml",
    )


def key_file(directory: Path) -> Path:
    """Return where the fleet keeps the key of its first site."""
    return directory / "fleet" / "host-keys" / NAME


def test_a_fleet_keeps_its_keys(start: Start, tmp_path: Path) -> None:
    """A fleet that is started again, at other ports, has the keys of before, which only its user can read."""
    directory = tmp_path / "here"
    installation = asking(start, directory)
    ends = []
    for _ in range(2):
        with fleet_with(installation, directory):
            ends.append(installation.prestage(NAME))

    assert [DONE, DONE] == ends
    assert ["recorded"] == [kind for kind, _, _ in installation.key_events()]
    assert 0o600 == stat.S_IMODE(key_file(directory).stat().st_mode)


def test_a_site_that_was_reinstalled(start: Start, tmp_path: Path) -> None:
    """A new key is refused while the site runs what it ran, and recorded once it says over TLS that it runs another."""
    directory = tmp_path / "here"
    installation = asking(start, directory)
    with fleet_with(installation, directory):
        first = installation.prestage(NAME)
    key_file(directory).unlink()
    with fleet_with(installation, directory) as fleet:
        changed = installation.prestage(NAME)
        fleet.sites[0].api.spec.software_version = "23.09"
        reinstalled = installation.prestage(NAME)

    kind, _, data = installation.key_events()[-1]
    assert (DONE, "failed", DONE) == (first, changed[0], reinstalled)
    assert ("changed", True, "23.09") == (kind, data["accepted"], data["software_version"])


def test_a_version_without_tls_explains_nothing(start: Start, tmp_path: Path) -> None:
    """What a site says of its version without TLS makes no changed key acceptable."""
    directory = tmp_path / "here"
    installation = asking(start, directory)
    with fleet_with(installation, directory):
        assert DONE == installation.prestage(NAME)
    key_file(directory).unlink()
    with fleet_with(installation, directory) as fleet:
        plain = SiteSpec(
            name=NAME,
            account=Account(password=fleet.password),
            software_version="23.09",
            oam_floating_ip=fleet.sites[0].ssh.host,
        )
        with sites_in_thread([plain]) as sites:
            sites.write_urls(directory / "urls.toml")
            state, details = installation.prestage(NAME)

    assert ("failed", True) == (state, "host key has changed" in details), details


def test_removing_a_fleet_leaves_its_keys(tmp_path: Path) -> None:
    """What an earlier start made goes, the keys of its sites stay; a directory that is missing is fine."""
    key = kept_host_key(tmp_path, "a")
    (tmp_path / "sites").mkdir()
    (tmp_path / "settings.sh").touch()
    remove_all_but_host_keys(tmp_path)
    remove_all_but_host_keys(tmp_path / "missing")

    assert ["host-keys"] == [path.name for path in tmp_path.iterdir()]
    assert key.public_data == kept_host_key(tmp_path, "a").public_data
