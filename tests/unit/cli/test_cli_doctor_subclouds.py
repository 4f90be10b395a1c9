"""`prestager doctor`: subclouds that an earlier release let in and that cannot be prestaged."""

from __future__ import annotations

from sqlalchemy import update

from db.schema import subclouds
from tests.support.imported_sites import READY, import_sites


def test_what_keeps_subclouds_from_being_prestaged(prestager, database) -> None:
    """Reserved names are named, and what an upgrade took out once for all subclouds that lost the same."""
    import_sites(database, dict.fromkeys(("a", "b", "c", "d"), READY))
    with database.write() as connection:
        for name, variables in {"a": ["ansible_connection"], "b": ["ansible_connection"], "c": ["x"]}.items():
            connection.execute(update(subclouds).where(subclouds.c.name == name).values(removed_variables=variables))
        connection.execute(update(subclouds).where(subclouds.c.name == "d").values(name="all"))

    said = " ".join(prestager("doctor").out.split())

    assert "The name all is reserved by Ansible; give the subcloud another one" in said
    assert "The upgrade took out ansible_connection of a, b: who had set them is not known." in said
    assert "The upgrade took out x of c:" in said
    assert "prestager subcloud import --update" in said


def test_a_fleet_without_such_subclouds(prestager, database) -> None:
    """Where all is well there is no such line."""
    import_sites(database, {"a": READY})

    assert "subclouds" not in prestager("doctor").out
