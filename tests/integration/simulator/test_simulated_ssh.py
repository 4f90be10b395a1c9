"""Sites behind real SSH: what ssh, sftp and Ansible meet there."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import psutil
import pytest

from runner.ansible_installation import AnsibleInstallation
from simulator.inventory import write_inventory
from simulator.rules import RuleError, read_rule
from simulator.simulation import SSH_PORT, Fleet, FleetPlan, SimulatedSite, serve_fleet
from tests.support.simulated_fleet import simulated_fleet
from tests.support.waiting import wait_for

LONGEST_S = 90
# The second of a fleet that no other test has.
FIRST_ADDRESS_TAKEN = "127.99.0.2"
OPTIONS = [
    *("-o", "StrictHostKeyChecking=no"),
    *("-o", "UserKnownHostsFile=/dev/null"),
    *("-o", "LogLevel=ERROR"),
    *("-o", "NumberOfPasswordPrompts=1"),
]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Serve sites that are well, and one of each that is not."""
    faults = ("refuse=edge-003", "no-login=edge-004", "no-sudo=edge-005", "silent=edge-006", "drop:0.5=edge-007")
    with simulated_fleet(tmp_path_factory.mktemp("fleet") / "here", *faults, count=7) as served:
        yield served


def call(
    site: SimulatedSite, program: str, *arguments: str, password: str, given: str = "", options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run ssh or sftp against a site; the password comes as a program that prints it."""
    helper = site.tree.root / "askpass"
    helper.write_text('#!/bin/sh\nprintf "%s\\n" "$TEST_PASSWORD"\n')
    helper.chmod(0o700)
    port = ["-P" if program == "sftp" else "-p", str(site.ssh.port)]
    return subprocess.run(
        [program, *OPTIONS, *options, *port, f"sysadmin@{site.ssh.host}", *arguments],
        input=given,
        env={**os.environ, "SSH_ASKPASS": str(helper), "SSH_ASKPASS_REQUIRE": "force", "TEST_PASSWORD": password},
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )


class TestSsh:
    def test_a_command_runs_in_the_site(self, fleet: Fleet) -> None:
        """A command has the site's home and user, its own outputs, input and exit code."""
        site = fleet.sites[0]
        done = call(site, "ssh", "cat; echo $PWD $USER; echo odd >&2; exit 7", password=fleet.password, given="in\n")

        assert (7, f"in\n{site.tree.home} sysadmin\n", "odd\n") == (done.returncode, done.stdout, done.stderr)

    def test_a_login_without_a_command_is_a_shell(self, fleet: Fleet) -> None:
        """What is written to it is carried out."""
        assert "2\n" == call(fleet.sites[0], "ssh", password=fleet.password, given="echo $((1 + 1))\n").stdout

    def test_a_home_by_name(self, fleet: Fleet) -> None:
        """`~sysadmin` is the site's home, though this machine has no such user."""
        site = fleet.sites[0]
        done = call(site, "ssh", "echo ~sysadmin/x ~sysadminx", password=fleet.password)

        assert f"{site.tree.home}/x ~sysadminx\n" == done.stdout

    def test_much_output_arrives(self, fleet: Fleet) -> None:
        """Nothing is cut off at the end of a command."""
        done = call(fleet.sites[0], "ssh", "head -c 3000000 /dev/zero | tr '\\0' x", password=fleet.password)

        assert 3_000_000 == len(done.stdout)

    @pytest.mark.parametrize("place", [0, 3])
    def test_a_wrong_password_is_refused(self, fleet: Fleet, place: int) -> None:
        """Nobody comes in with another password; into a site without logins nobody does at all."""
        password = fleet.password if fleet.sites[place].faults else "wrong"
        done = call(fleet.sites[place], "ssh", "true", password=password)

        assert 255 == done.returncode
        assert "Permission denied" in done.stderr

    def test_another_user_is_refused(self, fleet: Fleet) -> None:
        """There is one login."""
        done = call(fleet.sites[0], "ssh", "true", password=fleet.password, options=("-l", "root"))

        assert (255, True) == (done.returncode, "Permission denied" in done.stderr)

    def test_a_site_that_refuses(self, fleet: Fleet) -> None:
        """Nobody listens there."""
        assert "Connection refused" in call(fleet.sites[2], "ssh", "true", password="").stderr

    def test_a_site_that_is_silent(self, fleet: Fleet) -> None:
        """It takes the connection and says nothing: the client gives up."""
        done = call(fleet.sites[5], "ssh", "true", password="", options=("-o", "ConnectTimeout=1"))

        assert "timed out" in done.stderr

    def test_a_site_that_drops_connections(self, fleet: Fleet) -> None:
        """The connection ends in the middle of a command, and the command with it."""
        site = fleet.sites[6]
        began = time.monotonic()
        done = call(site, "ssh", "exec sleep 86399", password=fleet.password)

        assert 255 == done.returncode
        assert time.monotonic() - began < LONGEST_S / 2
        wait_for(
            lambda: not [one for one in psutil.process_iter(["cmdline"]) if "86399" in (one.info["cmdline"] or [])]
        )

    def test_files_go_both_ways(self, fleet: Fleet, tmp_path: Path) -> None:
        """SFTP sees what commands see, from the login's home on."""
        site = fleet.sites[0]
        (tmp_path / "up").write_bytes(bytes(range(256)) * 1000)
        batch = f"mkdir d\nput {tmp_path / 'up'} d/file\nget {site.tree.home}/d/file {tmp_path / 'down'}\nls d\n"
        done = call(site, "sftp", "-b", "-", password=fleet.password, given=batch)
        # sftp's batch mode forbids asking for a password: it is told on its standard input instead.
        if done.returncode:
            done = call(site, "sftp", password=fleet.password, given=batch)

        assert (tmp_path / "up").read_bytes() == (tmp_path / "down").read_bytes()
        assert (tmp_path / "up").read_bytes() == (site.tree.home / "d" / "file").read_bytes()


class TestSudo:
    @pytest.mark.parametrize(
        ("place", "given", "code", "words"),
        [
            (0, None, 0, "root\n"),
            (0, "wrong\n", 1, "Sorry, try again."),
            (0, "", 1, "Sorry, try again."),
            (4, None, 1, "not in the sudoers file"),
        ],
    )
    def test_the_password_is_asked_for(
        self, fleet: Fleet, place: int, given: str | None, code: int, words: str
    ) -> None:
        """Only the password makes root, and on a site without sudo nothing does."""
        text = f"{fleet.password}\n" if given is None else given
        command = "sudo -H -S -p 'give: ' -u root sh -c 'echo $USER'"
        done = call(fleet.sites[place], "ssh", command, password=fleet.password, given=text)

        assert code == done.returncode
        assert words in done.stdout + done.stderr
        assert done.stderr.startswith("give: ")
        assert fleet.password not in done.stdout + done.stderr

    def test_without_asking_there_is_no_root(self, fleet: Fleet) -> None:
        """`sudo -n` fails, as with a password it must."""
        assert "a password is required" in call(fleet.sites[0], "ssh", "sudo -n true", password=fleet.password).stderr


PLAYBOOK = """\
- hosts: all
  gather_facts: false
  tasks:
    - ping:
    - copy:
        content: staged
        dest: "{{ platform_backup_dir }}/file"
      become: true
    - command: cat {{ platform_backup_dir }}/file
      become: true
      register: read
    - assert:
        that: read.stdout == 'staged'
"""


def test_ansible(fleet: Fleet, tmp_path: Path) -> None:
    """Ansible logs in by password, copies, and becomes root by password, with the inventory that the fleet writes."""
    write_inventory(fleet, tmp_path / "inventory.yml", max_parallel=2)
    secret = f'all: {{vars: {{ansible_ssh_pass: "{fleet.password}", ansible_become_pass: "{fleet.password}"}}}}\n'
    (tmp_path / "secrets.yml").write_text(secret)
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            *("-i", tmp_path / "inventory.yml", "-i", tmp_path / "secrets.yml", "-f", "4"),
            *("-l", "edge-001,edge-002,edge-004,edge-005"),
            tmp_path / "play.yml",
        ],
        env={**AnsibleInstallation().environment(tmp_path), "ANSIBLE_FORKS": "4"},
        capture_output=True,
        text=True,
        check=False,
    )
    recap = {line.split()[0]: line for line in done.stdout.splitlines() if line.startswith("edge-")}

    assert ["ok=4"] * 2 == [recap[name].split()[2] for name in ("edge-001", "edge-002")], done.stdout + done.stderr
    assert "unreachable=1" in recap["edge-004"]
    assert "failed=1" in recap["edge-005"]
    assert "staged" == (fleet.sites[1].tree.backup / "file").read_text()


