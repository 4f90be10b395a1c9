"""The example of a receiver, as a process: it verifies what comes by code that is not ours, and prints what is good."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import IO, Any

from tests.support.waiting import PATIENCE_S

_PROGRAM = Path(__file__).parents[2] / "examples" / "verify_webhook.py"


@dataclass(frozen=True)
class VerifyingReceiver:
    """A receiver that runs."""

    url: str
    _lines: Queue[str]

    def next(self) -> Any:
        """Return the next event that was found genuine, at most 30 s from now."""
        return json.loads(self._lines.get(timeout=PATIENCE_S))


@contextmanager
def verifying(secret: str) -> Iterator[VerifyingReceiver]:
    """Give a receiver that takes what is signed by `secret`."""
    process = subprocess.Popen(
        [sys.executable, _PROGRAM, "0"],
        env={"PATH": os.environ["PATH"], "WEBHOOK_SECRET": secret},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        first = process.stderr.readline()
        assert first.startswith("listening on port "), first
        lines: Queue[str] = Queue()
        for stream, sink in ((process.stdout, lines), (process.stderr, Queue[str]())):
            Thread(target=_read, args=(stream, sink), daemon=True).start()
        yield VerifyingReceiver(f"http://127.0.0.1:{first.split()[-1]}/hook", lines)
    finally:
        process.kill()
        process.wait()


def _read(stream: IO[str], sink: Queue[str]) -> None:
    with stream:
        for line in stream:
            sink.put(line)
