"""`prestager db`: up for a newer program, down for an older one."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from db.migrate import current_revision, head_revision, known_revisions
from db.schema import events
from service.database import only_instance, prepare_schema
from service.errors import StartError


def stamp(database, revision: str) -> None:
    """Say that a program made the schema as of `revision`."""
    with database.write() as connection:
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")  # noqa: S608 - a revision of the test


def test_head_asks_no_database(prestager, data_dir) -> None:
    """The newest revision of the program is told without a database, for scripts."""
    ended = prestager("db", "head")

    assert (0, f"{head_revision()}\n") == (ended.code, ended.out)
    assert not data_dir.exists()


def test_down_and_up_again(prestager, database) -> None:
    """The schema comes down to the oldest revision and goes up again."""
    oldest = known_revisions()[0]

    assert 0 == prestager("db", "downgrade", "--yes", oldest).code
    assert oldest == current_revision(database)
    assert 0 == prestager("db", "upgrade").code
    assert head_revision() == current_revision(database)


@pytest.mark.parametrize("revision", ["base", "-1", "9999"])
def test_unknown_revision(prestager, database, revision: str) -> None:
    """Only a revision that the program knows by name is gone to: `base` would remove everything."""
    ended = prestager("db", "downgrade", "--", revision)

    assert 1 == ended.code
    assert f"knows no revision {revision}" in ended.err
    assert head_revision() == current_revision(database)


def test_a_newer_schema_is_not_touched(prestager, database) -> None:
    """A schema of a newer program is neither used nor brought down by one that does not know it."""
    stamp(database, "9999")

    ended = prestager("db", "downgrade", str(head_revision()))
    with pytest.raises(StartError, match=r"at revision 9999, which this program does not know.*db downgrade"):
        prepare_schema(database)

    assert 1 == ended.code
    assert "The database is at revision 9999" in ended.err
    assert "9999" == current_revision(database)


def test_nothing_to_bring_down(prestager, data_dir) -> None:
    """An empty database stays empty."""
    ended = prestager("db", "downgrade", known_revisions()[0])

    assert 1 == ended.code
    assert "The database is at revision none" in ended.err


def test_restored(prestager, database) -> None:
    """After a restore ids continue above the time in milliseconds, and the command says what to look at."""
    ended = prestager("db", "restored")

    assert 0 == ended.code
    assert ended.out.startswith("Ids continue above 1")
    assert "nothing was in it yet" in ended.out
    assert "tokens that were revoked after the backup are in force again" in ended.out
    with database.read() as connection:
        assert ["database.restored"] == list(connection.execute(select(events.c.type)).scalars())


def test_restored_of_nothing(prestager, data_dir) -> None:
    """A database that nothing was restored into is told, and stays empty."""
    ended = prestager("db", "restored")

    assert (1, "Error: The database is empty. Restore the backup, then run this again.\n") == (ended.code, ended.err)


def test_restored_beside_the_service(prestager, database, data_dir) -> None:
    """Beside a service that uses the data directory nothing is changed."""
    with only_instance(data_dir):
        ended = prestager("db", "restored")

    assert 1 == ended.code
    assert "Another Prestager uses" in ended.err
    with database.read() as connection:
        assert [] == list(connection.execute(select(events.c.id)).scalars())


def test_restored_of_an_older_program(prestager, database) -> None:
    """A backup of an older program is upgraded first."""
    assert 0 == prestager("db", "downgrade", "--yes", known_revisions()[0]).code
    ended = prestager("db", "restored")

    assert 1 == ended.code
    assert "prestager db upgrade" in ended.err
