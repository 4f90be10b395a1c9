"""`prestager workers`."""

from __future__ import annotations

from sqlalchemy import update

from db.heartbeats import ProcessIdentity, ProcessReport, register_process
from db.schema import database_now, heartbeats


def register(database, process: str, *roles: str, slots: int | None = None, draining: bool = False) -> None:
    """Put a process into the database."""
    name = process.partition("@")[0]
    identity = ProcessIdentity(process=process, name=name, host="h", version="1.2", roles=roles, slots=slots)
    report = ProcessReport(key_ids=("aa", "bb"), running=1, prechecks=2, draining=draining, releases=("22.12", "23.09"))
    with database.write() as connection:
        register_process(connection, identity, report)


def test_nothing_runs(prestager, database) -> None:
    """Without any process it says how to start one."""
    ended = prestager("workers")

    assert (0, "") == (ended.code, ended.out)
    assert "prestager up" in ended.err


def test_processes(prestager, database) -> None:
    """One line for each process: what it is, how it is, what it does and sees."""
    register(database, "a@m/1", "api")
    register(database, "b@m/2", "worker", slots=4)
    register(database, "c@m/3", "worker", slots=4, draining=True)
    register(database, "d@m/4", "worker", slots=4)
    with database.write() as connection:
        connection.execute(
            update(heartbeats).where(heartbeats.c.process == "d@m/4").values(seen_epoch=database_now() - 100)
        )

    lines = [line.split() for line in prestager("workers").out.splitlines()]

    assert ["NAME", "ROLE", "HOST", "STATE"] == lines[0][:4]
    assert ["alive", "alive", "draining", "lost"] == [line[3] for line in lines[1:]]
    assert ["b", "worker", "h", "alive", "1", "of", "4", "2", "1.2", "22.12,23.09", "?", "aa,bb", "?"] == lines[2][:13]
    assert "100" == lines[4][-3]
