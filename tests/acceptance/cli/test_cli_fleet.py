"""`prestager fleet` as its user meets it: start, import, stop."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.acceptance.cli.logged_service import clean_environment
from tests.support.waiting import PATIENCE_S, wait_for


class FleetProcess:
    """The command, running."""

    def __init__(self, root: Path, *arguments: str) -> None:
        self.root = root
        self.log = root.with_name("fleet.log")
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "fleet", "--dir", str(root), "--free-ports", *arguments],
                env=clean_environment({}),
                stdout=file,
                stderr=file,
            )

    def text(self) -> str:
        """Return what it printed so far."""
        return self.log.read_text()

    def wait_until_ready(self) -> None:
        """Return once the sites listen."""
        wait_for(lambda: (self.root / "ready").exists() or self.process.poll() is not None, story=self.text)
        assert self.process.poll() is None, self.text()

    def stop(self, number: signal.Signals) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[FleetProcess]:
    """A fleet of four sites, one of them unmanaged."""
    process = FleetProcess(tmp_path / "fleet", "--sites", "4", "--fault", "unmanaged=edge-002", "--fault", "slow=1")
    yield process
    process.process.kill()
    process.process.wait()


def prestager(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [sys.executable, "-m", "cli.main", *arguments]
    return subprocess.run(
        command, env=clean_environment(variables), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


def test_a_fleet_starts_and_stops(fleet: FleetProcess, tmp_path: Path) -> None:
    """It tells where its things are and when it is ready; the inventory is imported; the end leaves no secret."""
    fleet.wait_until_ready()
    password = (fleet.root / "password").read_text().strip()
    variables = {"DATA_DIR": str(tmp_path / "data"), "RELEASE": "23.09"}
    assert 0 == prestager("db", "upgrade", **variables).returncode
    imported = prestager("subcloud", "import", str(fleet.root / "inventory.yml"), **variables)
    hosts = yaml.safe_load((fleet.root / "inventory.yml").read_text())["all"]["hosts"]
    place = (hosts["edge-001"]["ansible_host"], hosts["edge-001"]["ansible_port"])
    with socket.create_connection(place) as connection:
        assert connection.recv(7) == b"SSH-2.0"

    assert (0, "") == (imported.returncode, imported.stderr)
    assert "4" in imported.stdout
    assert "edge-002 unmanaged" in fleet.text()
    assert "slow" in fleet.text()
    assert password not in fleet.text()
    assert 0o600 == (fleet.root / "password").stat().st_mode & 0o777
    assert 0 == fleet.stop(signal.SIGTERM)
    assert not (fleet.root / "ready").exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(place)
    kept = [path for path in fleet.root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert [] == [path for path in kept if password.encode() in path.read_bytes()]


def test_a_restart_keeps_what_no_fleet_made(fleet: FleetProcess, tmp_path: Path) -> None:
    """The service's data that settings.sh names, host keys and files of the operator stay; sites are made anew.

    Ctrl-C ends a fleet as SIGTERM does.
    """
    fleet.wait_until_ready()
    assert f"PRESTAGER_DATA_DIR={fleet.root / 'data'}" in (fleet.root / "settings.sh").read_text()
    key = (fleet.root / "host-keys" / "edge-001").read_text()
    kept = {fleet.root / "data" / "prestager.db": "rows", fleet.root / "notes.txt": "mine"}
    (fleet.root / "data").mkdir()
    for path, text in kept.items():
        path.write_text(text)
    (fleet.root / "sites" / "edge-001" / "left").touch()
    assert 0 == fleet.stop(signal.SIGINT)
    again = FleetProcess(tmp_path / "fleet", "--sites", "2")
    try:
        again.wait_until_ready()
        found = {path: path.read_text() for path in kept}
        sites = sorted(path.name for path in (fleet.root / "sites").iterdir())
    finally:
        again.process.kill()
        again.process.wait()

    assert (kept, key) == (found, (fleet.root / "host-keys" / "edge-001").read_text())
    assert ["edge-001", "edge-002"] == sites
    assert not (fleet.root / "sites" / "edge-001" / "left").exists()


@pytest.mark.parametrize(
    ("arguments", "complaints"),
    [
        (["--fault", "burn=1", "--fault", "refuse"], ["'burn=1' is no fault", "'refuse' is no fault"]),
        (["--fault", "refuse=edge-999"], ["no such site"]),
        (["--address", "10.0.0.1"], ["--address 10.0.0.1"]),
        (["--password-file", "/nonexistent"], ["--password-file /nonexistent cannot be read"]),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path: Path, arguments: list[str], complaints: list[str]) -> None:
    """A wrong option ends the command with a sentence for each fault."""
    ended = prestager("fleet", "--dir", str(tmp_path / "fleet"), *arguments)

    assert 1 == ended.returncode
    assert [] == [text for text in complaints if text not in ended.stderr]
    assert "Traceback" not in ended.stderr


def test_other_files_are_never_removed(tmp_path: Path) -> None:
    """A directory that holds something else is left alone."""
    (tmp_path / "mine").write_text("precious")
    ended = prestager("fleet", "--dir", str(tmp_path))

    assert (1, "precious") == (ended.returncode, (tmp_path / "mine").read_text())
    assert "holds other files" in ended.stderr
