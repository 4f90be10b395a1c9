"""
The lock of a site: no two prestage runs write there at the same time, whatever died in between.

Two parts. A `flock` on one file is held while a module writes, and by every child it starts; the kernel frees it when
the last of them dies. A record in the same file bridges the time between two modules of one run and remembers the
newest token of each controller, so that what is left of a dead run is turned away for good.
The decision itself is in lock_record.py.
"""

import json
import os
import time
import uuid
from typing import Any, Dict, Optional, Type

from .errors import PrestageError
from .file_lock import locked_within
from .files import require_no_link
from .lock_record import LONGEST_HOLD_S, Caller, LockRecord, holder_label, refusal

LOCK_FILE = ".prestage.lock"

# What every module that writes on a site takes; `run` is empty in the first call and its answer's `run` afterwards.
LOCK_ARGUMENTS: Dict[str, Dict[str, Any]] = {
    "backup_dir": {"type": "path", "required": True},
    "origin": {"type": "str", "default": ""},
    "token": {"type": "int", "default": 0, "no_log": False},
    "run": {"type": "str", "default": ""},
    "lock_wait_s": {"type": "float", "default": 60.0},
    "lock_lease_s": {"type": "float", "default": 300.0},
    "floor_rate_mbit_s": {"type": "float", "default": 2.0},
    "deadline_s": {"type": "float", "default": 0.0},
}
# What a run may take beside a transfer at the floor rate, in seconds, as its controller counts.
BESIDE_S = 600.0
BYTES_PER_MBIT = 1_000_000 / 8
# A slower rate is none, in bytes per second.
SLOWEST_RATE = 1.0


class SiteLock:
    """
    Holds the site for one module call; use it in a `with` statement.

    On an error the record is released, so that the operator can correct the cause and start again at once.
    """

    def __init__(self, params: Dict[str, Any]) -> None:
        """Take the lock arguments of a module; nothing is opened yet."""
        self._directory = str(params["backup_dir"])
        self._caller = Caller(str(params["origin"]), int(params["token"]), str(params["run"]))
        self._wait_s = float(params["lock_wait_s"])
        self._lease_s = float(params["lock_lease_s"])
        self._floor_rate_mbit_s = float(params["floor_rate_mbit_s"])
        self._deadline_s = float(params["deadline_s"])
        # What the end of the call must not shorten.
        self._held_until = 0.0
        self._descriptor = -1
        self._record = LockRecord.empty()
        self.released = False

    @property
    def run(self) -> str:
        """The name of this run, to be given to its next module call."""
        return self._caller.run

    @property
    def descriptor(self) -> int:
        """Give it to child processes: the site stays locked until they are dead too."""
        return self._descriptor

    def __enter__(self) -> "SiteLock":
        if not os.path.isdir(self._directory):
            raise PrestageError(
                f"{self._directory} does not exist on this site. Mount it, or set platform_backup_dir for this site."
            )
        path = os.path.join(self._directory, LOCK_FILE)
        require_no_link(path)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            self._wait()
            self._admit()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], value: object, trace: object) -> None:
        try:
            if kind is not None:
                self.release()
            elif not self.released:
                self.renew()
        finally:
            self._close()

    def renew(self, extra_s: float = 0.0) -> None:
        """Keep the site for the lease from now on, and `extra_s` seconds more for a long transfer; 30 days at most."""
        held_s = min(self._lease_s + extra_s, LONGEST_HOLD_S)
        self._held_until = max(self._held_until, time.time() + held_s)
        self._record = self._record.held_by(self._caller, self._held_until)
        self._write()

    def await_transfer(self, size: int) -> None:
        """Keep the site for as long as the run may take that brings `size` bytes: its controller ends it by then."""
        rate = max(self._floor_rate_mbit_s * BYTES_PER_MBIT, SLOWEST_RATE)
        self.renew(extra_s=max(self._deadline_s, BESIDE_S + size / rate))

    def release(self) -> None:
        """Let the next run in at once; the newest token stays on record."""
        self._record = self._record.freed()
        self._write()
        self.released = True

    def _wait(self) -> None:
        if not locked_within(self._descriptor, self._wait_s):
            raise PrestageError(self._busy(), "controller")

    def _busy(self) -> str:
        holder = self._read().holder
        owner = holder_label(holder.origin) if holder else "another prestage run"
        return (
            f"This site is locked by another prestage run: a process of {owner} was still writing after "
            f"{self._wait_s:.0f} s. Wait for it to end, then prestage again."
        )

    def _admit(self) -> None:
        self._record = self._read()
        problem = refusal(self._record, self._caller, time.time())
        if problem:
            raise PrestageError(problem, "controller")
        if not self._caller.run:
            self._caller = self._caller._replace(run=uuid.uuid4().hex)
        self.renew()

    def _read(self) -> LockRecord:
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        return LockRecord.parse(os.read(self._descriptor, 1 << 20).decode("utf-8", "replace"))

    def _write(self) -> None:
        # In place: a rename would leave the others waiting for the lock of a file that nobody opens again.
        content = (json.dumps(self._record.as_dict(), sort_keys=True) + "\n").encode("utf-8")
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, content)
        os.ftruncate(self._descriptor, len(content))
        os.fsync(self._descriptor)

    def _close(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1
