"""Where the files of runs are, on machines whose shared memory cannot be used, and what is said of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.unprivileged import give, let_others_enter, needs_two_users, python_as_user, uid
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[3]
OWN = f"prestager-{os.getuid()}"
# What the machine's shared memory is like.
FULL = "mount -t tmpfs -o size=1m none /dev/shm"
READ_ONLY = "mount -t tmpfs -o ro none /dev/shm"
FOREIGN = f"mount -t tmpfs none /dev/shm; mkdir -m 777 /dev/shm/{OWN}; chown {uid()} /dev/shm/{OWN}"
LINK = f"mount -t tmpfs none /dev/shm; mkdir -m 700 /dev/shm/own; ln -s own /dev/shm/{OWN}"
FILLED = f"mount -t tmpfs none /dev/shm; mkdir /dev/shm/{OWN}; chmod 777 /dev/shm/{OWN}"

SHARED = f"/dev/shm/{OWN} "  # noqa: S108 - the product's own


@pytest.fixture
def disk() -> Iterator[Path]:
    """Give a directory on a disk, with a short path."""
    path = Path(tempfile.mkdtemp(prefix="pt-", dir="/var/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def settings(tmp_path: Path, disk: Path) -> dict[str, str]:
    """Give complete settings."""
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "feed/rel-23.09").mkdir(parents=True)
    (tmp_path / "tmp").mkdir()
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(disk),
        "PRESTAGER_RELEASE": "23.09",
        "PRESTAGER_DATA_DIR": str(tmp_path / "data"),
        "PRESTAGER_FEED_DIR": str(tmp_path / "feed"),
        "PRESTAGER_DEPLOY_DIR": str(tmp_path),
        "PRESTAGER_LISTEN": "127.0.0.1:0",
        "PRESTAGER_LOG_FORMAT": "json",
        "PRESTAGER_WORKER_NAME": f"run-dir-{os.getpid()}",
    }


def on_machine(shared_memory: str, *arguments: str) -> list[str]:
    """Return a command that runs the program where shared memory is like that, for itself alone."""
    script = f'set -e; mount --make-rprivate /; {shared_memory}; exec "$0" -m cli.main "$@"'
    return ["unshare", "--mount", "sh", "-c", script, sys.executable, *arguments]


def run(settings: dict[str, str], shared_memory: str, *arguments: str) -> str:
    """Run a command and return all that it says."""
    done = subprocess.run(
        on_machine(shared_memory, *arguments), env=settings, check=False, capture_output=True, text=True, timeout=120
    )
    return " ".join((done.stdout + done.stderr).split())


@pytest.fixture
def _machines(disk: Path) -> None:
    """Skip where no other machine can be made, or where there is no disk."""
    needs_two_users()
    if subprocess.run(["unshare", "--mount", "sh", "-c", READ_ONLY], check=False, capture_output=True).returncode:
        pytest.skip("no mount may be made here")
    if subprocess.run(["stat", "-f", "-c", "%T", disk], capture_output=True, check=True).stdout == b"tmpfs\n":
        pytest.skip("there is no disk")


@pytest.mark.usefixtures("_machines")
@pytest.mark.parametrize(
    ("shared_memory", "command"),
    [(FULL, "config check"), (READ_ONLY, "doctor")],
    ids=["full", "read-only"],
)
def test_passwords_on_a_disk_are_warned_of(
    settings: dict[str, str], disk: Path, shared_memory: str, command: str
) -> None:
    """Where the files of runs cannot be in memory, `config check` and `doctor` say so, why, and what to do."""
    told = run(settings, shared_memory, *command.split())

    assert f"are on a disk: {disk}/{OWN} is not in memory" in told
    assert SHARED in told
    assert "Mount a tmpfs" in told


@pytest.mark.usefixtures("_machines")
def test_passwords_on_a_disk_are_logged(settings: dict[str, str], tmp_path: Path) -> None:
    """The service starts and says so in its log."""
    ready, log = tmp_path / "ready", tmp_path / "log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            on_machine(READ_ONLY, "up"), env={**settings, "PRESTAGER_READY_FILE": str(ready)}, stdout=sink, stderr=sink
        )
    try:
        wait_for(lambda: ready.exists() or process.poll() is not None, story=log.read_text)
        assert [] != [line for line in log.read_text().splitlines() if "warning" in line and "are on a disk" in line]
    finally:
        process.terminate()
        process.wait()


@pytest.mark.usefixtures("_machines")
@pytest.mark.parametrize(
    ("shared_memory", "command", "told"),
    [
        (FOREIGN, "up", f"Error: Playbooks cannot be run: {SHARED}"),
        (LINK, "config check", f"Warning: Playbooks cannot be run here: {SHARED}"),
        (FILLED, "doctor", f"fail run room {SHARED}"),
    ],
    ids=["foreign", "link", "filled by others"],
)
def test_what_another_user_made_is_refused(
    settings: dict[str, str], disk: Path, shared_memory: str, command: str, told: str
) -> None:
    """A directory that is not ours alone is not used, nor a disk in its place: another user would decide that."""
    said = run(settings, shared_memory, *command.split())

    assert told in said
    assert "find out who made it and remove it" in said
    assert [] == list(disk.glob(f"{OWN}/*"))


# Umask, mode of the data directory, and where settings name the database.
PLACES = [
    (0o000, 0o777, None),
    (0o022, 0o700, None),
    (0o777, 0o777, None),
    (0o000, 0o777, "sqlite:///file:{data}/prestager.db?uri=true"),
    (0o000, 0o777, "sqlite:///{data}/../link-{place}.db"),
]
# Opens each database and tells the files of its directory while it is written.
HOLD = """
import json, os, sys
from pathlib import Path
from service.database import *
from service.settings import Settings
for umask, data, url in json.loads(sys.argv[1]):
    os.umask(umask)
    os.environ |= {"PRESTAGER_DATA_DIR": data, **({"PRESTAGER_DATABASE_URL": url} if url else {})}
    database = open_database(Settings())
    prepare_schema(database)
    with database.write():
        print(json.dumps([[path.name, oct(path.stat().st_mode)] for path in sorted(Path(data).iterdir())]))
"""


def test_the_database_is_closed_to_others(settings: dict[str, str], tmp_path: Path) -> None:
    """The database and what SQLite makes beside it are its owner's alone, whatever the umask, directory and URL."""
    cases = []
    for place, (umask, mode, url) in enumerate(PLACES):
        data = tmp_path / f"data-{place}"
        data.mkdir()
        data.chmod(mode)
        give(data)
        (tmp_path / f"link-{place}.db").symlink_to(data / "prestager.db")
        cases.append((umask, str(data), url and url.format(data=data, place=place)))
    let_others_enter(tmp_path)
    done = subprocess.run(
        python_as_user("-c", HOLD, json.dumps(cases)),
        env=settings,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert "" == done.stderr
    names = ("prestager.db", "prestager.db-shm", "prestager.db-wal")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [[[name, "0o100600"] for name in names]] * len(PLACES) == found


def test_a_database_that_others_could_read_is_closed(settings: dict[str, str], tmp_path: Path) -> None:
    """A database of an earlier release is closed at its next use."""
    run(settings, "true", "db", "upgrade")
    file = tmp_path / "data/prestager.db"
    file.chmod(0o644)
    run(settings, "true", "db", "current")

    assert 0o600 == file.stat().st_mode & 0o777
