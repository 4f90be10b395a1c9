"""Parts of one installation that start for the first time, all at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from db.database import Database
from db.migrate import current_revision, head_revision
from tests.support.waiting import PATIENCE_S

PARTS = 4
# What every part does at its start; it waits for its line first, so that all do it at the same moment. They are copies
# of one process, made before it opened anything: what takes long is reading the program four times.
START = """
import os, sys
from service.key_file import load_sealer
from service.database import open_database, prepare_schema
from service.settings import Settings

settings = Settings(database_url=sys.argv[1], data_dir=sys.argv[2])
go, come = os.pipe()
parts = []
for _ in range(int(sys.argv[3])):
    part = os.fork()
    if part == 0:
        os.read(go, 1)
        prepare_schema(open_database(settings))
        load_sealer(settings)
        os.write(1, (settings.key_path.read_text().strip() + chr(10)).encode())
        sys.exit()
    parts.append(part)
os.write(come, b"!" * len(parts))
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(part, 0)[1]) for part in parts))
"""


def test_parts_that_start_together(new_database_url: Callable[..., str], tmp_path: Path) -> None:
    """One part makes schema and key, the others wait for it and use them; no draft of a key is left."""
    url, data_dir = new_database_url(migrated=False), tmp_path / "data"

    ended = subprocess.run(
        [sys.executable, "-c", START, url, str(data_dir), str(PARTS)],
        env={"PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )

    assert 0 == ended.returncode, ended
    keys = ended.stdout.split()
    assert (PARTS, 1) == (len(keys), len(set(keys)))
    assert ["secret.key"] == [path.name for path in data_dir.iterdir()]
    database = Database(url)
    assert head_revision() == current_revision(database)
    database.close()
