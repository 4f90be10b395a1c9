"""Fixtures of the coordinator's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from coordinator_house import House

from actors.coordinator import Coordinator
from actors.desk import CoordinatorRules
from db.engine import Database
from db.migrate import upgrade
from db.sealing import Sealer
from runner.inspectors import DeclaredInspector


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """Give an installation whose controller runs 23.09."""
    database = Database(f"sqlite:///{tmp_path / 'house.db'}")
    upgrade(database)
    coordinator = Coordinator(database, DeclaredInspector(), CoordinatorRules(release="23.09"), lambda: None)
    yield House(database=database, coordinator=coordinator, sealer=Sealer(b"k" * 32))
    database.close()
