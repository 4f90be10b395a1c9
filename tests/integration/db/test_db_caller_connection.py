"""The migration that parts the operator's connection variables from those of callers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import insert, select
from structlog.testing import capture_logs

from db.database import Database
from db.downgrade_checks import downgrade_losses
from db.migrate import MIGRATIONS, downgrade, upgrade
from db.schema import subclouds

_SCRIPT: Final = next(
    script
    for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()
    if Path(script.path).name.endswith("_caller_connection.py")
)
BEFORE: Final = str(_SCRIPT.down_revision)
AFTER: Final = _SCRIPT.revision
NEW: Final = {"caller_connection", "removed_variables"}


@pytest.fixture
def old(new_database_url: Callable[..., str]) -> Iterator[Database]:
    """A database of the release before."""
    database = Database(new_database_url(migrated=False))
    upgrade(database, BEFORE)
    yield database
    database.close()


def add(database: Database, name: str, connection: dict[str, Any], **columns: Any) -> None:
    """Add a subcloud as the release before kept it."""
    row = {
        "name": name,
        "group_id": 1,
        "software_version": "22.12",
        "management_state": "managed",
        "availability_status": "online",
        "deploy_status": "complete",
        "error_description": "",
        "region_name": name,
        "openstack_installed": False,
        "system_mode": "simplex",
        "management_alarms": 0,
        "probe_failures": 0,
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        "connection": connection,
        **columns,
    }
    with database.write() as writing:
        writing.execute(insert(subclouds).values(**row))


def rows(database: Database, *columns: str) -> dict[str, tuple[Any, ...]]:
    """Return these columns of every subcloud by its name."""
    with database.read() as connection:
        found = connection.execute(select(subclouds.c.name, *(subclouds.c[name] for name in columns)))
        return {row[0]: tuple(row[1:]) for row in found}


def test_what_callers_may_set_stays_and_the_rest_is_listed(old: Database) -> None:
    """Of unknown origin, variables that a caller may set are a caller's; others are taken out, listed and logged."""
    add(old, "plain", {})
    add(old, "good", {"ansible_port": "2222", "ansible_host": "10.0.0.1"}, oam_floating_ip="10.0.0.1")
    add(old, "jump", {"ansible_port": 22, "ansible_ssh_common_args": "-J x", "ansible_host": "127.0.0.1"})
    add(old, "here", {"ansible_connection": "local"}, oam_floating_ip="127.0.0.1", management_start_ip="::1")

    with capture_logs() as logged:
        upgrade(old, AFTER)

    assert {
        "plain": ({}, {}, [], None, None),
        "good": ({}, {"ansible_port": 2222, "ansible_host": "10.0.0.1"}, [], "10.0.0.1", None),
        "jump": ({}, {"ansible_port": 22}, ["ansible_host", "ansible_ssh_common_args"], None, None),
        "here": ({}, {}, ["ansible_connection", "oam_floating_ip", "management_start_ip"], None, None),
    } == rows(old, "connection", "caller_connection", "removed_variables", "oam_floating_ip", "management_start_ip")
    told = {line["subcloud"]: line["variables"] for line in logged if line["event"] == "subcloud.variables-removed"}
    assert {
        "jump": ["ansible_host", "ansible_ssh_common_args"],
        "here": ["ansible_connection", "oam_floating_ip", "management_start_ip"],
    } == told
    assert "-J x" not in str(logged)


def test_what_is_lost_by_going_down(old: Database) -> None:
    """The way down tells of how many subclouds it mixes the variables, and how many lists it forgets."""
    add(old, "plain", {})
    add(old, "jump", {"ansible_port": 22, "ansible_ssh_common_args": "-J x"})
    upgrade(old, AFTER)

    losses = downgrade_losses(old, AFTER, BEFORE)

    assert [
        "subclouds whose connection variables are no longer kept apart, the operator's from those of callers: 1",
        "lists of connection variables that were taken out of a subcloud: 1",
    ] == losses


def test_down_again(old: Database) -> None:
    """The release before gets both kinds of variables as one, the operator's over a caller's."""
    add(old, "a", {"ansible_port": 22, "ansible_user": "ops"})
    upgrade(old, AFTER)
    with old.write() as connection:
        connection.execute(subclouds.update().values(connection={"ansible_port": 2222, "x": 1}))

    downgrade(old, BEFORE)

    assert {"a": ({"ansible_port": 2222, "x": 1, "ansible_user": "ops"},)} == rows(old, "connection")
