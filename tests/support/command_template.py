"""Commands of `prestager` forked from a process that has loaded the command line: a third of a second less for each.

Each is a process of its own with its own arguments, variables, input and output, as if a shell had started it; that it
starts as one is for the tests at a terminal and those of its cost. `python -m tests.support.command_template SOCKET`
is the process that forks them.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import cache
from io import StringIO
from select import select
from typing import Any, Final

from cli.main import main as run_command

# Loads what all commands over HTTP load, and is refused for want of a token.
_FIRST: Final = ("strategy", "show", "--server", "http://127.0.0.1:9")
_LONGEST_REQUEST: Final = 1 << 20


def run_forked(
    arguments: Sequence[str], environment: Mapping[str, str], stdin: str, timeout_s: float
) -> tuple[int, str, str]:
    """Run a command to its end; return its exit code, negative for a signal, and what it printed.

    Raises:
        TimeoutError: It did not end in time, and was killed.
    """
    streams = [os.memfd_create(name) for name in ("stdin", "stdout", "stderr")]
    told, tell = os.pipe()
    try:
        os.write(streams[0], stdin.encode())
        os.lseek(streams[0], 0, os.SEEK_SET)
        try:
            request = json.dumps([list(arguments), dict(environment)]).encode()
            socket.send_fds(_template(), [request], [*streams, tell])
        finally:
            os.close(tell)
        pid = int(os.read(told, 16))
        if not select([told], [], [], timeout_s)[0]:
            os.kill(pid, signal.SIGKILL)
            raise TimeoutError(f"prestager {' '.join(arguments)} did not end within {timeout_s} s")
        code = int(os.read(told, 16))
        out, err = (os.pread(stream, os.fstat(stream).st_size, 0).decode() for stream in streams[1:])
    finally:
        for descriptor in (*streams, told):
            os.close(descriptor)
    return code, out, err


@cache
def _template() -> socket.socket:
    """Return the socket of this process's template, which ends with it."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(its.fileno())],
        env={"PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL,
        pass_fds=[its.fileno()],
    )
    its.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


class _Template:
    """Forks a process for each request, and tells its id and then its exit code."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._tell: dict[int, int] = {}
        self._woken, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._wake.fileno())

    def next_command(self) -> list[str] | None:
        """Return, in a new process, the words of its command; in this one None, once nobody asks any more."""
        while True:
            ready, _, _ = select([self._requests, self._woken], [], [])
            if self._woken in ready:
                self._woken.recv(4096)
                self._tell_ends()
            if self._requests in ready:
                request, descriptors, _, _ = socket.recv_fds(self._requests, _LONGEST_REQUEST, 4)
                if not request:
                    return None
                words = self._fork(json.loads(request), descriptors)
                if words is not None:
                    return words

    def _fork(self, request: Any, descriptors: list[int]) -> list[str] | None:
        *streams, tell = descriptors
        pid = os.fork()
        if pid:
            self._tell[pid] = tell
            os.write(tell, f"{pid}".encode())
            for stream in streams:
                os.close(stream)
            return None
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.closerange(3, max(*descriptors, *self._tell.values(), self._requests.fileno()) + 1)
        words, environment = request
        os.environ.clear()
        os.environ.update(environment)
        return list(words)

    def _tell_ends(self) -> None:
        while self._tell:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            tell = self._tell.pop(pid)
            os.write(tell, f"{os.waitstatus_to_exitcode(status)}".encode())
            os.close(tell)


def main() -> None:
    """Run a command that changes nothing, and fork others from what it has loaded until nobody asks any more."""
    requests = socket.socket(fileno=int(sys.argv[1]))
    sys.argv[1:] = _FIRST
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()), suppress(SystemExit):
        run_command()
    gc.freeze()
    words = _Template(requests).next_command()
    if words is not None:
        sys.argv[1:] = words
        run_command()


if __name__ == "__main__":
    main()
