"""Subclouds of an installation that checked no host keys."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import MetaData, Table, insert, select

from db.database import Database
from db.migrate import downgrade, upgrade
from db.schema import subclouds

_BEFORE = "0009"
_SITE = {
    "name": "edge-1",
    "group_id": 1,
    "software_version": "22.12",
    "management_state": "managed",
    "availability_status": "online",
    "deploy_status": "complete",
    "error_description": "No errors present",
    "region_name": "edge-1",
    "openstack_installed": False,
    "system_mode": "simplex",
    "management_alarms": 0,
    "connection": {},
    "probe_failures": 0,
    "created_at": datetime(2026, 1, 1),  # noqa: DTZ001 - as it is kept
}


def test_known_sites_have_no_key_and_no_trusted_version(new_database_url: Callable[..., str]) -> None:
    """After an upgrade each site is still to be met, and its version explains no changed key; a downgrade keeps it."""
    database = Database(new_database_url(migrated=False))
    upgrade(database, _BEFORE)
    of_before = Table("subclouds", MetaData(), autoload_with=database.writer_engine)
    with database.write() as connection:
        connection.execute(insert(of_before).values(_SITE))
    upgrade(database)
    columns = (subclouds.c.name, subclouds.c.host_keys, subclouds.c.version_by_administrator)
    with database.read() as connection:
        up = connection.execute(select(*columns)).one()
    downgrade(database, _BEFORE)
    with database.read() as connection:
        down = connection.execute(select(of_before.c.name)).scalars().all()
    database.close()

    assert (("edge-1", None, False), ["edge-1"]) == (tuple(up), down)
