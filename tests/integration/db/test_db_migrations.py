from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, Table, insert, inspect, select

from db.database import Database
from db.downgrade_checks import downgrade_losses
from db.migrate import MIGRATIONS, current_revision, downgrade, head_revision, known_revisions, upgrade
from db.schema import commands, controller, metadata, steps, subcloud_groups, subclouds
from tests.integration.db.db_rows import InstallationRows


@pytest.fixture
def fresh(new_database_url: Callable[..., str]) -> Iterator[Database]:
    """A database without a schema."""
    database = Database(new_database_url(migrated=False))
    yield database
    database.close()


def _tables(database: Database) -> set[str]:
    return set(inspect(database.writer_engine).get_table_names())


# Everything that the migrations make, in the words of each database.
_DEFINITIONS = {
    "sqlite": ("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type, name",),
    "postgresql": (
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname",
        "SELECT table_name || '.' || column_name, data_type || is_nullable || coalesce(column_default, '')"
        " FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, column_name",
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace"
        " ORDER BY conname",
    ),
}


def _definitions(database: Database) -> list[tuple[str, str]]:
    with database.read() as connection:
        return [
            (row[0], row[1])
            for query in _DEFINITIONS[database.url.get_backend_name()]
            for row in connection.exec_driver_sql(query)
        ]


def test_revisions_are_what_alembic_takes_them_for() -> None:
    """The files' numbers are the revisions, in the order in which Alembic goes up."""
    scripts = ScriptDirectory(str(MIGRATIONS))

    assert [script.revision for script in scripts.walk_revisions()][::-1] == known_revisions()
    assert scripts.get_current_head() == head_revision()


def test_up_down_up(fresh: Database) -> None:
    """The migrations go up from nothing, down to nothing, and up again to the same."""
    assert current_revision(fresh) is None
    upgrade(fresh)
    first = _definitions(fresh)
    assert head_revision() == current_revision(fresh)
    downgrade(fresh)
    assert {"alembic_version"} == _tables(fresh)
    assert current_revision(fresh) is None
    upgrade(fresh)

    assert first == _definitions(fresh)


# Ids of stored commands before and after 0008.
_RENAMED = {
    "alice/1": "alice/1",
    "ci/both": "ci/both",
    "%2F%2Fci/1": "amqp:/%2F%2Fci/1",
    "s/" + "i" * 247: "amqp:/s/" + "i" * 247,
}
# Addresses of origin in the audit; a command that came by AMQP alone has none.
_ORIGINS = {"alice/1": ("10.0.0.1",), "ci/both": ("", "::1")}


def test_ids_of_foreign_publishers_are_kept_apart(fresh: Database) -> None:
    """Commands that came by AMQP get ids that no caller over HTTP can have; going down they have them no more."""
    upgrade(fresh, "0007")
    of_before = Table("audit", MetaData(), autoload_with=fresh.writer_engine)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    answered = {"type": "group.create", "status": 200}
    with fresh.write() as connection:
        for command_id in (*_RENAMED, "s/" + "i" * 253):
            row = {**answered, "id": command_id, "digest": "d", "answer": {}, "created_at": moment}
            connection.execute(insert(commands).values(row))
            for origin in _ORIGINS.get(command_id, ("",)):
                row = {**answered, "at": moment.replace(tzinfo=None), "caller": "c", "detail": "", "origin": origin}
                connection.execute(insert(of_before).values({**row, "command_id": command_id}))
    upgrade(fresh)
    with fresh.read() as connection:
        up = set(connection.execute(select(commands.c.id)).scalars())
    downgrade(fresh, "0007")
    with fresh.read() as connection:
        down = set(connection.execute(select(commands.c.id)).scalars())

    hashed = up - set(_RENAMED.values())
    assert set(_RENAMED.values()) < up
    assert ([True], [69]) == ([one.startswith("amqp:") for one in hashed], [len(one) for one in hashed])
    assert set(_RENAMED) | hashed == down


def test_repeated_upgrade(database: Database) -> None:
    """A schema that is there already is left alone, data included."""
    before = _definitions(database)
    with database.read() as connection:
        installation = connection.execute(select(controller.c.installation)).scalar_one()
    upgrade(database)

    assert before == _definitions(database)
    with database.read() as connection:
        assert installation == connection.execute(select(controller.c.installation)).scalar_one()


# Alembic cannot reflect an index over an expression and says so; that index has its own test.
@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based index")
def test_migrations_make_the_schema(database: Database) -> None:
    """What the migrations make is what the tables say."""
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, metadata)

    assert [] == [one for one in differences if "uq_strategies_one_active" not in str(one)]
    assert set(metadata.tables) | {"alembic_version"} == _tables(database)


def test_index_of_the_one_active_strategy(database: Database, database_kind: str) -> None:
    """The index that Alembic cannot see is there: unique, over a constant, of the rows that are not history."""
    definition = dict(_definitions(database))["uq_strategies_one_active"]

    expected = {
        "sqlite": "CREATE UNIQUE INDEX uq_strategies_one_active ON strategies ((1)) WHERE deleted_at IS NULL",
        "postgresql": (
            "CREATE UNIQUE INDEX uq_strategies_one_active ON public.strategies USING btree ((1))"
            " WHERE (deleted_at IS NULL)"
        ),
    }
    assert expected[database_kind] == " ".join(definition.split())


