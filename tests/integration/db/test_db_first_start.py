"""Parts of one installation that start for the first time, all at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from db.engine import Database
from db.migrate import current_revision, head_revision

PARTS = 4
# What every part does at its start; it waits for a line first, so that all do it at the same moment.
START = """
import hashlib, sys
from bootstrap import load_sealer, open_database, prepare_schema
from settings import Settings

settings = Settings(database_url=sys.argv[1], data_dir=sys.argv[2])
print("here", flush=True)
sys.stdin.readline()
prepare_schema(open_database(settings))
load_sealer(settings)
print(settings.key_path.read_text(), flush=True)
"""


def test_parts_that_start_together(new_store: Callable[..., str], tmp_path: Path) -> None:
    """One part makes schema and key, the others wait for it and use them; no draft of a key is left."""
    url, data_dir = new_store(migrated=False), tmp_path / "data"
    command = [sys.executable, "-c", START, url, str(data_dir)]
    with ExitStack() as stack:
        parts = [
            stack.enter_context(
                subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env={"PYTHONPATH": str(Path(__file__).parents[3])},
                )
            )
            for _ in range(PARTS)
        ]
        for part in parts:
            assert part.stdout is not None
            assert "here\n" == part.stdout.readline()
        for part in parts:
            assert part.stdin is not None
            part.stdin.write("go\n")
            part.stdin.flush()
        ended = [(*part.communicate(timeout=60), part.returncode) for part in parts]

    assert [0] * PARTS == [code for _, _, code in ended], ended
    assert 1 == len({out for out, _, _ in ended})
    assert ["secret.key"] == [path.name for path in data_dir.iterdir()]
    database = Database(url)
    assert head_revision() == current_revision(database)
    database.close()
