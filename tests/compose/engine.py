"""Podman with a storage of its own: images, containers and volumes of these tests meet nobody else's.

It runs in namespaces of its own too (`enter`): when the first process of them ends, however it ends, every container,
mount and network in them is gone. What stays is the storage on disk, so that a second run finds its images.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

COMPOSE: Final = Path(__file__).parents[2] / ".venv-compose" / "bin" / "podman-compose"
CACHE_VARIABLE: Final = "PRESTAGER_COMPOSE_CACHE"
_INSIDE: Final = "PRESTAGER_COMPOSE_INSIDE"
_PROGRAMS: Final = {
    "podman": "podman",
    "runc": "runc",
    "conmon": "conmon",
    "iptables": "iptables",
    "debootstrap": "debootstrap",
    "unshare": "util-linux",
    "ip": "iproute2",
    "/usr/lib/podman/netavark": "netavark",
    "/usr/lib/podman/aardvark-dns": "aardvark-dns",
    "/usr/libexec/podman/catatonit": "catatonit",
}
# Where podman, its networks' name server and runc note what runs, whatever their configuration says.
_NOTED: Final = ("/run/containers", "/run/libpod", "/run/netns", "/run/runc")
_CAP_SYS_RESOURCE: Final = 24
_CLONE_NEWNET: Final = 0x40000000
_COMMAND_S: Final = 120.0


class EngineUnavailableError(Exception):
    """This machine cannot run containers; the message names the reason and what to do."""


class EngineCommandError(AssertionError):
    """A command failed, or did not end in time; the message holds what it printed."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Podman over one directory, whose content a second run uses again."""

    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables that point podman, and what calls it, to the directory."""
        return {
            **os.environ,
            "CONTAINERS_STORAGE_CONF": str(self.directory / "storage.conf"),
            "CONTAINERS_CONF": str(self.directory / "containers.conf"),
            # No namespaces, which a build in a container or a small machine cannot have.
            "BUILDAH_ISOLATION": "chroot",
        }

    @property
    def volatile(self) -> Path:
        """Directory of what must not outlive the containers; a file system in memory is mounted there."""
        return self.directory / "run"

    def prepare(self) -> None:
        """Write the configuration; done twice it changes nothing."""
        self.volatile.mkdir(parents=True, exist_ok=True)
        (self.directory / "storage.conf").write_text(
            "[storage]\n"
            'driver = "overlay"\n'
            f"graphroot = {json.dumps(str(self.directory / 'storage'))}\n"
            f"runroot = {json.dumps(str(self.volatile / 'storage'))}\n"
        )
        (self.directory / "containers.conf").write_text(
            "[engine]\n"
            'runtime = "runc"\n'
            'cgroup_manager = "cgroupfs"\n'
            'events_logger = "file"\n'
            f"tmp_dir = {json.dumps(str(self.volatile / 'libpod'))}\n"
            "[network]\n"
            'network_backend = "netavark"\n'
            f"network_config_dir = {json.dumps(str(self.volatile / 'networks'))}\n"
        )

    def run(
        self,
        command: Sequence[str | Path],
        *,
        timeout_s: float = _COMMAND_S,
        directory: Path | None = None,
        check: bool = True,
        **variables: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the engine's environment and return it with what it printed, both streams in one.

        Raises:
            EngineCommandError: It failed, unless `check` is false, or did not end within `timeout_s` seconds.
        """
        # A file and no pipe: the network's name server keeps the stream open as long as containers live.
        with tempfile.TemporaryFile() as sink:
            try:
                done = subprocess.run(
                    command,
                    env=self.environment | variables,
                    cwd=directory,
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=sink,
                    check=False,
                    timeout=timeout_s,
                )
            except subprocess.TimeoutExpired as error:
                raise EngineCommandError(f"not within {timeout_s} s: {command}\n{_read(sink)}") from error
            printed = _read(sink)
        if check and done.returncode != 0:
            raise EngineCommandError(f"exit {done.returncode}: {' '.join(map(str, command))}\n{printed[-6000:]}")
        return subprocess.CompletedProcess(command, done.returncode, printed, "")

    def podman(self, *arguments: str | Path, timeout_s: float = _COMMAND_S) -> str:
        """Run podman and return what it printed, without the warnings of a machine that has no systemd or syslog."""
        printed = self.run(["podman", *arguments], timeout_s=timeout_s).stdout
        return "\n".join(line for line in printed.splitlines() if not _is_noise(line))

    def inspect(self, kind: str, name: str) -> Any:
        """Return what podman knows of a container, image or volume."""
        printed = self.podman(kind, "inspect", name)
        return json.loads(printed[printed.index("[") :])[0]

    def remove_containers(self) -> None:
        """Remove all containers and volumes; images stay."""
        self.podman("pod", "rm", "--all", "--force")
        self.podman("rm", "--all", "--force", "--volumes", "--time", "0")
        # Whatever a run that was killed left in the storage, which has forgotten whose it was.
        leftovers = self.podman("ps", "--all", "--external", "--quiet").split()
        if leftovers:
            self.podman("rm", "--force", *leftovers)
        self.podman("volume", "prune", "--force")


