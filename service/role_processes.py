"""API, coordinator and worker as processes of their own that share what they load, and one that looks after them.

That one is small: it has no thread, no connection and no secret. It forks a loader, which loads the modules of all
roles, forks a part for each, and ends; so the parts share the pages of what was loaded, and become children of the
first process. As systemd does with units, it waits until each part is ready, has one started anew that ends or gives
no sign of life, and passes signals on.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import sys
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

import structlog

from runner.process_limits import adopt_orphans, end_with_parent
from service.readiness_reporter import BEAT_S, SOCKET_VARIABLE, ReadinessReporter
from service.roles import ALL_ROLES, ProcessRole

_log = structlog.get_logger(__name__)

# As RestartSec and WatchdogSec of the units in deploy/systemd, in seconds.
RESTART_S: Final = 5.0
SILENCE_S: Final = 60.0
_ENDING: Final = (signal.SIGTERM, signal.SIGINT)
_WATCHED: Final = (*_ENDING, signal.SIGCHLD)
# Of who sent a message: process, user, group (unix(7)).
_CREDENTIALS: Final = struct.Struct("3i")
_MESSAGE_BYTES: Final = 8192
# Messages of a loader and of a part that was just forked, beside those of systemd's protocol.
_FILE: Final = b"FILE="
_ROLE: Final = b"ROLE="
_STOPPING: Final = b"STOPPING=1"
# What the roles load when they are built.
_MODULES: Final = ("amqp_messaging", "api_server", "coordinator_role", "worker_role")


def run_roles() -> int:
    """Run API, coordinator and worker as three processes until SIGTERM or SIGINT, and return the exit code.

    Each of the three returns from here too, at its own end, and so does a loader that fails.

    Raises:
        CommandError: In a loader: a setting makes a start impossible; every fault is listed.
        StartError: In a loader or a part: there is no broker, or it cannot start.
    """
    with closing(RoleProcesses()) as processes:
        parts = processes.run()
        if isinstance(parts, int):
            return parts
    return _load(parts, processes)


def _load(parts: list[Part], processes: RoleProcesses) -> int:
    """Load the modules of all roles, fork parts, and return in each of them at its end."""
    from service.lifecycle import freeze_heap  # noqa: PLC0415 - the first process goes without
    from service.process import ready_settings, serve, settings_of_part  # noqa: PLC0415
    from service.wiring import require_broker  # noqa: PLC0415

    settings = ready_settings(ALL_ROLES)
    require_broker(settings)
    for name in _MODULES:
        import_module(f"service.{name}")
    _tell_ends(parts)
    if settings.ready_file is not None:
        processes.send(_FILE + os.fsencode(settings.ready_file))
    freeze_heap()
    for part in parts:
        if _fork():
            processes.join(part)
            serve(settings_of_part(settings, part.role), frozenset({part.role}))
            return 0
    # Not a normal exit: nothing of what was loaded is to be closed.
    os._exit(0)


def _tell_ends(parts: list[Part]) -> None:
    """Log how the predecessors of parts ended; the first process has no log."""
    for part in parts:
        if part.ended_with is not None:
            _log.warning("service.part-ended", role=part.role, code=part.ended_with)


def _fork() -> bool:
    """Fork this process; return whether this is the new one."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return os.fork() == 0


@dataclass(kw_only=True)
class Part:
    """One of the processes; its id is 0 while none is known. Moments are those of the monotonic clock.

    Attributes:
        due_at: When it is to be started, where it does not run.

        ended_with: Exit code of its predecessor, negative for a signal; None: it has none.
    """

    role: ProcessRole
    pid: int = 0
    is_ready: bool = False
    heard_at: float = 0.0
    due_at: float = 0.0
    ended_with: int | None = None


