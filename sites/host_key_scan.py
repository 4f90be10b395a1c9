"""Read the SSH host key of a site with the ssh client, without logging in.

The client gets the arguments that Ansible gives it later, so that jump hosts and proxies are gone through alike. It
offers no means of authentication: nothing secret is known to its process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Final

from messages.errors import HostKeyError
from messages.host_keys import HostKey, parse_host_keys, signature_algorithms
from runner.ansible_installation import base_environment
from runner.ssh_arguments import SshTarget, host_key_options
from sites.errors import HostKeyScanError

# Clients at once; each takes about 3 MB and 8 ms of CPU.
_AT_ONCE: Final = 32
# What ssh prints when the server has no key of a type that was asked for.
_NO_SUCH_TYPE: Final = "no matching host key type"
_SHOWN: Final = 200
# A server may send greetings without end, in bytes.
_LONGEST_ERRORS: Final = 64 * 1024
_PIECE_BYTES: Final = 4096

_NO_LOGIN: Final = (
    "PreferredAuthentications=none",
    "PasswordAuthentication=no",
    "KbdInteractiveAuthentication=no",
    "PubkeyAuthentication=no",
    "GSSAPIAuthentication=no",
    "HostbasedAuthentication=no",
    "BatchMode=yes",
    "ControlMaster=no",
    "ControlPath=none",
    "ControlPersist=no",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "RequestTTY=no",
    "ConnectionAttempts=1",
    # At ERROR it does not say which types of keys a server has.
    "LogLevel=INFO",
)


@dataclass(frozen=True, kw_only=True)
class ScanLimits:
    """Time limits of a scan, in seconds."""

    # To connect and name its version.
    connect_s: float = 10.0
    # For everything.
    deadline_s: float = 60.0


class HostKeyScanner:
    """Reads host keys for one worker process, at most 32 at once; used in one event loop.

    `marks` are environment variables by which left over processes are found.
    """

    def __init__(self, limits: ScanLimits, marks: Mapping[str, str]) -> None:
        self._limits = limits
        self._marks = marks
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def scan(self, target: SshTarget, alias: str, recorded: Sequence[HostKey] = ()) -> HostKey:
        """Return the key that the server at `target` presents: of a type that is recorded, if it has one.

        Raises:
            HostKeyScanError: There is no answer, or no SSH server, or it does not present a key in time.
        """
        async with self._places:
            return await self._scan(target, alias, recorded)

    async def _scan(self, target: SshTarget, alias: str, recorded: Sequence[HostKey]) -> HostKey:
        key, complaint = await self._ask(target, alias, signature_algorithms(recorded))
        if key is None and recorded and _NO_SUCH_TYPE in complaint:
            # It has other types of keys only: they are what has changed.
            key, complaint = await self._ask(target, alias, ())
        if key is None:
            raise HostKeyScanError(complaint or "ssh ended without a word")
        return key

    async def _ask(self, target: SshTarget, alias: str, algorithms: Sequence[str]) -> tuple[HostKey | None, str]:
        """Return the key and what ssh complained of."""
        with tempfile.TemporaryDirectory(prefix="prestager-host-key-") as directory:
            file = Path(directory) / "known_hosts"
            complaint = await self._run(self._command(target, alias, algorithms, file))
            return _recorded_key(file), complaint

    def _command(self, target: SshTarget, alias: str, algorithms: Sequence[str], file: Path) -> list[str]:
        options = (*_NO_LOGIN, f"ConnectTimeout={ceil(self._limits.connect_s)}")
        return [
            target.executable,
            *host_key_options(file, alias, "accept-new", algorithms),
            *(word for option in options for word in ("-o", option)),
            *target.arguments,
            *(["-o", f"Port={target.port}"] if target.port is not None else []),
            *(["-o", f"User={target.user}"] if target.user is not None else []),
            *target.more_arguments,
            "--",
            target.host,
            # Command for a server that accepts the login: it ends at once.
            "exit",
        ]

    async def _run(self, command: Sequence[str]) -> str:
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=DEVNULL,
                stdout=DEVNULL,
                stderr=PIPE,
                env={**base_environment(), **self._marks},
                # A group of its own, to be ended together with a proxy command.
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise HostKeyScanError(f"the ssh client cannot be run: {error}") from None
        try:
            async with asyncio.timeout(self._limits.deadline_s):
                return _last_line(await _read_errors(process.stderr))
        except TimeoutError:
            return f"no answer within {self._limits.deadline_s:g} s"
        finally:
            await _end(process)


async def _read_errors(stream: asyncio.StreamReader | None) -> bytes:
    """Return what ssh complains of; a server that has it print more than that is not listened to any longer."""
    errors = b""
    while stream is not None and len(errors) < _LONGEST_ERRORS and (piece := await stream.read(_PIECE_BYTES)):
        errors += piece
    return errors


async def _end(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _recorded_key(file: Path) -> HostKey | None:
    try:
        return parse_host_keys(file.read_text(encoding="utf-8"))[0]
    except (OSError, UnicodeDecodeError):
        return None
    except HostKeyError as error:
        raise HostKeyScanError(f"its server presents a host key that cannot be used: {error}") from None


def _last_line(errors: bytes) -> str:
    """Return what ssh said last, in one line of printable characters."""
    lines = [line.strip() for line in errors.decode("utf-8", "replace").splitlines() if line.strip()]
    text = "".join(char if char.isprintable() else " " for char in lines[-1]) if lines else ""
    return text[:_SHOWN].rstrip(".")
