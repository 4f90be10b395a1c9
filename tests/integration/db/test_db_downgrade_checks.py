"""What stands against a downgrade: processes, leases, and what would be lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, insert, select, text, update

from db.database import Database
from db.downgrade_checks import database_use, downgrade_losses, downgrade_refusals
from db.heartbeats import ALIVE_S, ProcessIdentity, ProcessReport, register_process, write_heartbeat
from db.migrate import MIGRATIONS, downgrade, head_revision, known_revisions, upgrade
from db.schema import (
    audit,
    database_now,
    heartbeats,
    holds,
    run_outputs,
    runs,
    secrets,
    steps,
    strategies,
    strategy_stages,
    webhooks,
)

AT = datetime(2026, 11, 28, tzinfo=UTC)
PROCESS = ProcessIdentity(process="one@m/1", name="one", host="ctrl-0", version="1", roles=("api",))
REPORT = ProcessReport(key_ids=("aa",))
NO_USE: tuple[str, ...] = ()


def add_run(connection: Connection, *, lease_s: float | None, state: str = "running", consumed: bool = False) -> None:
    """Add a run with a lease that ends in `lease_s` seconds."""
    connection.execute(
        insert(runs).values(
            phase="prestage-precheck",
            attempt=1,
            state=state,
            details="",
            facts={},
            dispatched_at=database_now(),
            lease_until=None if lease_s is None else database_now() + lease_s,
            cancel_requested=False,
            consumed=consumed,
        )
    )


def add_webhook(connection: Connection, *, claimed_s: float | None) -> None:
    """Add a webhook that a coordinator may send for, for `claimed_s` seconds more."""
    connection.execute(
        insert(webhooks).values(
            name="w",
            url="https://x/",
            types=[],
            enabled=True,
            disabled_reason="",
            sealed="s",
            bound_to="w",
            cursor=0,
            created_at=AT,
            claimed_by="one@m/1",
            claimed_until=None if claimed_s is None else database_now() + claimed_s,
        )
    )


def test_nothing_uses_it(database: Database) -> None:
    """A database that nothing uses has no signs of use, whatever it holds."""
    with database.write() as connection:
        add_run(connection, lease_s=-1.0)
        add_run(connection, lease_s=None, state="queued")
        add_run(connection, lease_s=30.0, state="finished")
        # From before a clock was set back: no lease is as long.
        add_run(connection, lease_s=3600.0)
        add_webhook(connection, claimed_s=-1.0)
        register_process(connection, PROCESS, REPORT)
        connection.execute(update(heartbeats).values(seen_epoch=database_now() - ALIVE_S - 1))

    assert NO_USE == database_use(database).signs


def test_a_living_process(database: Database) -> None:
    """A process that was seen lately is named with its machine."""
    with database.write() as connection:
        register_process(connection, PROCESS, REPORT)

    (sign,) = database_use(database).signs
    assert sign.startswith("api one on ctrl-0 was seen ")


def test_leases(database: Database) -> None:
    """Leases of runs and of webhooks that have not ended are counted, with the time that is left."""
    with database.write() as connection:
        add_run(connection, lease_s=20.0)
        add_run(connection, lease_s=30.0)
        add_webhook(connection, claimed_s=40.0)

    run_sign, webhook_sign = database_use(database).signs
    assert run_sign.startswith("Runs leased to workers, for up to ")
    assert run_sign.endswith(": 2.")
    assert webhook_sign.startswith("Webhooks leased to a coordinator")


def test_a_process_that_goes_on(database: Database) -> None:
    """A process that reports itself between two looks is alive for sure; one that does not may be dead."""
    with database.write() as connection:
        register_process(connection, PROCESS, REPORT)
    first = database_use(database)
    assert not first.goes_on_in(database_use(database))
    with database.write() as connection:
        connection.execute(update(heartbeats).values(seen_epoch=heartbeats.c.seen_epoch + 0.001))
        write_heartbeat(connection, PROCESS, REPORT)

    assert first.goes_on_in(database_use(database))


@pytest.fixture
def fresh(new_database_url: Callable[..., str]) -> Iterator[Database]:
    """A database without a schema."""
    database = Database(new_database_url(migrated=False))
    yield database
    database.close()


def test_every_older_revision_can_be_looked_at(fresh: Database) -> None:
    """Tables that an older revision does not have say nothing, and are no error."""
    upgrade(fresh)
    for revision in reversed(known_revisions()):
        downgrade(fresh, revision)
        assert NO_USE == database_use(fresh).signs


def test_what_is_lost(database: Database) -> None:
    """What only the newer schema holds is listed with counts, newest first; what there is none of is left out."""
    with database.write() as connection:
        for number in range(3):
            entry = {"at": AT, "caller": "c", "origin": "", "command_id": str(number), "type": "t", "status": 200}
            connection.execute(insert(audit).values(**entry, detail=""))
        add_webhook(connection, claimed_s=None)
        connection.execute(insert(secrets).values(sealed="x", bound_to="c", created_at=AT))

    losses = downgrade_losses(database, str(head_revision()), "0001")

    assert {"entries of the audit: 3", "webhooks with their secrets: 1"} < set(losses)
    assert losses.index("webhooks with their secrets: 1") < losses.index("entries of the audit: 3")
    assert not [loss for loss in losses if "deliveries" in loss]
    assert [loss for loss in losses if loss.startswith("secrets that forget") and loss.endswith(": 2")]
    assert "entries of the audit: 3" not in downgrade_losses(database, str(head_revision()), "0002")
    assert [] == downgrade_losses(database, str(head_revision()), str(head_revision()))


def add_step(connection: Connection, kind: str) -> None:
    """Add a standalone step of a type with a run, what that printed, and a secret."""
    values = {"type": kind, "subcloud_name": kind, "stage": 1, "state": "initial", "details": "", "version": 1}
    facts = {"release": "23.09", "force": False, "for_sw_deploy": False, "created_at": AT}
    step_id = connection.execute(insert(steps).values(**values, **facts).returning(steps.c.id)).scalar_one()
    add_run(connection, lease_s=None)
    newest = select(func.max(runs.c.id)).scalar_subquery()
    connection.execute(update(runs).where(runs.c.id == newest).values(step_id=step_id))
    connection.execute(update(steps).where(steps.c.id == step_id).values(run_id=newest))
    connection.execute(insert(run_outputs).values(run_id=newest, content=b"", left_out_at_bytes=0, left_out_bytes=0))
    connection.execute(insert(secrets).values(step_id=step_id, sealed="x", bound_to="c", created_at=AT))


def test_removals_of_releases_are_lost_whole(database: Database) -> None:
    """An older program would take a removal for a prestage, so going down takes it away with all that hangs on it."""
    with database.write() as connection:
        for kind in ("prestage", "unstage"):
            add_step(connection, kind)

    assert "removals of staged releases, with what they printed: 1" in downgrade_losses(database, "0011", "0010")
    downgrade(database, "0010")
    upgrade(database)
    with database.read() as connection:
        assert [("prestage", "prestage")] == [
            (row.subcloud_name, row.type) for row in connection.execute(select(steps.c.subcloud_name, steps.c.type))
        ]
        assert [1, 1, 1] == [
            connection.execute(select(func.count()).select_from(table)).scalar()
            for table in (runs, run_outputs, secrets)
        ]


def add_strategy(connection: Connection, *, state: str = "applying", **values: object) -> int:
    """Add the active strategy; return its id."""
    facts = {"type": "prestage", "release": "23.09", "stop_on_failure": False, "force": False, "for_sw_deploy": False}
    statement = insert(strategies).values(**facts, state=state, excluded=[], created_at=AT, **values)
    strategy_id: int = connection.execute(statement.returning(strategies.c.id)).scalar_one()
    return strategy_id


def add_hold(connection: Connection, strategy_id: int, **values: object) -> None:
    """Add an open hold of an operator."""
    fixed = {"kind": "operator", "scope": "phases", "reason": "", "since": AT, "by": "alice"}
    connection.execute(insert(holds).values(strategy_id=strategy_id, **fixed, **values))


HELD = "is held; resume it, or abort it"
OVER = {"state": "complete"}


@pytest.mark.parametrize(
    ("strategy", "hold", "expected"),
    [
        ({}, None, None),
        ({}, {}, HELD),
        ({"state": "aborting"}, {}, HELD),
        ({}, {"ended_at": AT}, None),
        (OVER, {}, None),
        ({}, {"step_id": 1}, "has sites that are held by themselves"),
        ({"mode": "window"}, None, "in window mode"),
        ({"mode": "window", "state": "initial"}, None, "in window mode"),
        ({"mode": "window", **OVER}, None, None),
        ({"mode": "window", "state": "initial", "deleted_at": AT}, None, None),
        ({"max_failures": 0}, None, "has a failure budget"),
        ({"max_failures": 0, "state": "initial"}, None, "has a failure budget"),
        ({"max_failures": 0, **OVER}, None, None),
    ],
)
def test_strategies_that_an_older_program_would_break(
    database: Database, strategy: dict[str, object], hold: dict[str, object] | None, expected: str | None
) -> None:
    """Going below 0012 is refused, with its number, while a strategy that is not over is held, counted or a window."""
    with database.write() as connection:
        strategy_id = add_strategy(connection, **strategy)
        add_step(connection, "prestage")
        if hold is not None:
            add_hold(connection, strategy_id, **hold)

    reasons = downgrade_refusals(database, str(head_revision()), "0011")

    assert ([] if expected is None else [f"Strategy {strategy_id}"]) == [reason[:10] for reason in reasons]
    assert not expected or expected in reasons[0]
    assert [] == downgrade_refusals(database, "0011", "0010")


@pytest.mark.parametrize("values", [{}, {"state": "initial"}, {"state": "aborting"}, OVER, {"deleted_at": AT}])
def test_stages_of_a_rollout(database: Database, values: dict[str, object]) -> None:
    """Going below 0020 is refused, with its number, while a strategy with stages of its own is not over."""
    with database.write() as connection:
        strategy_id = add_strategy(connection, mode="window", stage_by_stage=True, **values)
        stage = {"strategy_id": strategy_id, "stage": 1, "width": None, "max_failures": 0}
        connection.execute(insert(strategy_stages).values(stage))

    reasons = downgrade_refusals(database, str(head_revision()), "0019")

    is_over = values == OVER or "deleted_at" in values
    expected = f"Strategy {strategy_id} goes through stages of its own; wait for its end, or abort or delete it"
    assert ([] if is_over else [expected]) == reasons
    assert [] == downgrade_refusals(database, str(head_revision()), "0020")
    lost = "stages that no longer have a failure budget of their own: 1"
    assert lost in downgrade_losses(database, str(head_revision()), "0019")


def test_a_counted_budget_stays(database: Database) -> None:
    """Going from 0013 to 0012 is refused while a strategy that is not over has a failure budget as a count."""
    with database.write() as connection:
        strategy_id = add_strategy(connection, max_failures=5)

    (reason,) = downgrade_refusals(database, "0013", "0012")

    assert reason.startswith(f"Strategy {strategy_id} has a failure budget")
    assert [] == downgrade_refusals(database, str(head_revision()), "0013")


def test_every_revision_tells_what_it_loses(database: Database) -> None:
    """Every migration after the first lists its losses, with statements that both databases take."""
    scripts = ScriptDirectory(str(MIGRATIONS))
    with database.read() as connection:
        for revision in known_revisions()[1:]:
            for sentence, statement in scripts.get_revision(revision).module.LOSSES:
                assert sentence
                assert 0 <= connection.execute(text(statement)).scalar_one()
