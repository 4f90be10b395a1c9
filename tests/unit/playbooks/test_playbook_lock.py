"""The lock of a site: who may write, and that a dead run never writes at the same time as its successor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.prestage.errors import PrestageError
from ansible.module_utils.prestage.lock import SiteLock
from ansible.module_utils.prestage.lock_record import Caller, Holder, LockRecord, refusal

NOW = 1_000.0
HELD = LockRecord(Holder("a", 5, "run-5", NOW + 300), {"a": 5})
PLAYBOOKS = Path(__file__).resolve().parents[3] / "playbooks"
# Holds the lock like a module does, with a child that outlives it; tells when it has it, then waits to be killed.
HOLDER = """
import subprocess, sys
import ansible.module_utils
ansible.module_utils.__path__.append(sys.argv[1])
from ansible.module_utils.prestage.lock import SiteLock
params = dict(backup_dir=sys.argv[2], origin="a", token=1, run="", lock_wait_s=0, lock_lease_s=300,
              floor_rate_mbit_s=2, deadline_s=0)
with SiteLock(params) as lock:
    child = subprocess.Popen(["sleep", "600"], pass_fds=[lock.descriptor], stdout=subprocess.DEVNULL)
    print(child.pid, flush=True)
    sys.stdin.read()
"""


def params(directory: Path, **changes: Any) -> dict[str, Any]:
    """Return lock arguments of controller `a`."""
    base = {"backup_dir": str(directory), "origin": "a", "token": 5, "run": "", "lock_wait_s": 0, "lock_lease_s": 300}
    return {**base, "floor_rate_mbit_s": 2, "deadline_s": 0, **changes}


@pytest.mark.parametrize(
    ("record", "caller", "now", "fragment"),
    [
        (LockRecord.empty(), Caller("a", 1, ""), NOW, None),
        (HELD, Caller("a", 5, "run-5"), NOW, None),
        (HELD, Caller("a", 5, "run-5"), NOW + 900, None),
        (HELD, Caller("a", 6, ""), NOW, None),
        (HELD, Caller("a", 5, ""), NOW, "locked by another prestage run of a until 1970-01-01T00:21:40Z"),
        (HELD, Caller("a", 4, ""), NOW, "Superseded by a newer run"),
        (HELD, Caller("a", 4, "run-4"), NOW + 900, "Superseded by a newer run"),
        (HELD.freed(), Caller("a", 4, ""), NOW, "Superseded by a newer run"),
        (HELD, Caller("b", 99, ""), NOW, "locked by another prestage run of a until"),
        (HELD, Caller("", 0, ""), NOW, "locked by another prestage run of a until"),
        (HELD, Caller("b", 1, ""), NOW + 300, None),
        (HELD.freed(), Caller("b", 1, ""), NOW, None),
        (HELD, Caller("b", 1, "run-b"), NOW, "lost the lock"),
        (HELD.freed(), Caller("b", 1, "run-b"), NOW, "lost the lock"),
        (LockRecord(Holder("", 0, "x", NOW + 1), {}), Caller("", 0, ""), NOW, "an operator who started it by hand"),
    ],
)
def test_who_may_write(record: LockRecord, caller: Caller, now: float, fragment: str | None) -> None:
    """Tokens order the runs of one controller for ever; others wait for the reserved time; nobody returns."""
    answer = refusal(record, caller, now)

    assert (answer is None) if fragment is None else (answer is not None and fragment in answer)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"holder": 1, "newest": {}}', '{"newest": {"a": "x"}}'])
def test_an_unreadable_record_locks_nobody_out(text: str) -> None:
    """What was torn or edited by hand counts as an empty record."""
    record = LockRecord.parse(text)

    assert (None, {}) == (record.holder, record.newest)


def test_the_record_survives_its_file(tmp_path: Path) -> None:
    """The record read by the next call is the record written, and it names its time for people."""
    with SiteLock(params(tmp_path)) as lock:
        run = lock.run

    content = json.loads((tmp_path / ".prestage.lock").read_text())
    assert {"a": 5} == content["newest"]
    assert ("a", 5, run) == tuple(content["holder"][key] for key in ("origin", "token", "run"))
    assert content["holder"]["until_utc"].endswith("Z")
    with SiteLock(params(tmp_path, run=run)) as again:
        assert run == again.run


def test_a_failed_call_gives_the_site_back(tmp_path: Path) -> None:
    """After an error the operator need not wait for the reserved time."""
    with pytest.raises(ValueError, match="boom"), SiteLock(params(tmp_path)):
        raise ValueError("boom")

    with SiteLock(params(tmp_path, origin="b", token=1)) as lock:
        assert lock.run


@pytest.mark.parametrize(
    ("given", "size", "least_s"),
    [
        ({"floor_rate_mbit_s": 2}, 0, 900),
        ({"floor_rate_mbit_s": 2}, 250_000_000, 900 + 1000),
        ({"floor_rate_mbit_s": 0.5}, 250_000_000, 900 + 4000),
        ({"floor_rate_mbit_s": 2, "deadline_s": 7200}, 250_000_000, 7500),
        ({"floor_rate_mbit_s": 0, "deadline_s": 7200}, 100, 7500),
    ],
)
def test_a_site_is_held_for_as_long_as_its_run_may_take(
    tmp_path: Path, given: dict[str, float], size: int, least_s: float
) -> None:
    """Before a transfer the site is reserved until its run ends: by its deadline, or its bytes at the floor rate."""
    began = time.time()
    with SiteLock(params(tmp_path, **given)) as lock:
        lock.await_transfer(size)

    until = json.loads((tmp_path / ".prestage.lock").read_text())["holder"]["until"]
    assert pytest.approx(began + least_s, abs=60) == until


def test_a_missing_backup_directory_is_named(tmp_path: Path) -> None:
    """The site's backup directory is a mount of its own and never made by us."""
    with pytest.raises(PrestageError, match="does not exist on this site"), SiteLock(params(tmp_path / "none")):
        pass


def test_the_dead_never_write_with_the_living(tmp_path: Path) -> None:
    """While a process of an old run lives, even a child of a killed module, a newer run waits its turn."""
    command = [sys.executable, "-c", HOLDER, str(PLAYBOOKS / "module_utils"), str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as module:
        assert module.stdout is not None
        child = int(module.stdout.readline())
        with pytest.raises(PrestageError, match="a process of a was still writing"), SiteLock(params(tmp_path)):
            pass
        module.kill()
        module.wait()
        with pytest.raises(PrestageError, match="still writing"), SiteLock(params(tmp_path)):
            pass
        os.kill(child, signal.SIGKILL)

    with SiteLock(params(tmp_path, lock_wait_s=10)) as lock:
        assert lock.run
