"""A server process on loopback that a test may stop, kill and freeze."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from tests.support.waiting import PATIENCE_S, wait_for

# Waits for the end of its input, which is the end of the test's process, however it came. What is killed may write
# for another moment.
_GUARD = (
    'root=$1; shift; read -r _; kill -KILL $(cat "$root/server.pid") "$@"; rm -rf "$root" ||'
    ' { sleep 1; rm -rf "$root"; }'
)


class ServerUnavailableError(Exception):
    """This machine cannot host the server; the message names what to install."""


class Server:
    """A server with a temporary directory of its own, which is gone afterwards, also when the test's process is killed.

    A subclass starts it with `_launch`, and says in `_answers` when it serves.

    Args:
        prefix: Of the temporary directory's name.

    Raises:
        ServerUnavailableError: The server is not installed, or ended while it started.
    """

    deadline_s: ClassVar[float] = PATIENCE_S

    def __init__(self, prefix: str) -> None:
        self._root = Path(tempfile.mkdtemp(prefix=prefix))
        self._pid_file = self._root / "server.pid"
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Return the server, which runs."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close."""
        self.close()

    @property
    def pid(self) -> int:
        """Process id of the server, which runs."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the server, which is down; returns when it serves."""
        raise NotImplementedError

    def stop(self) -> None:
        """Shut the server down in order."""
        self.resume()
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Stop in order and start."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """Kill the server; connections are refused."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze the server: connections are accepted by the kernel, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """End the server and remove all that it has written; a second call does nothing."""
        self.kill()
        shutil.rmtree(self._root, ignore_errors=True)
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()

    def _start_guarded(self, *others: int) -> None:
        """Start for the first time; the guard kills the processes with these ids too. What fails leaves nothing."""
        self._guard = subprocess.Popen(
            ["sh", "-c", _GUARD, "guard", str(self._root), *map(str, others)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._prepare()
            self.start()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        """Write what the server needs before its first start."""

    def _launch(self, command: Sequence[str | Path], log: Path, **options: Any) -> None:
        """Start the process and wait until it serves; `options` are those of Popen."""
        with log.open("ab") as sink:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True, **options
            )
        self._pid_file.write_text(str(self._process.pid), encoding="ascii")

        def is_ready() -> bool:
            if self._process is None or self._process.poll() is not None:
                raise ServerUnavailableError(f"The server ended while it started.\n{tail(log)}")
            return self._answers()

        wait_for(is_ready, self.deadline_s, lambda: tail(log))

    def _answers(self) -> bool:
        raise NotImplementedError

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(self.deadline_s)
            self._process = None
            self._pid_file.unlink(missing_ok=True)


def tail(log: Path) -> str:
    """Return the end of a log, which may not be there yet."""
    return log.read_text(encoding="utf-8", errors="replace")[-4000:] if log.exists() else ""
