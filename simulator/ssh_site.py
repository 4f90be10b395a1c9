"""One simulated site's SSH server: login by password, commands, and SFTP, all within the process of the fleet.

A command runs as a process of its own in the site's directory. There is no terminal: what asks for one (`ssh -tt`, as
Ansible does for sudo) gets both outputs as one and no echo.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import re
import signal
import socket
from asyncio.subprocess import Process
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncssh

from simulator.rules import SiteFault
from simulator.site_tree import LOGIN, SiteTree

# Most connections that wait to be taken.
_BACKLOG: Final = 128
# What sshd's exit code is for a command that a signal ended.
_SIGNALLED: Final = 128
# A new connection has this long to log in, in seconds.
_LOGIN_S: Final = 30.0
# What is passed on at once, at most.
_PIECE_BYTES: Final = 64 * 1024
# No user of this machine has the login's name, so the shell cannot know its home.
_TILDE: Final = re.compile(rf"~{LOGIN}(?![A-Za-z0-9._-])")


@dataclass(kw_only=True)
class SshSite:
    """A site that may be reached by SSH; `faults` hold seconds where a fault takes time."""

    name: str
    tree: SiteTree
    host: str
    # 0: a free one, known once it listens.
    port: int
    password: str = field(repr=False)
    # Read by the site's sudo.
    password_file: Path
    programs: Path
    faults: Mapping[SiteFault, float]
    host_key: asyncssh.SSHKey = field(repr=False)
    _acceptor: asyncssh.SSHAcceptor | asyncio.Server | None = None
    _connections: set[asyncssh.SSHServerConnection] = field(default_factory=set)

    async def listen(self) -> None:
        """Take connections, unless the site refuses them.

        Raises:
            OSError: The address cannot be listened on.
        """
        bound = _bound(self.host, self.port)
        self.port = bound.getsockname()[1]
        if SiteFault.REFUSE in self.faults:
            bound.close()
        elif SiteFault.SILENT in self.faults:
            self._acceptor = await asyncio.start_server(_say_nothing, sock=bound)
        else:
            self._acceptor = await asyncssh.listen(
                sock=bound,
                backlog=_BACKLOG,
                server_factory=lambda: _Logins(self),
                server_host_keys=[self.host_key],
                process_factory=self._serve,
                sftp_factory=lambda channel: _Files(channel, self.tree),
                encoding=None,
                # The server's own line editor would hold back what Ansible writes to a "terminal".
                line_editor=False,
                login_timeout=_LOGIN_S,
                agent_forwarding=False,
                allow_scp=False,
            )

    def close(self) -> None:
        """Take no more connections and cut those that there are; their commands end with them."""
        if self._acceptor is not None:
            self._acceptor.close()
        for connection in list(self._connections):
            connection.abort()

    def admit(self, connection: asyncssh.SSHServerConnection) -> None:
        """Take note of a new connection, and plan its end if the site drops them."""
        self._connections.add(connection)
        seconds = self.faults.get(SiteFault.DROP)
        if seconds is not None:
            asyncio.get_running_loop().call_later(seconds, connection.abort)

    def forget(self, connection: asyncssh.SSHServerConnection) -> None:
        """Take note that a connection has ended."""
        self._connections.discard(connection)

    async def _serve(self, session: asyncssh.SSHServerProcess[bytes]) -> None:
        """Run what the client asked for, and tell how it ended; a client that leaves ends it."""
        await asyncio.sleep(self.faults.get(SiteFault.SLOW, 0.0))
        # One descriptor for both outputs where the client wanted a terminal.
        has_terminal = session.term_type is not None
        process = await asyncio.create_subprocess_exec(
            *self._arguments(session.command),
            cwd=self.tree.home,
            env=dict(self._environment()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT if has_terminal else asyncio.subprocess.PIPE,
            # A group of its own, to be ended as one.
            start_new_session=True,
        )
        output = asyncio.gather(
            _pass_on(process.stdout, session.stdout),
            _pass_on(process.stderr, session.stderr),
        )
        feeding = asyncio.create_task(_feed(session, process))
        leaving = asyncio.create_task(session.channel.wait_closed())
        try:
            await asyncio.wait((leaving, output), return_when=asyncio.FIRST_COMPLETED)
            if not leaving.done():
                code = await process.wait()
                session.exit(code if code >= 0 else _SIGNALLED - code)
        finally:
            if process.returncode is None:
                _signal(process, signal.SIGKILL)
            for task in (output, feeding, leaving):
                task.cancel()
            await asyncio.gather(output, feeding, leaving, return_exceptions=True)
            await process.wait()

    def _arguments(self, command: str | None) -> list[str]:
        return ["/bin/sh"] if command is None else ["/bin/sh", "-c", _TILDE.sub(str(self.tree.home), command)]

    def _environment(self) -> Mapping[str, str]:
        return self.tree.environment(
            programs=self.programs, password_file=self.password_file, may_sudo=SiteFault.NO_SUDO not in self.faults
        )


class _Logins(asyncssh.SSHServer):
    """Decides who may come in."""

    def __init__(self, site: SshSite) -> None:
        self._site = site

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Take note of the connection."""
        self._connection = conn
        self._site.admit(conn)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncssh's own signature
        """Take note of its end."""
        self._site.forget(self._connection)

    def begin_auth(self, username: str) -> bool:  # noqa: ARG002 - asyncssh's own signature
        """Ask everybody for a password."""
        return True

    def password_auth_supported(self) -> bool:
        """Offer password login and nothing else."""
        return True

    def validate_password(self, username: str, password: str) -> bool:
        """Take the one user with the one password."""
        is_right = hmac.compare_digest(password.encode(), self._site.password.encode())
        return is_right and username == LOGIN and SiteFault.NO_LOGIN not in self._site.faults


class _Files(asyncssh.SFTPServer):
    """Gives the files that the site's commands see; a relative path begins at the login's home."""

    def __init__(self, channel: asyncssh.SSHServerChannel[bytes], tree: SiteTree) -> None:
        super().__init__(channel)
        self._home = os.fsencode(tree.home)

    def map_path(self, path: bytes) -> bytes:
        """Return the path on this machine."""
        return os.path.join(self._home, path)  # noqa: PTH118 - a path of bytes, whatever they are


async def _say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # Until the client is tired of it.
    with contextlib.suppress(OSError):
        while await reader.read(1024):
            pass
    writer.close()


async def _pass_on(source: asyncio.StreamReader | None, target: asyncssh.SSHWriter[bytes]) -> None:
    while source is not None and (piece := await source.read(_PIECE_BYTES)):
        target.write(piece)
        await target.drain()


async def _feed(session: asyncssh.SSHServerProcess[bytes], process: Process) -> None:
    """Hand the client's input and signals to the command, until either has enough."""
    stdin = process.stdin
    with contextlib.suppress(OSError, KeyError, asyncssh.Error):
        while stdin is not None:
            try:
                piece = await session.stdin.read(_PIECE_BYTES)
            except asyncssh.SignalReceived as received:
                _signal(process, signal.Signals[f"SIG{received.signal}"])
            except (asyncssh.BreakReceived, asyncssh.TerminalSizeChanged):
                continue
            else:
                if not piece:
                    break
                stdin.write(piece)
                await stdin.drain()
        if stdin is not None:
            stdin.close()


def _signal(process: Process, number: signal.Signals) -> None:
    """Send a signal to the command's whole group; one that has ended is left alone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _bound(host: str, port: int) -> socket.socket:
    one = socket.socket(socket.AF_INET)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((host, port))
    except OSError:
        one.close()
        raise
    return one
