"""The site playbooks over real SSH, with a password to log in and a password to become root."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.feed import DemoPackage, write_feed
from demo.images import build_images
from tests.integration.playbooks.playbook_site import PlaybookSite
from tests.support.ssh_server import SshServer


@pytest.fixture
def remote(site: PlaybookSite, server: SshServer) -> PlaybookSite:
    """Return a site behind SSH whose backup directory only root may enter."""
    for name in ("ansible_become", "ansible_remote_tmp"):
        del site.host_vars[name]
    site.host_vars.update(server.host_vars() | server.secrets())
    # Short, because a socket's path may have 108 bytes; gone with the server.
    site.environment["ANSIBLE_SSH_CONTROL_PATH_DIR"] = str(server.known_hosts.parent / "cp")
    # pytest's own directory is closed to the server's user, which proves that the work is done as root.
    site.backup.chmod(0o700)
    if os.geteuid() != 0:
        subprocess.run(["sudo", "-n", "chown", "root", str(site.backup)], check=True)
    return site


def test_packages_and_images_over_ssh(remote: PlaybookSite, server: SshServer) -> None:
    """Packages and images reach a site as root by password; a second run changes nothing; no secret is shown."""
    images = build_images(remote.root / "deploy")
    remote.prepare().require_success()

    packages = remote.run("prestage_sw_packages.yml").require_success()
    again = remote.run("prestage_sw_packages.yml").require_success()
    staged = remote.run("prestage_images.yml", image_list_file=str(images.list_file)).require_success()

    assert remote.feeds.new_count + remote.feeds.changed_count == packages.stats["transferred_count"]
    assert (0, 3) == (again.changed, staged.stats["image_count"])
    for run in (packages, again, staged):
        assert server.password not in f"{run.output}{run.results}{run.failures}"


def test_wrong_become_password_is_told_apart(remote: PlaybookSite) -> None:
    """A login that works and a become password that does not fail with a message about the latter."""
    remote.host_vars["ansible_become_pass"] = "wrong"

    run = remote.run("prestage_sw_packages.yml")

    assert run.return_code != 0
    assert "incorrect sudo password" in run.failures[0].lower()
    assert not Path(remote.release).exists()


@pytest.fixture
def small_directory() -> Iterator[Path]:
    """Return a directory with 2 MB of room where every user may write."""
    place = Path(tempfile.mkdtemp(prefix="prestager-tmp-"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=1777", "none", place]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        place.rmdir()
        pytest.skip("only root may mount")
    yield place
    subprocess.run(["umount", place], check=True)
    place.rmdir()


def test_a_login_user_without_room_for_the_transfer(remote: PlaybookSite, small_directory: Path) -> None:
    """A transfer that does not fit into the login user's temporary directory is refused before it begins.

    The site is free for the next run, and with room the same run succeeds.
    """
    write_feed(remote.feeds.target_directory, [DemoPackage(name="big", version="1.0", size_bytes=4 << 20)])
    remote.prepare().require_success()
    remote.host_vars["ansible_remote_tmp"] = str(small_directory)

    failed = remote.run("prestage_sw_packages.yml")
    del remote.host_vars["ansible_remote_tmp"]
    again = remote.run("prestage_sw_packages.yml").require_success()

    assert failed.return_code != 0
    assert f"Not enough space for the transfer in {small_directory}: 4.0 MiB needed" in failed.failures[0]
    assert 1 == again.stats["transferred_count"]
