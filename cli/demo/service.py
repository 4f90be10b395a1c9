"""The service of a demonstration: `prestager up` as a child process, and requests to its API."""

from __future__ import annotations

import ctypes
import json
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from service.errors import CommandError

# Loading the program takes about a second on a slow machine.
_READY_S: Final = 60.0
_STOP_S: Final = 60.0
_LOOK_S: Final = 0.1
_ANSWER_S: Final = 60.0
_STRATEGY: Final = "/v1.0/sw-update-strategy"
_OK: Final = 200
_PR_SET_PDEATHSIG: Final = 1


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
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - calls the kernel only
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


def _end_with_parent() -> None:
    """Have the kernel end this process in order when its parent is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


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


class DemoClient:
    """Sends requests to one service."""

    def __init__(self, url: str, token: str) -> None:
        self._place = urlsplit(url)
        self._headers = {"X-Auth-Token": token, "Accept": "application/json", "Content-Type": "application/json"}

    def create_strategy(self, password: str) -> dict[str, Any]:
        """Create a prestage strategy over the whole fleet and return it, with the sites that it leaves out."""
        body = {"type": "prestage", "sysadmin_password": b64encode(password.encode()).decode()}
        return self._object("POST", _STRATEGY, body)

    def apply_strategy(self) -> dict[str, Any]:
        """Apply the strategy."""
        return self._object("POST", f"{_STRATEGY}/actions", {"action": "apply"})

    def make_login_link(self) -> str:
        """Return a link that logs a browser in at the page, once, within ten minutes."""
        return f"{self._place.scheme}://{self._place.netloc}{self._object('POST', '/ui/login-code')['path']}"

    def strategy(self) -> dict[str, Any]:
        """Return the strategy."""
        return self._object("GET", _STRATEGY)

    def steps(self) -> list[dict[str, Any]]:
        """Return every step."""
        steps: list[dict[str, Any]] = self._object("GET", f"{_STRATEGY}/steps")["strategy-steps"]
        return steps

    def _object(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send one request.

        Raises:
            CommandError: There was no answer, or another one than 200.
        """
        connection = HTTPConnection(self._place.hostname or "", self._place.port, timeout=_ANSWER_S)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), self._headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, HTTPException) as error:
            raise CommandError(f"The service does not answer {method} {path}: {error}") from error
        finally:
            connection.close()
        if response.status != _OK:
            raise CommandError(f"{method} {path} was answered with {response.status}: {content.decode()[:500]}")
        answer: dict[str, Any] = json.loads(content)
        return answer
