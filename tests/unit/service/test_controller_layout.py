"""Where things are on the controller, by the settings."""

from __future__ import annotations

from pathlib import Path

from service.controller import controller_layout
from service.database import open_database, prepare_schema
from service.settings import Settings


def test_playbooks_behind_a_link(tmp_path: Path) -> None:
    """A link to the playbooks stays one: it is exchanged with the set while the service runs."""
    (tmp_path / "set-1").mkdir()
    link = tmp_path / "set"
    link.symlink_to("set-1")
    settings = Settings(release="24.09", data_dir=tmp_path, playbooks_dir=link)
    database = open_database(settings)
    prepare_schema(database)
    try:
        layout = controller_layout(settings, database)
    finally:
        database.close()

    assert link == layout.playbooks_dir
