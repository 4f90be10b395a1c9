"""The process of a playbook, forked before there is a job for it: waits for its arguments, then is ansible-playbook.

Forked from the run's child while that has one thread only. It gets arguments, environment and terminal; secrets reach
it by the file of the inventory, as they reach an ansible-playbook that is executed.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import signal
import socket
import struct
import sys
import termios
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pexpect
from ptyprocess import PtyProcess

from runner.preload.ansible_state import differs, local_tmp, renew
from runner.preload.module_cache import share_modules
from runner.preload.pipelining import pipeline_after_trial

_ROWS, _COLUMNS = 24, 80


@dataclass(frozen=True, kw_only=True)
class LoadedAnsible:
    """The Ansible of a template process, for the processes that are forked from it."""

    # The environment in which Ansible was imported.
    environment: Mapping[str, str]
    # Directory of modules that its runs have built.
    modules: Path
    # Whether its runs find out for themselves if modules can be pipelined.
    tries_pipelining: bool


class RunProcess:
    """A forked process that waits for the arguments of ansible-playbook; a child of this process.

    Raises:
        OSError: It cannot be forked.
    """

    def __init__(self, loaded: LoadedAnsible) -> None:
        self._environment = loaded.environment
        self._orders, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            self._orders.close()
            _wait_and_play(theirs, loaded)
        theirs.close()

    def can_take(self, environment: Mapping[str, str]) -> bool:
        """Tell whether a run in this environment is the same here as in a process of its own."""
        return differs(self._environment, environment) is None

    def dismiss(self) -> None:
        """Have it end without a run."""
        self._orders.close()
        os.waitpid(self.pid, 0)

    def begin(self, arguments: Sequence[str], directory: str, environment: Mapping[str, str]) -> int:
        """Have it run ansible-playbook with these arguments; return the descriptor of its terminal.

        Raises:
            OSError: It is gone.
        """
        ours, terminal = os.openpty()
        try:
            order = {"arguments": list(arguments), "directory": directory, "environment": dict(environment)}
            socket.send_fds(self._orders, [b"\n"], [terminal])
            self._orders.sendall(json.dumps(order).encode())
            self._orders.close()
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(terminal)
        return ours


class ForkedPexpect:
    """Stand-in for the module pexpect in ansible-runner: `spawn` takes the process that waits instead of a new one.

    Everything else of pexpect is as it is: terminal, reading, waiting for the end.
    """

    def __init__(self, process: RunProcess) -> None:
        self._process: RunProcess | None = process

    def spawn(self, command: str, arguments: list[str], **options: Any) -> pexpect.spawn:
        """Return the run as `pexpect.spawn` would; it is executed where the waiting process cannot take it."""
        process, self._process = self._process, None
        if process is not None and process.can_take(options.get("env") or {}):
            return _ForkedSpawn(process, command, arguments, **options)
        if process is not None:
            process.dismiss()
        return pexpect.spawn(command, arguments, **options)

    def __getattr__(self, name: str) -> Any:
        """Return what pexpect has under this name."""
        return getattr(pexpect, name)


class _ForkedSpawn(pexpect.spawn):  # type: ignore[misc]
    def __init__(self, process: RunProcess, command: str, arguments: list[str], **options: Any) -> None:
        self._forked = process
        super().__init__(command, arguments, **options)

    def _spawnpty(self, args: list[Any], **options: Any) -> PtyProcess:
        words = [os.fsdecode(word) for word in args]
        environment = {os.fsdecode(key): os.fsdecode(value) for key, value in options["env"].items()}
        try:
            terminal = self._forked.begin(words, os.fsdecode(options["cwd"]), environment)
        except OSError:
            return super()._spawnpty(args, **options)
        return PtyProcess(self._forked.pid, terminal)


def _wait_and_play(orders: socket.socket, loaded: LoadedAnsible) -> NoReturn:
    code = 1
    try:
        order, terminal = _receive(orders)
        if order is not None:
            _take_terminal(terminal)
            _restore_signals()
            os.chdir(order["directory"])
            os.environ.clear()
            os.environ.update(order["environment"])
            renew(loaded.environment)
            share_modules(loaded.modules, local_tmp())
            if loaded.tries_pipelining:
                pipeline_after_trial(local_tmp())
            code = _play(order["arguments"])
    except BaseException:  # noqa: BLE001
        sys.excepthook(*sys.exc_info())
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _receive(orders: socket.socket) -> tuple[dict[str, Any] | None, int]:
    data, terminals, _, _ = socket.recv_fds(orders, 1, 1)
    if not data:
        return None, -1
    pieces = []
    while piece := orders.recv(65536):
        pieces.append(piece)
    return json.loads(b"".join(pieces)), terminals[0]


def _take_terminal(terminal: int) -> None:
    """Make `terminal` the controlling one, and standard input, output and error, as pexpect does."""
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    settings = termios.tcgetattr(terminal)
    settings[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, settings)
    for number in (0, 1, 2):
        os.dup2(terminal, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") > 0 else 65536)
    _open_streams()


def _open_streams() -> None:
    streams = {
        "stdin": open(0, encoding="utf-8", closefd=False),  # noqa: SIM115
        "stdout": open(1, "w", encoding="utf-8", closefd=False, buffering=1),  # noqa: SIM115
        "stderr": open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False, buffering=1),  # noqa: SIM115
    }
    for name, stream in streams.items():
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _restore_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    # As ansible-runner asks of pexpect.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _play(arguments: Sequence[str]) -> int:
    from ansible.cli.playbook import main  # noqa: PLC0415

    sys.argv = list(arguments)
    try:
        main()
        code: Any = 0
    except SystemExit as end:
        code = end.code
    atexit._run_exitfuncs()  # noqa: SLF001
    if code is None:
        return 0
    return int(code) if isinstance(code, int) else 1
