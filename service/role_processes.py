"""API, coordinator and worker as processes of their own, forked from one process that looks after them.

That one loads the modules of all roles, and shares the pages of what is loaded with those that it forks. It has no
thread and no connection. As systemd does with units, it waits until each part is ready, starts one anew that ends or
gives no sign of life, and passes signals on.
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
from typing import Any, Final

import structlog

from runner.process_limits import end_with_parent
from service.lifecycle import freeze_heap
from service.process import ready_settings, serve
from service.readiness import BEAT_S, ReadinessReporter
from service.roles import ALL_ROLES, ProcessRole
from service.settings import Settings
from service.wiring import require_broker

_log = structlog.get_logger(__name__)

# What the roles load when they are built: once here, and not in each of them.
for _name in ("amqp_messaging", "api_server", "coordinator_role", "worker_role"):
    import_module(f"service.{_name}")

# As RestartSec and WatchdogSec of the units in deploy/systemd, in seconds.
RESTART_S: Final = 1.0
SILENCE_S: Final = 60.0
_ENDING: Final = (signal.SIGTERM, signal.SIGINT)
_WATCHED: Final = (*_ENDING, signal.SIGCHLD)
# Of who sent a message: process, user, group (unix(7)).
_CREDENTIALS: Final = struct.Struct("3i")
_MESSAGE_BYTES: Final = 256


def run_roles() -> int:
    """Run API, coordinator and worker as three processes until SIGTERM or SIGINT, and return the exit code.

    Each of the three returns from here too, at its own end.

    Raises:
        CommandError: A setting makes a start impossible; every fault is listed.
        StartError: There is no broker, or this process cannot start.
    """
    settings = ready_settings(ALL_ROLES)
    require_broker(settings)
    freeze_heap()
    with closing(RoleProcesses(settings.ready_file)) as processes:
        role = processes.run()
    if isinstance(role, int):
        return role
    serve(settings_of_part(settings, role), frozenset({role}))
    return 0


def settings_of_part(settings: Settings, role: ProcessRole) -> Settings:
    """Return the settings of one of the processes.

    The file that says that the service is ready belongs to the first process. Metrics and health of the API are at
    `monitor_listen`, those of the coordinator and the worker at the next two ports.
    """
    changes: dict[str, Any] = {"ready_file": None}
    if settings.monitor_listen is not None:
        host, _, port = settings.monitor_listen.rpartition(":")
        changes["monitor_listen"] = f"{host}:{int(port) + list(ProcessRole).index(role) if int(port) else 0}"
    return settings.model_copy(update=changes)


@dataclass(kw_only=True)
class Part:
    """One of the processes; its id is 0 while it does not run. Moments are those of the monotonic clock."""

    role: ProcessRole
    pid: int = 0
    is_ready: bool = False
    heard_at: float = 0.0
    due_at: float = 0.0


class RoleProcesses:
    """Starts a process for each role and looks after them.

    Args:
        ready_file: Exists while all of them are ready; None: no such file.
    """

    def __init__(self, ready_file: Path | None) -> None:
        self.parts = [Part(role=role) for role in ProcessRole]
        self._reporter = ReadinessReporter(ready_file)
        # Where the parts report, as if it were systemd's; the kernel says which process a message comes from.
        self._reports = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._reports.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        # A name that the kernel chooses, in the abstract namespace.
        self._reports.bind("")
        self._signals, self._wakeup = socket.socketpair()
        self._signals.setblocking(False)
        self._wakeup.setblocking(False)
        self._pid = os.getpid()
        self._beat_at = 0.0
        self._are_ready = self._were_ready = self._is_stopping = False
        self._code = 0

    def run(self) -> ProcessRole | int:
        """Return the exit code when all parts have ended; in each of the parts its role, at once.

        Until all have been ready for the first time, the end of one ends all: then it is the settings or the machine.
        """
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        for number in _WATCHED:
            signal.signal(number, lambda _number, _frame: None)
        while not (self._is_stopping and self._have_ended):
            for part in self.parts:
                if self._is_due(part) and self._fork(part):
                    return part.role
            select.select([self._signals, self._reports], [], [], self._rest_s())
            self._take_signals()
            self._take_reports()
            self._take_ends()
            self.kill_silent(time.monotonic())
            self._report()
        return self._code

    def close(self) -> None:
        """Close what signals and reports come by. Repeating it does nothing."""
        signal.set_wakeup_fd(-1)
        for link in (self._reports, self._signals, self._wakeup):
            link.close()

    @property
    def _have_ended(self) -> bool:
        return not any(part.pid for part in self.parts)

    def _is_due(self, part: Part) -> bool:
        return not (self._is_stopping or part.pid) and time.monotonic() >= part.due_at

    def _rest_s(self) -> float | None:
        """Return the seconds until something is to be done without a signal or a report; None: nothing is."""
        if self._is_stopping:
            return None
        waiting = [part.due_at for part in self.parts if not part.pid]
        return max(0.0, min([self._beat_at, *waiting]) - time.monotonic())

    def _fork(self, part: Part) -> bool:
        """Fork a part; return whether this is it."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        # One that comes between must end the new process too.
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        pid = os.fork()
        if pid == 0:
            self._become_part()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        part.pid, part.is_ready, part.heard_at = pid, False, time.monotonic()
        return pid == 0

    def _become_part(self) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # It is in the abstract namespace, where the name begins with a zero byte.
        os.environ["NOTIFY_SOCKET"] = "@" + self._reports.getsockname()[1:].decode()
        self.close()
        end_with_parent()
        if os.getppid() != self._pid:
            os.kill(os.getpid(), signal.SIGTERM)

    def _take_signals(self) -> None:
        with suppress(BlockingIOError):
            for number in self._signals.recv(_MESSAGE_BYTES):
                if number in _ENDING:
                    self._stop()

    def _stop(self) -> None:
        """Ask all parts to end; a second time, they end at once."""
        if not self._is_stopping:
            self._is_stopping = True
            self._reporter.report_stop()
        for part in self.parts:
            if part.pid:
                os.kill(part.pid, signal.SIGTERM)

    def _take_ends(self) -> None:
        for part in self.parts:
            if not part.pid:
                continue
            pid, status = os.waitpid(part.pid, os.WNOHANG)
            if pid:
                part.pid, part.is_ready, part.due_at = 0, False, time.monotonic() + RESTART_S
                self._take_end(part, os.waitstatus_to_exitcode(status))

    def _take_end(self, part: Part, code: int) -> None:
        if self._is_stopping:
            # One that was just starting is ended by the signal itself.
            self._code = self._code or (0 if code in {0, -signal.SIGTERM} else 1)
            return
        _log.warning("service.part-ended", role=part.role, code=code, is_started_again=self._were_ready)
        if not self._were_ready:
            self._code = 1
            self._stop()

    def _take_reports(self) -> None:
        with suppress(BlockingIOError):
            while True:
                message, ancillary, _, _ = self._reports.recvmsg(_MESSAGE_BYTES, socket.CMSG_SPACE(_CREDENTIALS.size))
                pids = [_CREDENTIALS.unpack(data)[0] for _, kind, data in ancillary if kind == socket.SCM_CREDENTIALS]
                for part in self.parts:
                    if part.pid in pids:
                        part.heard_at = time.monotonic()
                        part.is_ready = part.is_ready or message == b"READY=1"

    def kill_silent(self, now: float) -> None:
        """Kill each part that was ready and has given no sign of life for `SILENCE_S`; it is started anew then."""
        for part in self.parts:
            if part.is_ready and now - part.heard_at > SILENCE_S:
                _log.error("service.part-silent", role=part.role, pid=part.pid)
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
