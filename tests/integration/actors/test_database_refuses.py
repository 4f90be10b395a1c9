"""A PostgreSQL that answers and refuses: it is read-only, or ends transactions that idle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, event, text
from structlog.testing import capture_logs

from actors.coordinator.context import CoordinatorRules
from actors.coordinator.coordinator import Coordinator
from actors.worker.live_output import LiveRuns
from actors.worker.result_writer import ResultWriter
from broker.outbox_relay import OutboxRelay
from db.errors import DatabaseUnavailableError
from db.runs import RunResult
from db.schema import live_outputs, runs
from messages.commands import CommandType
from service.periodic_thread import PeriodicThread
from sites.inspector import DeclaredInspector
from statemachine.states import RunOutcome
from tests.support.installation import OWNER, Installation, claimed
from tests.support.recording_publisher import RecordingPublisher
from tests.support.waiting import wait_for
from webhooks.repository import WebhookRepository

pytestmark = pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
GROUP = {"name": "edge", "description": "d", "update_apply_type": "serial", "max_parallel_subclouds": 2}


def run_as_administrator(installation: Installation, statement: str) -> None:
    """Run a statement whatever is read-only."""
    address = installation.database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True, options="-c default_transaction_read_only=off") as connection:
        connection.execute(statement.encode())


@contextmanager
def read_only(installation: Installation) -> Iterator[None]:
    """Let the database be read-only for those who connect from now on, and have everybody connect anew."""
    name = installation.database.url.database
    run_as_administrator(installation, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    installation.database.close()
    try:
        yield
    finally:
        run_as_administrator(installation, f'ALTER DATABASE "{name}" RESET default_transaction_read_only')


def impatient(installation: Installation) -> Coordinator:
    """Return a coordinator that waits for the database for a moment only."""
    rules = CoordinatorRules(release="23.09")
    return Coordinator(installation.database, DeclaredInspector(), rules, patience_s=0.1)


def test_commands_are_answered_503(installation: Installation) -> None:
    """A command to a read-only database is 503 and leaves nothing; the same one is carried out afterwards."""
    installation.coordinator = impatient(installation)
    with read_only(installation):
        refused = installation.ask(CommandType.GROUP_CREATE, **GROUP)

    assert (503, "The database is not available; try again.") == (refused.status, refused.detail)
    assert 200 == installation.ask(CommandType.GROUP_CREATE, **GROUP).status


def test_what_a_worker_has_in_hand_waits(installation: Installation) -> None:
    """Reports and live output wait while the database is read-only, and are stored afterwards, once."""
    run_id = claimed(installation)
    results, live = ResultWriter(installation.database, OWNER), LiveRuns(installation.database, OWNER)
    live.add_output(run_id, 0, b"abc")
    with read_only(installation), pytest.raises(DatabaseUnavailableError):
        live.flush()
    live.flush()
    results.add(RunResult(run_id=run_id, outcome=RunOutcome.SUCCEEDED, details="", facts={}))
    with read_only(installation), pytest.raises(DatabaseUnavailableError):
        results.flush()
    results.flush()

    assert [b"abc"] == [row["content"] for row in house_rows(installation, live_outputs)]
    assert ["succeeded"] == [row["outcome"] for row in installation.rows(runs)]
    assert frozenset() == results.pending()


def test_relay_and_webhooks_go_on_afterwards(installation: Installation) -> None:
    """Neither relay nor sender of webhooks loses anything while the database is read-only."""
    installation.add_site("a")
    installation.create()
    installation.verb("apply")
    publisher = RecordingPublisher()
    relay = OutboxRelay(installation.database, publisher.publish)
    book = WebhookRepository(installation.database, OWNER, 3600.0)
    with read_only(installation), pytest.raises(DatabaseUnavailableError):
        relay.relay()
    relay.relay()
    with read_only(installation), pytest.raises(DatabaseUnavailableError):
        book.release()
    book.release()

    # Their rows could not be deleted; this process knows that they are published.
    assert {1} == {publisher.published.count(call) for call in publisher.published}
    assert [] == installation.messages()


def test_a_transaction_that_idled_is_done_again(installation: Installation) -> None:
    """A command whose transaction PostgreSQL ended for idling (25P03) is carried out by the next try."""
    first = Event()

    @event.listens_for(installation.database.writer_engine, "before_cursor_execute")
    def _idle_once(connection: Connection, cursor: Any, statement: str, *_: object) -> None:
        if not statement.startswith("INSERT INTO subcloud_groups") or first.is_set():
            return
        first.set()
        pid = connection.connection.dbapi_connection.info.backend_pid
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 20")
        wait_for(lambda: not alive(installation, pid))

    answer = installation.ask(CommandType.GROUP_CREATE, **GROUP)

    assert first.is_set()
    assert 200 == answer.status, answer.detail


def alive(installation: Installation, pid: int) -> bool:
    """Tell whether a session is there."""
    with installation.database.read() as connection:
        query = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
        return bool(connection.execute(query, {"pid": pid}).scalar_one())


def test_a_loop_tells_in_one_line(installation: Installation) -> None:
    """A loop that meets a database that is away says so once, without a traceback."""
    with capture_logs() as logs, read_only(installation):
        failing = PeriodicThread("test", lambda: write(installation), interval_s=0.05)
        failing.start()
        wait_for(lambda: len(logs) > 1)
        failing.stop()

    assert ("loop.failed", "warning") == (logs[0]["event"], logs[0]["log_level"])
    assert "read-only" in logs[0]["reason"]
    assert all("exc_info" not in line for line in logs)


def write(installation: Installation) -> None:
    """Change something."""
    with installation.database.write() as connection:
        connection.execute(text("UPDATE controller SET upgrading = false"))


def house_rows(installation: Installation, table: Any) -> list[dict[str, Any]]:
    """Return the rows of a table that has no id."""
    with installation.database.read() as connection:
        return [dict(row) for row in connection.execute(table.select()).mappings()]
