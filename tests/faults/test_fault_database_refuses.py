"""A PostgreSQL that answers, but ends sessions, is read-only, or is replaced by its standby, while playbooks run."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from time import monotonic

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from db.database import Database
from db.migrate import upgrade
from db.tokens import Role, TokenStore
from tests.faults.fault_caller import calling
from tests.faults.fault_checks import restarts, violations
from tests.faults.fault_installation import ACCEPTED_AGAIN_S, FaultInstallation, NewInstallation, scaled, seeded
from tests.support.installation_processes import START_S
from tests.support.postgres_server import PostgresServer
from tests.support.rabbitmq_server import StrictRabbitmq
from tests.support.tcp_proxy import HOST, TcpProxy
from tests.support.waiting import wait_for

pytestmark = pytest.mark.faults

SITES = scaled(3, 6)
_END_ONE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = %s AND pid <> pg_backend_pid() ORDER BY random() LIMIT %s"
)


class Administrator:
    """An administrator of the server who does not know that somebody works in a database."""

    def __init__(self, url: str) -> None:
        address = make_url(url)
        self._name = str(address.database)
        self._address = address.set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)

    def end_sessions(self, count: int) -> int:
        """End some sessions, whatever they are doing; return how many there were."""
        with psycopg.connect(self._address, autocommit=True) as connection:
            return len(connection.execute(_END_ONE, (self._name, count)).fetchall())

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Let the database be read-only, for those who are connected too."""
        self._alter("SET default_transaction_read_only = on")
        self.end_sessions(1000)
        try:
            yield
        finally:
            self._alter("RESET default_transaction_read_only")

    def _alter(self, change: str) -> None:
        with psycopg.connect(self._address, autocommit=True, options="-c default_transaction_read_only=off") as one:
            one.execute(sql.SQL("ALTER DATABASE {} ").format(sql.Identifier(self._name)) + sql.SQL(change))


@contextmanager
def reading(installation: FaultInstallation) -> Iterator[Counter[int]]:
    """Have somebody read all the while; give how often each status was answered."""
    statuses: Counter[int] = Counter()
    over = Event()

    def read() -> None:
        while not over.is_set():
            for path in ("/v1.0/subclouds", "/v1.0/sw-update-strategy/steps"):
                statuses[installation.api.get(path)[0]] += 1
            over.wait(0.02)

    thread = Thread(target=read, daemon=True)
    thread.start()
    try:
        yield statuses
    finally:
        over.set()
        thread.join(START_S)


@pytest.mark.timeout(900)
def test_sessions_that_are_ended_at_random_moments_cost_nothing(
    new_installation: NewInstallation, postgres: PostgresServer
) -> None:
    """While commands and playbooks come and go, sessions are ended at random moments and the database is read-only.

    Every command has its answer in the end, nothing is answered 500, no playbook begins twice, nothing is left behind.
    """
    moments = seeded()
    installation = new_installation(seconds=0.3, SLOTS=SITES)
    administrator = Administrator(installation.database.url.render_as_string(hide_password=False))
    installation.launch()
    installation.add_sites(SITES)
    ended = 0
    with calling(installation) as caller, reading(installation) as statuses:
        for round_ in range(scaled(2, 10)):
            installation.apply_strategy(SITES)
            until = monotonic() + scaled(6.0, 15.0)
            while monotonic() < until:
                ended += administrator.end_sessions(moments.choice([1, 2, 30]))
                Event().wait(moments.uniform(0.02, 0.5))
            with administrator.read_only():
                refused = caller.tries["503"]
                wait_for(lambda refused=refused: caller.tries["503"] > refused, START_S, installation.story)
            back_at = monotonic()
            wait_for(lambda at=back_at: caller.accepted_after(at), ACCEPTED_AGAIN_S, installation.story)
            assert "complete" == installation.wait_for_end(), round_
            assert [] == restarts(installation)
    sys.stdout.write(f"sessions ended {ended}, reads {dict(statuses)}\n")

    assert ended > 0
    assert [] == violations(installation, caller)
    assert {200, 503} >= set(statuses)


@contextmanager
def pair_of_servers() -> Iterator[tuple[PostgresServer, PostgresServer, str, str]]:
    """Give a server and its synchronous standby, the name of a migrated database, and an administrator's token."""
    with PostgresServer() as primary:
        name = primary.create_database()
        with PostgresServer(primary) as standby:
            address = primary.url().replace("+psycopg", "")
            with psycopg.connect(address, autocommit=True) as connection:
                # Else what the primary confirmed last may be missing in the standby: no fault of ours.
                connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
                connection.execute("SELECT pg_reload_conf()")
                wait_for(lambda: _is_synchronous(connection), START_S)
            database = Database(primary.url(name))
            upgrade(database)
            token = TokenStore(database).create_token("test", Role.ADMIN)
            database.close()
            yield primary, standby, name, token


def _is_synchronous(connection: psycopg.Connection[tuple[object, ...]]) -> bool:
    rows = connection.execute("SELECT sync_state FROM pg_stat_replication").fetchall()
    return rows == [("sync",)]


def both(primary: PostgresServer, standby: PostgresServer, name: str) -> str:
    """Return an address that leads to whichever of the two takes writes, as docs/operations.md says."""
    return (
        primary.url(name).replace(f"@{HOST}:{primary.port}/", "@/")
        + f"?host={HOST}:{primary.port}&host={HOST}:{standby.port}&target_session_attrs=read-write"
    )


@pytest.mark.timeout(900)
@pytest.mark.parametrize("way", ["address of both", "address that moves"])
def test_a_promoted_standby_takes_over(tmp_path: Path, rabbitmq: StrictRabbitmq, way: str) -> None:
    """The primary dies under running playbooks and its standby is promoted: nothing is lost, begins twice or is 500.

    Until it is promoted commands are answered 503; within 10 s of the promotion they are accepted.
    """
    with pair_of_servers() as (primary, standby, name, token), TcpProxy(primary.port) as moving:
        url = both(primary, standby, name) if way == "address of both" else primary.url(name, port=moving.port)
        installation = FaultInstallation(
            tmp_path, database_url=url, broker_url=rabbitmq.url, token=token, seconds=None, SLOTS=SITES
        )
        try:
            _take_over(installation, primary, standby, moving)
        finally:
            installation.end()


def _take_over(
    installation: FaultInstallation, primary: PostgresServer, standby: PostgresServer, moving: TcpProxy
) -> None:
    installation.launch()
    installation.add_sites(SITES)
    installation.apply_strategy(SITES)
    wait_for(lambda: installation.begun() == SITES, START_S, installation.story)
    with calling(installation) as caller, reading(installation) as statuses:
        primary.kill()
        moving.lead_to(standby.port)
        wait_for(lambda: caller.tries["503"] > 1, START_S, installation.story)
        standby.promote()
        promoted_at = monotonic()
        installation.release()
        wait_s = wait_for(lambda: caller.accepted_after(promoted_at), START_S, installation.story)

        assert "complete" == installation.wait_for_end()
    sys.stdout.write(f"accepted again after {wait_s:.1f} s, reads {dict(statuses)}\n")

    assert [] == restarts(installation)
    assert [] == violations(installation, caller)
    assert {200, 503} >= set(statuses)
    assert wait_s <= ACCEPTED_AGAIN_S