def test_partial_indexes(database: Database, database_kind: str) -> None:
    """The partial indexes hold open steps and unconsumed runs only, in the words of SQLAlchemy's conditions."""
    definitions = dict(_definitions(database))

    expected = {
        "sqlite": ("WHERE finished_at IS NULL", "WHERE consumed = 0", "WHERE published = 0"),
        "postgresql": ("WHERE (finished_at IS NULL)", "WHERE (NOT consumed)", "WHERE (NOT published)"),
    }
    names = ("ix_steps_open", "ix_runs_unconsumed", "ix_events_unpublished")
    assert expected[database_kind] == tuple(definitions[name][definitions[name].index("WHERE") :] for name in names)


def test_indexes_of_all_steps_have_room(database: Database, database_kind: str) -> None:
    """On PostgreSQL the indexes that every step is in keep room for one more entry of each step."""
    if database_kind != "postgresql":
        return
    query = (
        "SELECT relname FROM pg_class JOIN pg_index ON indexrelid = pg_class.oid"
        " WHERE indrelid = 'steps'::regclass AND indpred IS NULL AND reloptions IS DISTINCT FROM '{fillfactor=45}'"
    )
    with database.read() as connection:
        without_room = connection.exec_driver_sql(query).scalars().all()

    assert [] == without_room


def test_what_a_new_installation_has(database: Database) -> None:
    """A new installation has the default group and a name of its own (contract 5)."""
    with database.read() as connection:
        group = connection.execute(select(subcloud_groups)).one()
        (row,) = connection.execute(select(controller)).all()

    assert (1, "Default", "Default Subcloud Group", "parallel", 2) == (
        group.id,
        group.name,
        group.description,
        group.update_apply_type,
        group.max_parallel_subclouds,
    )
    assert (1, False, 36) == (row.id, row.upgrading, len(row.installation))


def test_two_installations_have_two_names(fresh: Database, database: Database) -> None:
    """Sites tell controllers apart by the name, so no two are the same."""
    upgrade(fresh)
    names = set()
    for one in (fresh, database):
        with one.read() as connection:
            names.add(connection.execute(select(controller.c.installation)).scalar_one())

    assert len(names) == 2


# State and details of steps of before 0012, with the outcome that they get.
_ENDED = {
    ("complete", ""): "complete",
    ("complete", "Prestage skipped 'a': Subcloud is offline."): "skipped",
    ("failed", "prestage-precheck: it broke"): "failed",
    ("aborted", ""): "aborted",
    ("prestage-prepare", ""): None,
    ("initial", ""): None,
}


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
def test_steps_of_before_get_outcomes(fresh: Database) -> None:
    """Steps of before 0012 get the outcome that they had, their working time, the attempt of their run and a place."""
    upgrade(fresh, "0011")
    older = MetaData()
    with fresh.write() as connection:
        older_steps, older_runs = (Table(name, older, autoload_with=connection) for name in ("steps", "runs"))
        begin = datetime(2026, 1, 1, 12, 0, 0)  # noqa: DTZ001 - as the database has it
        step = {"subcloud_name": "a", "stage": 1, "release": "23.09", "force": False, "for_sw_deploy": False}
        run = {"phase": "prestage-precheck", "state": "finished", "details": "", "facts": {}, "dispatched_at": 0.0}
        flags = {"cancel_requested": False, "consumed": True}
        for number, (state, details) in enumerate(_ENDED, 1):
            values = {**step, "state": state, "details": details, "version": 1, "created_at": begin}
            current = {"run_id": 7} if state == "initial" else {}
            connection.execute(insert(older_steps).values(id=number, **values, **current))
            ran = {"started_at": begin, "finished_at": begin + timedelta(seconds=10.5)}
            connection.execute(insert(older_runs).values(id=number, step_id=number, attempt=1, **run, **flags, **ran))
        connection.execute(insert(older_runs).values(id=7, step_id=6, attempt=3, **run, **flags))
    upgrade(fresh)
    with fresh.read() as connection:
        rows = connection.execute(select(steps).order_by(steps.c.id)).all()

    assert list(_ENDED.values()) == [row.outcome for row in rows]
    assert [1, 2, 3, 4, 5, 6] == [row.position for row in rows]
    assert [1, 1, 1, 1, 1, 3] == [row.attempt for row in rows]
    assert [10.5] * 6 == [round(row.worked_s, 3) for row in rows]
    assert ["prestage-prepare"] == [row.state for row in rows if row.preparing]


def test_prestages_of_before_get_what_was_shown(fresh: Database) -> None:
    """A subcloud that is being prestaged when 0014 comes showed what is recorded as staged, as far as is known."""
    upgrade(fresh)
    with fresh.write() as connection:
        rows = InstallationRows(connection)
        rows.add_subclouds(1, prestage_status="prestaging", prestage_versions="23.09")
        rows.add_subclouds(1, first=2, prestage_status="prestaging", earlier_prestage_status="failed")
        rows.add_subclouds(1, first=3, prestage_status="complete", prestage_versions="23.09")
    losses = downgrade_losses(fresh, str(head_revision()), "0013")
    downgrade(fresh, "0013")
    upgrade(fresh)

    with fresh.read() as connection:
        found = connection.execute(select(subclouds.c.earlier_prestage_status).order_by(subclouds.c.id)).scalars().all()
    assert ["complete", None, None] == list(found)
    assert [loss for loss in losses if loss.startswith("subclouds that show no earlier failure") and loss[-3:] == ": 1"]
