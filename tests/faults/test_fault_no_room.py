"""No room: a full run directory and a broker without memory fail clearly, the service lives, and the next run works."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest

from db.schema import steps, strategies
from messages.commands import CommandType
from messages.errors import NoAnswerInTimeError, TransportUnavailableError
from runner.fake import FakeRunEnd
from runner.supervisor import Supervisor
from tests.faults.fault_installation import promised
from tests.support.fake_playbooks import FakePlaybooks
from tests.support.installation import Installation, StartedInstallation
from tests.support.rabbitmq_server import StrictRabbitmq
from tests.support.virtual_host import VirtualHost
from tests.support.waiting import wait_for

pytestmark = pytest.mark.faults

# Enough to be taken for a run directory, which needs 16 MiB free.
ROOM = "size=18m"
QUICK = "- hosts: all\n  gather_facts: false\n  tasks: [{debug: {msg: hello}}]\n"
ANSWER_S = promised(6.0)


@pytest.fixture
def small_room() -> Iterator[Path]:
    """Give a directory with a file system of its own, which is small."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    path = Path(tempfile.mkdtemp(prefix="pt-"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", ROOM, "none", path], check=False, capture_output=True)
    if mounted.returncode != 0:
        path.rmdir()
        pytest.skip(f"mounting is not allowed: {mounted.stderr.decode().strip()}")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)
    path.rmdir()


def fill(room: Path) -> Path:
    """Leave not one byte free; return what takes the room."""
    ballast = room / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


@pytest.fixture
def start_on(tmp_path: Path) -> Iterator[Callable[[Path], StartedInstallation]]:
    """Give a function that starts an embedded installation with real playbooks and a run directory."""
    installations: list[StartedInstallation] = []

    def begin(room: Path) -> StartedInstallation:
        playbooks = tmp_path / "playbooks"
        playbooks.mkdir()
        for name in ("prepare_prestage_packages.yml", "prestage_sw_packages.yml", "prestage_images.yml"):
            (playbooks / name).write_text(QUICK)
        installations.append(
            Installation.embedded(
                tmp_path / "data",
                playbooks_dir=playbooks,
                runner_factory=lambda done: Supervisor(
                    slots=2, worker=f"full-{os.getpid()}", on_finished=done, run_root=room, warm=0
                ),
            )
        )
        return installations[-1]

    yield begin
    for installation in installations:
        installation.stop()


def run_strategy(installation: StartedInstallation) -> str:
    """Run a strategy and return the state that it comes to."""
    if installation.rows(strategies, deleted_at=None):
        assert installation.verb("delete").status == 200
    assert installation.create().status == 200
    assert installation.verb("apply").status == 200
    wait_for(lambda: installation.rows(strategies)[-1]["finished_at"])
    return str(installation.rows(strategies)[-1]["state"])


def test_a_full_run_directory(small_room: Path, start_on: Callable[[Path], StartedInstallation]) -> None:
    """A run without room fails and says so; commands are answered all the while; with room the next run works."""
    installation = start_on(small_room)
    installation.add_site("a", connection={"ansible_connection": "local"})
    ballast = fill(small_room)
    full = run_strategy(installation)
    details = installation.rows(steps)[-1]["details"]
    answered = installation.ask(CommandType.SUBCLOUD_UPDATE, subject="a", location="here").status
    ballast.unlink()
    roomy = run_strategy(installation)
    sys.stdout.write(f"without room: {details}\n")

    assert ("failed", 200, "complete") == (full, answered, roomy)
    assert "no space left in " in details


def test_a_broker_without_memory(tmp_path: Path, host: VirtualHost, rabbitmq: StrictRabbitmq) -> None:
    """During a memory alarm a command is turned down within 5 s, and the strategy goes on to its end."""
    # Six sites, one after the other, are still at it when the alarm is raised.
    installation = Installation.over_rabbitmq(
        tmp_path, host.url(), playbooks=FakePlaybooks(lambda _: FakeRunEnd(delay_s=0.4))
    )
    try:
        for name in "abcdef":
            installation.add_site(name)
        assert installation.create(**{"subcloud-apply-type": "serial"}).status == 200
        assert installation.verb("apply").status == 200
        rabbitmq.set_memory_alarm(True)
        began = monotonic()
        try:
            with pytest.raises((NoAnswerInTimeError, TransportUnavailableError)):
                installation.verb("abort")
            took_s = monotonic() - began
        finally:
            rabbitmq.set_memory_alarm(False)
        wait_for(lambda: installation.rows(strategies)[-1]["finished_at"])

        assert took_s < ANSWER_S
        # The abort may have arrived when there was room again.
        assert {row["state"] for row in installation.rows(steps)} <= {"complete", "aborted"}
        assert installation.verb("delete").status == 200
    finally:
        installation.stop()
