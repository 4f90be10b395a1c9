"""A private SSH server on loopback, with a temporary user who logs in by password and becomes root by password.

For tests that must prove what a real site does. Needs root, directly or through `sudo -n`; everything it makes on the
machine (user, sudoers entry, processes) is gone afterwards; after a test that was killed, when the next server starts.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.support.server import ServerUnavailableError, tail
from tests.support.tcp_proxy import free_port
from tests.support.waiting import PATIENCE_S, wait_for

HOST = "127.0.0.1"
# Program → the Debian package that has it.
PROGRAMS = {
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sudo": "sudo",
    "useradd": "passwd",
    "chpasswd": "passwd",
}
_USER_PREFIX = "prestage"
_USER = re.compile(rf"{_USER_PREFIX}[0-9a-f]{{8}}")
# File with the process that has made the server.
_OWNER = "owner.json"
_WITH_PASSWORD = "ALL=(ALL) ALL"
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin:" + os.environ.get("PATH", "")


@dataclass(frozen=True, kw_only=True)
class SshServer:
    """A running server and its only user."""

    port: int
    user: str
    password: str = field(repr=False)
    known_hosts: Path
    # Private key of the user.
    key: Path
    sudoers: Path

    def host_vars(self) -> dict[str, Any]:
        """Return the Ansible variables of a host behind this server, without secrets."""
        return {
            "ansible_connection": "ssh",
            "ansible_host": HOST,
            "ansible_port": self.port,
            "ansible_user": self.user,
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={self.known_hosts} -o PreferredAuthentications=password",
            # The user of the test may read neither the virtual environment nor root's home.
            "ansible_python_interpreter": "/usr/bin/python3",
        }

    def key_vars(self) -> dict[str, Any]:
        """Return the same variables for a login by key."""
        arguments = f"-o UserKnownHostsFile={self.known_hosts} -o PreferredAuthentications=publickey"
        return {
            **self.host_vars(),
            "ansible_ssh_common_args": arguments,
            "ansible_ssh_private_key_file": str(self.key),
        }

    @contextmanager
    def sudo_rules(self, *rules: str) -> Iterator[None]:
        """Have sudo go by these rules meanwhile, `USER` standing for the user."""
        before = f"{self.user} {_WITH_PASSWORD}\n"
        _write_sudoers(self.sudoers, "".join(f"{rule.replace('USER', self.user)}\n" for rule in rules))
        try:
            yield
        finally:
            _write_sudoers(self.sudoers, before)

    def secrets(self) -> dict[str, str]:
        """Return the secret Ansible variables."""
        return {"ansible_ssh_pass": self.password, "ansible_become_pass": self.password}


@contextmanager
def ssh_server() -> Iterator[SshServer]:
    """Run a server until the block ends.

    Raises:
        ServerUnavailableError: A package or the right to become root is missing.

    """
    _require_programs()
    remove_leftovers()
    suffix = secrets.token_hex(4)
    user, password = f"{_USER_PREFIX}{suffix}", secrets.token_urlsafe(16)
    directory = Path(tempfile.mkdtemp(prefix="prestager-ssh-"))
    sudoers = _sudoers_of(user)
    try:
        directory.chmod(0o755)
        # Before there is a user, so that nobody takes it for a leftover.
        (directory / _OWNER).write_text(json.dumps(_identity(psutil.Process())), encoding="ascii")
        _make_user(user, password, directory / "home", sudoers)
        with _sshd(directory, user) as port:
            yield SshServer(
                port=port,
                user=user,
                password=password,
                known_hosts=directory / "known_hosts",
                key=directory / "user_key",
                sudoers=sudoers,
            )
    finally:
        _remove_user(user, sudoers)
        _as_root("rm", "-rf", str(directory))


def remove_leftovers() -> None:
    """Remove servers, users and files of tests whose process was killed; those of others that live stay."""
    for entry in pwd.getpwall():
        directory = Path(entry.pw_dir).parent
        if _USER.fullmatch(entry.pw_name) and _is_left(directory):
            # Another process may be removing it too.
            with suppress(ServerUnavailableError):
                _kill([process for process in psutil.process_iter(["cmdline"]) if _serves(process, directory)])
                _remove_user(entry.pw_name, _sudoers_of(entry.pw_name))
                _as_root("rm", "-rf", str(directory))


def _is_left(directory: Path) -> bool:
    """Return whether the process that made the directory has ended; False where that is not known."""
    if not directory.exists():
        return True
    try:
        owner = json.loads((directory / _OWNER).read_text(encoding="ascii"))
        return bool(_identity(psutil.Process(owner[0])) != owner)
    except psutil.NoSuchProcess:
        return True
    except (OSError, ValueError):
        return False


def _identity(process: psutil.Process) -> list[float]:
    return [process.pid, process.create_time()]


def _serves(process: psutil.Process, directory: Path) -> bool:
    return str(directory / "sshd_config") in (process.info["cmdline"] or [])


def _sudoers_of(user: str) -> Path:
    return Path(f"/etc/sudoers.d/prestager-test-{user.removeprefix(_USER_PREFIX)}")


def _require_programs() -> None:
    missing = sorted({package for name, package in PROGRAMS.items() if shutil.which(name, path=SYSTEM_PATH) is None})
    if missing:
        raise ServerUnavailableError(f"SSH tests need packages of this machine: apt-get install {' '.join(missing)}")
    if os.geteuid() != 0 and subprocess.run(["sudo", "-n", "true"], check=False, capture_output=True).returncode != 0:
        raise ServerUnavailableError("SSH tests need root: run them as root, or allow `sudo -n` for this user.")


def _as_root(*command: str, text: str = "") -> None:
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    done = subprocess.run(
        [*prefix, *command],
        input=text,
        text=True,
        check=False,
        capture_output=True,
        env={**os.environ, "PATH": SYSTEM_PATH},
    )
    if done.returncode != 0:
        raise ServerUnavailableError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")


def _make_user(user: str, password: str, home: Path, sudoers: Path) -> None:
    _as_root("useradd", "--create-home", "--home-dir", str(home), "--shell", "/bin/sh", user)
    _as_root("chpasswd", text=f"{user}:{password}\n")
    _write_sudoers(sudoers, f"{user} {_WITH_PASSWORD}\n")


def _write_sudoers(sudoers: Path, text: str) -> None:
    # Of another name, which sudo passes over, until it is whole.
    _as_root("sh", "-c", f"umask 337 && cat > {sudoers}~ && mv {sudoers}~ {sudoers}", text=text)


def _remove_user(user: str, sudoers: Path) -> None:
    _as_root("rm", "-f", str(sudoers), f"/run/sudo/ts/{user}", f"/var/lib/sudo/lectured/{user}")
    try:
        uid = pwd.getpwnam(user).pw_uid
    except KeyError:
        return
    _kill([process for process in psutil.process_iter(["uids"]) if _is_of(process, uid)])
    _as_root("userdel", user)


def _is_of(process: psutil.Process, uid: int) -> bool:
    uids = process.info["uids"]
    return uids is not None and uids.real == uid


@contextmanager
def _sshd(directory: Path, user: str) -> Iterator[int]:
    key = directory / "host_key"
    for name in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)], check=True)
    _as_root("mkdir", "-p", "/run/sshd")
    port = free_port()
    public = (directory / "host_key.pub").read_text(encoding="utf-8").split()
    (directory / "known_hosts").write_text(f"[{HOST}]:{port} {public[0]} {public[1]}\n", encoding="utf-8")
    config = directory / "sshd_config"
    config.write_text(_config(directory, user, port), encoding="utf-8")
    # A key that others may read is refused, and the server may run as another user than this test.
    _as_root("chown", "root", str(key))
    log = directory / "sshd.log"
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    program = shutil.which("sshd", path=SYSTEM_PATH)
    with subprocess.Popen([*prefix, str(program), "-D", "-f", str(config), "-E", str(log)]) as server:
        try:
            wait_for(lambda: _answers(port, server, log), story=lambda: tail(log))
            yield port
        finally:
            try:
                sessions = psutil.Process(server.pid).children(recursive=True)
            except psutil.NoSuchProcess:
                sessions = []
            _kill(sessions)
            _as_root("sh", "-c", f"kill -TERM {server.pid} 2>/dev/null || true")


def _config(directory: Path, user: str, port: int) -> str:
    return "\n".join(
        [
            f"Port {port}",
            f"ListenAddress {HOST}",
            f"HostKey {directory / 'host_key'}",
            f"PidFile {directory / 'sshd.pid'}",
            f"AllowUsers {user}",
            "PasswordAuthentication yes",
            "KbdInteractiveAuthentication no",
            f"AuthorizedKeysFile {directory / 'user_key.pub'}",
            "UsePAM no",
            "StrictModes no",
            "MaxStartups 100",
            "Subsystem sftp internal-sftp",
            "",
        ]
    )


def _answers(port: int, server: subprocess.Popen[bytes], log: Path) -> bool:
    if server.poll() is not None:
        raise ServerUnavailableError(f"sshd did not start on port {port}: {tail(log).strip()}")
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((HOST, port)) == 0


def _kill(processes: list[psutil.Process]) -> None:
    if processes:
        pids = " ".join(str(process.pid) for process in processes)
        _as_root("sh", "-c", f"kill -KILL {pids} 2>/dev/null || true")
        psutil.wait_procs(processes, timeout=PATIENCE_S)
