"""A caller who keeps asking while an installation is hurt."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from threading import Event, Thread
from time import monotonic
from typing import Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.faults.fault_installation import FaultInstallation
from tests.support.installation_processes import START_S

# What an unwilling installation may answer; anything else but 200 is a fault of ours.
_TRY_AGAIN: Final = frozenset({503, 504})


@dataclass(frozen=True)
class Outcome:
    """A command that has a definite answer."""

    name: str
    status: int
    # Monotonic times of the last try.
    asked_at: float
    answered_at: float


@dataclass
class Caller:
    """Somebody who makes one group after another, each asked for until there is a definite answer.

    Every repeat carries the same Idempotency-Key; so the answer to each must be 200 in the end, whatever happened
    between. `strange` collects what no caller should ever see.
    """

    url: str
    token: str
    prefix: str = "g"
    outcomes: list[Outcome] = field(default_factory=list)
    tries: Counter[str] = field(default_factory=Counter)
    strange: list[str] = field(default_factory=list)
    # Of the slowest answer, whatever it was, in seconds.
    slowest_s: float = 0.0

    def __post_init__(self) -> None:
        """Begin."""
        self._over = Event()
        self._thread = Thread(target=self._call, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Make no more, and wait for the answer to the last."""
        self._over.set()
        self._thread.join(START_S)
        assert not self._thread.is_alive(), f"no definite answer within {START_S} s: {self.tries}"

    def accepted_after(self, moment: float) -> float | None:
        """Return how long after a moment the first command was accepted that was asked for since; None: none yet."""
        return next((done.answered_at - moment for done in self.outcomes if done.asked_at >= moment), None)

    def _call(self) -> None:
        while not self._over.is_set():
            name = f"{self.prefix}{len(self.outcomes)}"
            while (outcome := self._try(name)) is None:
                Event().wait(0.1)
            self.outcomes.append(outcome)
            self._over.wait(0.02)

    def _try(self, name: str) -> Outcome | None:
        body = {"name": name, "description": name, "update_apply_type": "serial", "max_parallel_subclouds": 2}
        request = Request(
            f"{self.url}/v1.0/subcloud-groups",
            data=json.dumps(body).encode(),
            headers={"X-Auth-Token": self.token, "Idempotency-Key": name, "Accept": "application/json"},
        )
        asked_at = monotonic()
        try:
            with urlopen(request, timeout=30) as response:
                response.read()
                status = response.status
        except HTTPError as error:
            status, text = error.code, error.read().decode(errors="replace")
            if status not in _TRY_AGAIN:
                self.strange.append(f"{name}: {status} {text[:300]}")
        except (OSError, HTTPException) as error:
            # Its API is dead or being born.
            self.tries[type(error).__name__] += 1
            return None
        answered_at = monotonic()
        self.slowest_s = max(self.slowest_s, answered_at - asked_at)
        self.tries[str(status)] += 1
        return Outcome(name, status, asked_at, answered_at) if status not in {500, *_TRY_AGAIN} else None


@contextmanager
def calling(installation: FaultInstallation, prefix: str = "g") -> Iterator[Caller]:
    """Have somebody call all the while; afterwards all he asked for has its answer."""
    caller = Caller(f"http://127.0.0.1:{installation.api.port}", installation.api.token, prefix)
    try:
        yield caller
    finally:
        caller.stop()
        sys.stdout.write(f"calls {dict(caller.tries)}, slowest {caller.slowest_s:.1f} s\n")
