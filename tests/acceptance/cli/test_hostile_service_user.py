"""The OCF agent and log rotation as root, while the service's user does what it can to have root's files."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.support.unprivileged import USER, as_user, gid, give, needs_two_users, uid
from tests.support.waiting import PATIENCE_S, wait_for

ROOT = Path(__file__).parents[3]
AGENT = ROOT / "deploy/ocf/prestager"
SUCCESS, GENERIC, NOT_RUNNING = 0, 1, 7
PRECIOUS = "of root\n"
# What the service's user could make of the program: it is ready, and does something meanwhile.
PROGRAM = """#!/bin/sh
touch "$PRESTAGER_READY_FILE"
echo "it began"
while [ -e {tree}/attack ]; do . {tree}/attack; done 2>/dev/null
exec sleep 1000
"""
# Names are exchanged for links as quickly as possible.
ATTACK = """
for name in {run}/up.ready {run}/up.pid {log}/up.log {log}/up.log.1; do
    rm -rf $name; ln -s {precious} $name; ln $name.other $name; mkfifo $name
done
rm -rf {run} {log}; mv {run} {run}.old; ln -s {tree}/root {run}; ln -s {tree}/root {log}
"""


@dataclass
class Machine:
    """A tree with the agent's directories, a file of root's, and an attack of the service's user."""

    tree: Path
    said: str = ""

    @property
    def run(self) -> Path:
        """Where the agent's own files are."""
        return self.tree / "run/prestager"

    @property
    def log(self) -> Path:
        """Where the logs are."""
        return self.tree / "var/log/prestager"

    @property
    def precious(self) -> Path:
        """A file that nobody but root may change."""
        return self.tree / "root/precious"

    def act(self, action: str, descriptors: Sequence[int] = ()) -> int:
        """Run one action as root, with open descriptors, and return its exit code; the time is bounded."""
        parameters = {"root": str(self.tree), "user": USER, "stop_timeout": "2", "start_timeout": "10"}
        environment = {"PATH": os.environ["PATH"], **{f"OCF_RESKEY_{name}": text for name, text in parameters.items()}}
        done = subprocess.run(
            [AGENT, action],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
            cwd="/",
            pass_fds=descriptors,
        )
        self.said = done.stdout + done.stderr
        return done.returncode

    def attack(self, script: str) -> None:
        """Do something as the service's user; most of it fails."""
        text = script.format(run=self.run, log=self.log, precious=self.precious, tree=self.tree)
        subprocess.run(as_user("/bin/sh", "-c", text), check=False, capture_output=True, timeout=PATIENCE_S, cwd="/")

    def check(self) -> None:
        """Hold root's file against what it was."""
        facts = self.precious.lstat()
        assert PRECIOUS == self.precious.read_text()
        assert (0, 0, 0o600, 1) == (facts.st_uid, facts.st_gid, facts.st_mode & 0o777, facts.st_nlink)
        assert [self.precious] == list(self.precious.parent.iterdir())
        assert (0, 0o700) == (self.precious.parent.stat().st_uid, self.precious.parent.stat().st_mode & 0o777)

    @property
    def process(self) -> psutil.Process:
        """The process that the agent started."""
        return psutil.Process(int((self.run / "up.pid").read_text().split()[0]))


@pytest.fixture
def machine() -> Iterator[Machine]:
    """Give a machine whose service begins well."""
    needs_two_users()
    made = Machine(Path(tempfile.mkdtemp(prefix="pt-", dir="/dev/shm")))
    made.tree.chmod(0o755)
    program = made.tree / "opt/prestager/current/bin/prestager"
    program.parent.mkdir(parents=True)
    program.write_text(PROGRAM.format(tree=made.tree))
    program.chmod(0o755)
    made.precious.parent.mkdir(mode=0o700)
    made.precious.write_text(PRECIOUS)
    made.precious.chmod(0o600)
    yield made
    for process in psutil.process_iter(["uids", "environ"]):
        if (process.info["environ"] or {}).get("PRESTAGER_READY_FILE", "").startswith(str(made.tree)):
            process.kill()
    shutil.rmtree(made.tree)


def test_directories_are_of_root(machine: Machine) -> None:
    """The service's user can make no name where root writes; what it writes itself are single files."""
    assert SUCCESS == machine.act("start"), machine.said
    directories = {path: (path.stat().st_uid, path.stat().st_mode & 0o022) for path in (machine.run, machine.log)}
    assert {machine.run: (0, 0), machine.log: (0, 0)} == directories
    assert 0 == (machine.run / "up.pid").stat().st_uid
    assert (uid(), gid(), 0o600) == (
        (machine.log / "up.log").stat().st_uid,
        (machine.log / "up.log").stat().st_gid,
        (machine.log / "up.log").stat().st_mode & 0o777,
    )
    assert {uid()} == {*machine.process.uids()}
    wait_for(lambda: "it began" in (machine.log / "up.log").read_text())
    assert SUCCESS == machine.act("monitor")
    assert SUCCESS == machine.act("stop")
    assert NOT_RUNNING == machine.act("monitor")