class RoleProcesses:
    """Has a process started for each role, and looks after them."""

    def __init__(self) -> None:
        self.parts = [Part(role=role) for role in ProcessRole]
        self._reporter = ReadinessReporter(None)
        # Where the parts report, as if it were systemd's; the kernel says which process a message comes from.
        self._reports = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._reports.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        # A name that the kernel chooses, in the abstract namespace: it begins with a zero byte.
        self._reports.bind("")
        self._address: bytes = self._reports.getsockname()
        self._signals, self._wakeup = socket.socketpair()
        self._signals.setblocking(False)
        self._wakeup.setblocking(False)
        self._pid = os.getpid()
        self._loader = 0
        self._beat_at = 0.0
        self._are_ready = self._were_ready = self._is_stopping = False
        self._code = 0

    def close(self) -> None:
        """Close what signals and reports come by. Repeating it does nothing."""
        signal.set_wakeup_fd(-1)
        for link in (self._reports, self._signals, self._wakeup):
            link.close()

    def run(self) -> list[Part] | int:
        """Return the exit code when all have ended; in each loader the parts to start, at once.

        Until all have been ready for the first time, the end of one ends all: then it is the settings or the machine.
        """
        adopt_orphans()
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        for number in _WATCHED:
            signal.signal(number, lambda _number, _frame: None)
        while True:
            if (due := self._due()) and self._fork_loader(due):
                return due
            select.select([self._signals, self._reports], [], [], self._rest_s())
            self._take_signals()
            has_children = self._take_ends()
            self._take_reports()
            if self._is_stopping and not has_children:
                return self._code
            self.kill_silent(time.monotonic())
            self._report()

    def send(self, message: bytes) -> None:
        """Send a message to the first process, from a loader or a part."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
            link.sendto(message, self._address)

    def join(self, part: Part) -> None:
        """Become a child of the first process, once the loader has ended, and say which part this process is."""
        loader = os.getppid()
        if loader != self._pid:
            with suppress(ProcessLookupError):
                descriptor = os.pidfd_open(loader)
                select.select([descriptor], [], [])
                os.close(descriptor)
        end_with_parent()
        if os.getppid() != self._pid:
            os.kill(os.getpid(), signal.SIGTERM)
        os.environ[SOCKET_VARIABLE] = "@" + self._address[1:].decode()
        self.send(_ROLE + part.role.encode())

    def _due(self) -> list[Part]:
        if self._is_stopping or self._loader:
            return []
        return [part for part in self.parts if not part.pid and time.monotonic() >= part.due_at]

    def _rest_s(self) -> float | None:
        """Return the seconds until something is to be done without a signal or a report; None: nothing is."""
        if self._is_stopping:
            return None
        waiting = [part.due_at for part in self.parts if not (part.pid or self._loader)]
        return max(0.0, min([self._beat_at, *waiting]) - time.monotonic())

    def _fork_loader(self, due: list[Part]) -> bool:
        """Fork a process that starts parts; return whether this is it."""
        # A signal that comes between must end the new process too.
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            for number in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        self._loader = pid
        for part in due:
            # One of which nothing is heard by then is started once more.
            part.due_at = time.monotonic() + SILENCE_S
        return pid == 0

    def _take_signals(self) -> None:
        with suppress(BlockingIOError):
            for number in self._signals.recv(_MESSAGE_BYTES):
                if number in _ENDING:
                    self._stop()

    def _stop(self) -> None:
        """Ask all to end; a second time, they end at once."""
        if not self._is_stopping:
            self._is_stopping = True
            self._reporter.report_stop()
        for pid in (self._loader, *(part.pid for part in self.parts)):
            if pid:
                os.kill(pid, signal.SIGTERM)

    def _take_ends(self) -> bool:
        """Take the ends of children, those of orphans of a part too; return whether there are others."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            self._take_end(pid, os.waitstatus_to_exitcode(status))

    def _take_end(self, pid: int, code: int) -> None:
        if pid == self._loader:
            self._loader = 0
            failed = [part for part in self.parts if not part.pid] if code else []
        else:
            failed = [part for part in self.parts if part.pid == pid]
        for part in failed:
            part.pid, part.is_ready, part.ended_with = 0, False, code
            part.due_at = time.monotonic() + RESTART_S
        if failed and self._is_stopping:
            # One that was just starting is ended by the signal itself.
            self._code = self._code or (0 if code in {0, -signal.SIGTERM} else 1)
        elif failed and not self._were_ready:
            self._code = 1
            self._stop()

    def _take_reports(self) -> None:
        with suppress(BlockingIOError):
            while True:
                message, ancillary, _, _ = self._reports.recvmsg(_MESSAGE_BYTES, socket.CMSG_SPACE(_CREDENTIALS.size))
                for _, kind, data in ancillary:
                    pid, user, _ = _CREDENTIALS.unpack(data) if kind == socket.SCM_CREDENTIALS else (0, -1, -1)
                    # Every user of the machine can send to an abstract name.
                    if user == os.getuid():
                        self._take_report(message, pid)

    def _take_report(self, message: bytes, pid: int) -> None:
        if message.startswith(_ROLE):
            self._take_part(ProcessRole(message.removeprefix(_ROLE).decode()), pid)
        elif message.startswith(_FILE) and not self._were_ready:
            self._reporter.use_file(Path(os.fsdecode(message.removeprefix(_FILE))))
        for part in self.parts:
            if part.pid == pid:
                part.heard_at = time.monotonic()
                part.is_ready = not message.startswith((_ROLE, _STOPPING))

    def _take_part(self, role: ProcessRole, pid: int) -> None:
        part = next(part for part in self.parts if part.role == role)
        if self._is_stopping or part.pid:
            os.kill(pid, signal.SIGTERM)
        part.pid = part.pid or pid

    def kill_silent(self, now: float) -> None:
        """Kill each part that was ready and has given no sign of life for `SILENCE_S`; it is started anew then."""
        for part in self.parts:
            if part.is_ready and now - part.heard_at > SILENCE_S:
                os.kill(part.pid, signal.SIGKILL)

    def _report(self) -> None:
        are_ready = all(part.is_ready for part in self.parts)
        if are_ready != self._are_ready:
            self._are_ready, self._beat_at = are_ready, 0.0
        if are_ready and not self._were_ready:
            self._were_ready = True
            self._reporter.report_ready()
        if time.monotonic() >= self._beat_at and not self._is_stopping:
            self._beat_at = time.monotonic() + BEAT_S
            self._reporter.report_life(is_ready=are_ready)
