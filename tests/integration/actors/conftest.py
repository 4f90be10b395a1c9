"""Fixtures of the coordinator's tests: everything runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from actors.coordinator.context import CoordinatorRules
from actors.coordinator.coordinator import Coordinator
from db.database import Database
from db.encryption import Sealer
from sites.inspector import DeclaredInspector
from tests.integration.actors.coordinator_house import House
from tests.integration.actors.embedded_rig import Rig, Stage


@pytest.fixture(scope="session", autouse=True)
def _plain_tracebacks() -> None:
    """Log tracebacks as they are: the coloured ones with all variables take seconds each."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(),
        ]
    )


@pytest.fixture
def house(new_store: Callable[..., str]) -> Iterator[House]:
    """Give an installation whose controller runs 23.09."""
    database = Database(new_store())
    coordinator = Coordinator(database, DeclaredInspector(), CoordinatorRules(release="23.09"))
    yield House(database=database, coordinator=coordinator, sealer=Sealer(b"k" * 32))
    database.close()


@pytest.fixture
def stage() -> Stage:
    """Give what decides how playbooks end."""
    return Stage()


@pytest.fixture
def build(tmp_path: Path, stage: Stage, new_store: Callable[..., str]) -> Iterator[Callable[..., Rig]]:
    """Give a function that starts an installation, the same one again each time; all are stopped in the end."""
    rigs: list[Rig] = []
    store = {"database_url": new_store()}

    def start(**options: object) -> Rig:
        rigs.append(Rig(tmp_path, stage, **store, **options))
        return rigs[-1]

    yield start
    for rig in rigs:
        rig.stop()
