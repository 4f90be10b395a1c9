"""The service of a demonstration: `prestager up` as a child process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runner.process_limits import end_with_parent
from service.errors import CommandError

# Loading the program takes about a second on a slow machine.
_READY_S: Final = 60.0
_STOP_S: Final = 60.0
_LOOK_S: Final = 0.1


def run_command(arguments: Sequence[str], settings: Mapping[str, str]) -> str:
    """Run `prestager` with `arguments` and return what it printed.

    Raises:
        CommandError: It failed, with its own words.
    """
    done = subprocess.run(_command(arguments), env=settings, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    if done.returncode:
        raise CommandError(f"prestager {' '.join(arguments)} failed: {done.stderr.strip()}")
    return done.stdout.strip()


@dataclass(frozen=True, kw_only=True)
class DemoService:
    """The service of a demonstration while it runs."""

    url: str
    process: subprocess.Popen[bytes]

    def await_end(self) -> None:
        """Wait until the service ends by itself, or Ctrl-C is pressed."""
        with suppress(KeyboardInterrupt):
            self.process.wait()


@contextmanager
def running_service(settings: Mapping[str, str], log: Path) -> Iterator[DemoService]:
    """Run the service on a free port of the loopback interface, and stop it at the end.

    Raises:
        CommandError: It did not become ready, or had to be killed.
    """
    asked = {**settings, "PRESTAGER_LISTEN": "127.0.0.1:0", "PRESTAGER_LOG_FORMAT": "json"}
    with log.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603 - our own program
            _command(["up"]),
            env=asked,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            # Ctrl-C is for the demonstration to pass on.
            start_new_session=True,
            preexec_fn=end_with_parent,  # noqa: PLW1509 - calls the kernel only
        )
    try:
        yield DemoService(url=_await_ready(process, log), process=process)
        _stop(process, log)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "cli.main", *arguments]


def _await_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    limit = time.monotonic() + _READY_S
    while time.monotonic() < limit:
        url = next(filter(None, map(_ready_url, log.read_text(encoding="utf-8").splitlines())), None)
        if url is not None:
            return url
        if process.poll() is not None:
            raise CommandError(f"The service ended with exit code {process.returncode}; see {log}.")
        time.sleep(_LOOK_S)
    raise CommandError(f"The service was not ready within {_READY_S:g} s; see {log}.")


def _ready_url(line: str) -> str | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    is_ready = isinstance(record, dict) and record.get("event") == "service.ready"
    return str(record["url"]) if is_ready else None


def _stop(process: subprocess.Popen[bytes], log: Path) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        code = process.wait(_STOP_S)
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"The service did not stop within {_STOP_S:g} s; see {log}.") from error
    if code:
        raise CommandError(f"The service stopped with exit code {code}; see {log}.")
