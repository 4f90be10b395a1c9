"""An installation of the version before, in the middle of a strategy, is taken over by this version.

Rows and messages were made by that version; see `data/make_rows.py`.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import pytest
from sqlalchemy import MetaData, delete, func, insert, select, update
from sqlalchemy.exc import SAWarning

from db.database import Database
from db.migrate import upgrade
from db.schema import database_now, outbox, runs, steps
from tests.support.installation import Installation, StartedInstallation
from tests.support.rabbitmq_server import RabbitmqServer
from tests.support.virtual_host import VirtualHost, new_virtual_host
from tests.support.waiting import wait_for

DATA = Path(__file__).parent / "data"
END_S = 120.0
# Ends of the steps by the name of their site; all others are complete.
ENDS = {
    "applying": {"failed": "failed"},
    "aborting": {"failed": "failed", "precheck-queued": "aborted", "not-started": "aborted"},
}


def _decoded(value: dict[str, Any]) -> Any:
    if value.keys() == {"datetime"}:
        return datetime.fromisoformat(value["datetime"])
    if value.keys() == {"bytes"}:
        return bytes.fromhex(value["bytes"])
    return value


def load(url: str, content: dict[str, Any], *, lease_s: float | None) -> None:
    """Fill an empty database with the rows; leases go on for `lease_s`, or have ended long ago."""
    database = Database(url)
    upgrade(database, content["revision"])
    tables = MetaData()
    with database.write() as connection:
        with catch_warnings():
            # The index of the one active strategy is over an expression.
            simplefilter("ignore", SAWarning)
            tables.reflect(connection)
        for table in reversed(tables.sorted_tables):
            if table.name != "alembic_version":
                connection.execute(delete(table))
        for name, rows in content["rows"].items():
            connection.execute(insert(tables.tables[name]), rows)
        if connection.dialect.name == "postgresql":
            for name in content["rows"]:
                table = tables.tables[name]
                if "id" in table.c and table.c.id.autoincrement is True:
                    largest = select(func.max(table.c.id)).scalar_subquery()
                    connection.execute(select(func.setval(func.pg_get_serial_sequence(name, "id"), largest)))
        if lease_s is not None:
            leased = update(runs).where(runs.c.state == "running")
            connection.execute(leased.values(lease_until=database_now() + lease_s))
    database.close()


def content_of(kind: str) -> dict[str, Any]:
    """Return the rows and messages of a strategy that is being applied or aborted."""
    content: dict[str, Any] = json.loads((DATA / f"{kind}.json").read_text(encoding="utf-8"), object_hook=_decoded)
    return content


def expect_end(installation: StartedInstallation, kind: str, begun: dict[str, int]) -> None:
    """Expect that the strategy and all steps end as they should, each phase at most once with success."""
    story = lambda: str([(row["subcloud_name"], row["state"]) for row in installation.rows(steps)])  # noqa: E731
    wait_for(lambda: installation.state() in {"complete", "failed", "aborted"}, END_S, story)

    found = {row["subcloud_name"]: row["state"] for row in installation.rows(steps)}
    assert {name: ENDS[kind].get(name, "complete") for name in found} == found
    assert installation.state() == "failed"
    wait_for(lambda: not installation.messages(), END_S)
    ended = installation.rows(runs)
    assert {"finished"} == {row["state"] for row in ended}
    succeeded = [
        (row["step_id"], row["preparation_id"], row["phase"]) for row in ended if row["outcome"] == "succeeded"
    ]
    assert len(succeeded) == len(set(succeeded))
    assert begun.items() <= {row["subcloud_name"]: row["id"] for row in installation.rows(steps)}.items()


def begin(directory: Path) -> Path:
    """Give the data directory the key that the version before sealed with."""
    (directory / "secret.key").write_bytes(b64encode(b"k" * 32) + b"\n")
    (directory / "secret.key").chmod(0o600)
    return directory


@pytest.fixture
def started() -> Iterator[list[StartedInstallation]]:
    """Give a list of installations that are stopped in the end."""
    found: list[StartedInstallation] = []
    yield found
    for installation in found:
        installation.stop()


@pytest.fixture
def host(rabbitmq: RabbitmqServer) -> Iterator[VirtualHost]:
    """Give a virtual host."""
    with new_virtual_host(rabbitmq) as made:
        yield made


@pytest.mark.parametrize("kind", ["applying", "aborting"])
def test_one_process_goes_on(
    kind: str, tmp_path: Path, new_database_url: Callable[..., str], started: list[StartedInstallation]
) -> None:
    """A new process over the rows of the version before ends every step as that version would have."""
    content, url = content_of(kind), new_database_url(migrated=False)
    load(url, content, lease_s=None)

    started.append(Installation.embedded(begin(tmp_path), database_url=url))

    expect_end(started[0], kind, {row["subcloud_name"]: row["id"] for row in content["rows"]["steps"]})


@pytest.mark.parametrize("kind", ["applying", "aborting"])
def test_processes_go_on_over_a_broker(
    kind: str,
    tmp_path: Path,
    new_database_url: Callable[..., str],
    host: VirtualHost,
    started: list[StartedInstallation],
) -> None:
    """Messages of the version before, in the broker and in the outbox, and leases that go on, change no end."""
    content, url = content_of(kind), new_database_url(migrated=False)
    load(url, content, lease_s=3.0)
    half = len(content["messages"]) // 2
    for message in content["messages"][:half]:
        host.put(message["queue"], message["body"].encode())
    database = Database(url)
    with database.write() as connection:
        sent = select(outbox.c.id).order_by(outbox.c.id).limit(half)
        connection.execute(delete(outbox).where(outbox.c.id.in_(connection.execute(sent).scalars().all())))
        assert connection.execute(select(func.min(outbox.c.written_at))).scalar_one() < datetime.now(UTC).timestamp()
    database.close()

    started.append(Installation.over_rabbitmq(begin(tmp_path), host.url(), database_url=url))

    expect_end(started[0], kind, {row["subcloud_name"]: row["id"] for row in content["rows"]["steps"]})
