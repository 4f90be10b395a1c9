"""Takes a kernel lock on an open file within a bounded time; the kernel frees it when its last holder dies."""

import fcntl
import time

POLL_S = 0.1


def locked_within(descriptor: int, wait_s: float) -> bool:
    """Lock the file exclusively; return False when others held it for all of `wait_s` seconds."""
    deadline = time.monotonic() + wait_s
    while not _try_lock(descriptor):
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)
    return True


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