def test_nothing_stays(tmp_path: Path) -> None:
    """After the end nobody listens, and what was started on a site is gone, even what has left its session."""
    with simulated_fleet(tmp_path / "here", count=1) as fleet:
        site = fleet.sites[0]
        command = "setsid sleep 86398 >/dev/null 2>&1 </dev/null & sleep 0.1; echo up"
        assert "up\n" == call(site, "ssh", command, password=fleet.password).stdout
        assert sleepers()

    assert [] == sleepers()
    assert "Connection refused" in call(site, "ssh", "true", password="").stderr


def sleepers() -> list[int]:
    """Return the processes that the test left behind."""
    return [one.pid for one in psutil.process_iter(["cmdline"]) if "86398" in (one.info["cmdline"] or [])]


async def test_a_rule_that_fits_no_site_makes_nothing(tmp_path: Path) -> None:
    """A fault for a site that there is not is refused before anything is made."""
    rules = [read_rule("refuse=edge-9")]
    plan = FleetPlan(directory=tmp_path / "fleet", site_count=2, release="22.12", target="23.09", rules=rules)

    with pytest.raises(RuleError, match="no such site"):
        async with serve_fleet(plan, "", tmp_path / "password"):
            pass
    assert not plan.directory.exists()


async def test_an_address_that_is_taken(fleet: Fleet, tmp_path: Path) -> None:
    """A fleet whose address is taken says so, and leaves nothing listening."""
    taken = socket.create_server((FIRST_ADDRESS_TAKEN, SSH_PORT))
    plan = FleetPlan(
        directory=tmp_path / "fleet",
        site_count=2,
        release="22.12",
        target="23.09",
        first_address=IPv4Address(FIRST_ADDRESS_TAKEN) - 1,
    )

    with taken, pytest.raises(OSError, match="in use"):
        async with serve_fleet(plan, "", tmp_path / "password"):
            pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((str(plan.first_address), SSH_PORT))
