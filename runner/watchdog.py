"""Watches the supervisor from its child: takes its orders, and stops the tree when it is dead or frozen.

Runs in a thread of the child, because the main thread is inside ansible-runner. Covers kill -9 of the supervisor (the
pipe closes) and SIGSTOP of it (the pings stop), which a parent-death signal does not.
"""

from __future__ import annotations

import os
import select
import threading
import traceback
from collections.abc import Callable
from queue import SimpleQueue

from runner.interface import PlaybookJob
from runner.processes import descendants, end_processes
from runner.protocol import Ping, Stop, decode_order

# Without a supervisor nothing waits for a polite end, and the site's lease is running out, in seconds.
ABANDONED_GRACE_S = 2.0

_READ_BYTES = 64 * 1024


class SupervisorWatchdog:
    """Watches the supervisor and carries out its orders.

    Attributes:
        stopping: set once the tree is being stopped, for whatever reason.

        returned: set by the main thread once the playbook's process is over.

        stopped: set once nothing is left of a tree that was being stopped.

        cause: why the child stopped by itself; empty when it was asked to.
    """

    def __init__(self, orders: int, *, silence_limit_s: float, on_abandoned: Callable[[], None]) -> None:
        self.stopping = threading.Event()
        self.returned = threading.Event()
        self.stopped = threading.Event()
        self.cause = ""
        self._orders = orders
        self._silence_limit_s = silence_limit_s
        self._on_abandoned = on_abandoned
        self._jobs: SimpleQueue[PlaybookJob | None] = SimpleQueue()
        self._buffer = b""
        self._wake_read, self._wake_write = os.pipe()

    def start(self) -> None:
        """Begin to watch."""
        threading.Thread(target=self._guard, name="watchdog", daemon=True).start()

    def wait_for_job(self) -> PlaybookJob | None:
        """Block until the job is there; None when there will be none."""
        return self._jobs.get()

    def terminate(self) -> None:
        """Stop the tree because this process got a TERM; safe in a signal handler."""
        os.write(self._wake_write, b"t")

    def _guard(self) -> None:
        try:
            self._watch()
        except BaseException:  # noqa: BLE001
            # A run without a watchdog must not go on; the supervisor, or the next sweep, ends what is left of the tree.
            traceback.print_exc()
            os._exit(1)

    def _watch(self) -> None:
        # poll, not a clock: a time out means that the pipe was empty for the whole time, also if this process or the
        # machine was frozen meanwhile.
        poller = select.poll()
        poller.register(self._orders, select.POLLIN)
        poller.register(self._wake_read, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poller.poll(self._silence_limit_s * 1000)}
            if not ready and not poller.poll(0):
                return self._abandon(f"no sign of life from the worker for {self._silence_limit_s:g} s")
            if self._wake_read in ready:
                return self._stop(ABANDONED_GRACE_S, "the run's process was told to terminate")
            if self._orders in ready and not self._take_orders():
                return None

    def _take_orders(self) -> bool:
        """Read the orders that have arrived; False when watching is over."""
        data = os.read(self._orders, _READ_BYTES)
        if not data:
            self._abandon("the worker died")
            return False
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            match decode_order(line):
                case PlaybookJob() as job:
                    self._jobs.put(job)
                case Stop(grace_s=grace_s):
                    self._stop(grace_s, "")
                    return False
                case Ping():
                    pass
        return True

    def _abandon(self, cause: str) -> None:
        self._stop(ABANDONED_GRACE_S, cause)
        self._on_abandoned()

    def _stop(self, grace_s: float, cause: str) -> None:
        self.cause = cause
        self.stopping.set()
        self._jobs.put(None)
        # `returned` closes the gap in which ansible-runner has not started the playbook yet.
        end_processes(descendants, grace_s=grace_s, over=self.returned.is_set)
        self.stopped.set()