def cache_directory() -> Path:
    """Return the directory that keeps images between runs."""
    given = os.environ.get(CACHE_VARIABLE)
    parent = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(given).absolute() if given else parent / "prestager-compose-test"


def lock_cache(directory: Path) -> IO[str]:
    """Return an open file that keeps other runs out of the directory as long as it is open.

    Raises:
        EngineUnavailableError: Another run is in it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    file = (directory / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise EngineUnavailableError(
            f"Another run uses {directory}; wait for its end, or set {CACHE_VARIABLE} to another directory."
        ) from error
    return file


def check_machine() -> None:
    """Refuse a machine that cannot run the containers.

    Raises:
        EngineUnavailableError: Rights, programs or namespaces are missing.
    """
    if os.geteuid() != 0:
        raise EngineUnavailableError("The containers are run by root; start this as root: sudo make compose-test")
    missing = sorted({package for program, package in _PROGRAMS.items() if shutil.which(program) is None})
    if missing:
        raise EngineUnavailableError(f"Programs are missing; install them: apt-get install {' '.join(missing)}")
    if not COMPOSE.is_file():
        raise EngineUnavailableError("podman-compose is missing; install it: bin/setup compose")
    probe = ["unshare", "--net", "--pid", "--mount", "--fork", "--mount-proc", "ip", "link", "add", "type", "veth"]
    tried = subprocess.run(probe, check=False, capture_output=True, text=True, timeout=30)
    if tried.returncode != 0:
        raise EngineUnavailableError(
            f"This machine does not allow namespaces with networks: {tried.stderr.strip()}. Run the test on a machine"
            " of its own, or in a container that may: --privileged."
        )


def is_inside() -> bool:
    """Tell whether this process is the first of the test's namespaces."""
    return _INSIDE in os.environ


def enter(module: str, engine: Engine, arguments: Sequence[str]) -> int:
    """Run a module as the first process of new namespaces of processes and mounts; return its exit status.

    What containers leave in /run is in memory and ends with them: addresses of an earlier run, which the name server
    would go on giving, among it.
    """
    places = " ".join(["$0", *_NOTED])
    mounts = f'for place in {places}; do mkdir -p "$place" && mount -t tmpfs tmpfs "$place" || exit 1; done; exec "$@"'
    return subprocess.run(
        [
            *("unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"),
            *("sh", "-c", mounts, engine.volatile, sys.executable, "-m", module, *arguments),
        ],
        env=os.environ | {_INSIDE: "1"},
        check=False,
    ).returncode


def enter_network(addresses: str) -> None:
    """Give this process a network of its own, in which `addresses`, such as 198.18.0.0/15, are this machine's."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        raise EngineUnavailableError(f"This machine allows no network namespace: {os.strerror(ctypes.get_errno())}.")
    for command in (["link", "set", "lo", "up"], ["address", "add", addresses, "dev", "lo"]):
        subprocess.run(["ip", *command], check=True)


def settable_limits() -> dict[str, int]:
    """Return the limits that a container must be given here, where podman may not raise its own to what it likes.

    Empty with the right to raise them (CAP_SYS_RESOURCE), which root has on most machines.
    """
    status = Path("/proc/self/status").read_text().splitlines()
    effective = next(line.split()[1] for line in status if line.startswith("CapEff"))
    if int(effective, 16) >> _CAP_SYS_RESOURCE & 1:
        return {}
    return {
        "nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        "nproc": resource.getrlimit(resource.RLIMIT_NPROC)[1],
    }


def _is_noise(line: str) -> bool:
    return "systemd" in line or "syslog" in line


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