@pytest.mark.parametrize("kind", ["link", "dangling link", "directory", "fifo", "second name"])
@pytest.mark.parametrize("name", ["run/prestager/up.pid", "run/prestager/up.ready", "var/log/prestager/up.log"])
def test_what_an_older_release_left_is_not_believed(machine: Machine, name: str, kind: str) -> None:
    """Directories that were the user's are taken back with nothing in them that leads anywhere else."""
    place = machine.tree / name
    for directory in (machine.run, machine.log):
        directory.mkdir(parents=True)
        give(directory)
    make = {
        "link": lambda: place.symlink_to(machine.precious),
        "dangling link": lambda: place.symlink_to(machine.precious.with_name("new")),
        "directory": place.mkdir,
        "fifo": lambda: os.mkfifo(place),
        "second name": lambda: place.hardlink_to(machine.precious),
    }
    make[kind]()

    assert NOT_RUNNING == machine.act("monitor")
    assert SUCCESS == machine.act("stop")
    assert SUCCESS == machine.act("start"), machine.said
    assert SUCCESS == machine.act("monitor"), machine.said
    assert SUCCESS == machine.act("stop")
    machine.check()


@pytest.mark.parametrize("name", ["run/prestager", "var/log/prestager"])
def test_a_directory_that_is_a_link(machine: Machine, name: str) -> None:
    """A link in the place of a directory is removed or complained of; nothing is written where it leads."""
    place = machine.tree / name
    place.parent.mkdir(parents=True)
    place.symlink_to(machine.precious.parent)

    for action in ("monitor", "stop", "start", "stop"):
        machine.act(action)
    machine.check()


def test_no_process_is_killed_for_a_number_in_a_file(machine: Machine) -> None:
    """A file of the user's that names a process of root's with its true start time is not acted upon."""
    victim = subprocess.Popen(["sleep", "1000"])
    try:
        moment = Path(f"/proc/{victim.pid}/stat").read_text().rpartition(")")[2].split()[19]
        machine.run.mkdir(parents=True)
        give(machine.run)
        machine.attack(f"echo {victim.pid} {moment} >{{run}}/up.pid; touch {{run}}/up.ready")
        assert f"{victim.pid} {moment}\n" == (machine.run / "up.pid").read_text()

        assert NOT_RUNNING == machine.act("monitor")
        assert SUCCESS == machine.act("stop")
        assert SUCCESS == machine.act("start")
        assert victim.pid != machine.process.pid
        assert victim.poll() is None

    finally:
        victim.kill()
        victim.wait()


@pytest.mark.parametrize("number", [3, 9, 10, 254])
def test_files_that_root_has_open(machine: Machine, number: int) -> None:
    """What the cluster manager has open when it starts the service is not open in the service."""
    opened = os.open(machine.precious, os.O_RDWR)
    descriptor = fcntl.fcntl(opened, fcntl.F_DUPFD, number)
    os.close(opened)
    assert SUCCESS == machine.act("start", [descriptor]), machine.said
    os.close(descriptor)
    found = [str(file.readlink()) for file in Path(f"/proc/{machine.process.pid}/fd").iterdir()]

    assert str(machine.log / "up.log") in found
    assert str(machine.precious) not in found


def test_an_attack_that_goes_on(machine: Machine) -> None:
    """A service that exchanges names all the time is started, watched and stopped, and changes nothing of root's."""
    attack = machine.tree / "attack"
    attack.write_text(ATTACK.format(run=machine.run, log=machine.log, precious=machine.precious, tree=machine.tree))
    for _ in range(3):
        assert SUCCESS == machine.act("start"), machine.said
        assert SUCCESS == machine.act("monitor"), machine.said
        assert SUCCESS == machine.act("stop"), machine.said
    machine.check()
    assert 0 == machine.run.lstat().st_uid
    assert not machine.run.is_symlink()


@pytest.mark.skipif(shutil.which("logrotate") is None, reason="logrotate is not installed")
def test_logs_are_rotated_in_a_directory_of_root(machine: Machine) -> None:
    """Logs are rotated where the user can make no link; one that an older release let it make is left alone."""
    assert SUCCESS == machine.act("start"), machine.said
    log = machine.log / "up.log"
    with log.open("a") as file:
        file.write("x" * 21 * 1024 * 1024)
    (machine.log / "worker.log").symlink_to(machine.precious)
    machine.attack(ATTACK)
    rules = machine.tree / "rules"
    text = (ROOT / "deploy/logrotate/prestager").read_text().replace("/var/log/prestager", str(machine.log))
    rules.write_text(text)
    rules.chmod(0o644)
    done = subprocess.run(
        ["logrotate", "--state", machine.tree / "state", rules],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )

    assert 0 == log.stat().st_size, done.stderr
    assert 21 * 1024 * 1024 <= (machine.log / "up.log.1").stat().st_size
    machine.check()
