"""What the API shows, read with Core statements: rows in, no rendering.

Every function takes a connection of `Database.read()`; none of them writes.
A `ref` is an id when it is all digits, otherwise a name (contract 2.1).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, false, func, or_, select

from db.schema import preparations, run_outputs, runs, steps, strategies, subcloud_groups, subclouds
from statemachine.states import PHASES

Row = Mapping[str, Any]

# The longest run of digits that surely fits the database's integers.
_ID_DIGITS: Final = 18
# The most of one run's output that is shown, in bytes; what is beyond is left out with a note.
OUTPUT_LIMIT_BYTES: Final = 32 * 1024 * 1024


def active_strategy(connection: Connection) -> Row | None:
    """Return the only strategy that is not history."""
    return _first(connection, select(strategies).where(strategies.c.deleted_at.is_(None)))


def active_steps(connection: Connection) -> list[Row]:
    """Return the steps of the active strategy in the order of their ids; none without a strategy."""
    return _all(connection, _active_steps().order_by(steps.c.id))


def active_step(connection: Connection, name: str) -> Row | None:
    """Return the step of the subcloud called `name` in the active strategy; an id is not accepted."""
    return _first(connection, _active_steps().where(steps.c.subcloud_name == name))


def _active_steps() -> Select[Any]:
    active = steps.join(strategies, steps.c.strategy_id == strategies.c.id)
    return select(steps).select_from(active).where(strategies.c.deleted_at.is_(None))


def all_subclouds(connection: Connection) -> list[Row]:
    """Return every subcloud in the order of ids."""
    return _all(connection, select(subclouds).order_by(subclouds.c.id))


def subcloud(connection: Connection, ref: str) -> Row | None:
    """Return one subcloud by id or name."""
    return _first(connection, select(subclouds).where(_is(subclouds, ref)))


def all_groups(connection: Connection) -> list[Row]:
    """Return every group in the order of ids, each with its `subcloud_count`."""
    counts = (
        select(subclouds.c.group_id, func.count().label("subcloud_count")).group_by(subclouds.c.group_id).subquery()
    )
    joined = subcloud_groups.outerjoin(counts, subcloud_groups.c.id == counts.c.group_id)
    counted = func.coalesce(counts.c.subcloud_count, 0).label("subcloud_count")
    return _all(connection, select(subcloud_groups, counted).select_from(joined).order_by(subcloud_groups.c.id))


def group(connection: Connection, ref: str) -> Row | None:
    """Return one group by id or name."""
    return _first(connection, select(subcloud_groups).where(_is(subcloud_groups, ref)))


def subclouds_of_group(connection: Connection, group_id: int) -> list[Row]:
    """Return the subclouds of a group in the order of ids."""
    return _all(connection, select(subclouds).where(subclouds.c.group_id == group_id).order_by(subclouds.c.id))


@dataclass(frozen=True, kw_only=True)
class PhaseOutput:
    """What the newest run of one phase printed."""

    phase: str
    # Number of the try, from 1.
    attempt: int
    # How the run ended; None while it is not known.
    outcome: str | None
    # UTF-8.
    content: bytes


def latest_step(connection: Connection, name: str) -> Row | None:
    """Return the step of the subcloud called `name` that started last, of any strategy or standalone.

    A step that has not started has printed nothing; until it does, the one before is the one to read about.
    Falls back to the newest step when none has started.
    """
    named = select(steps).where(steps.c.subcloud_name == name)
    started = named.where(steps.c.started_at.is_not(None)).order_by(steps.c.started_at.desc(), steps.c.id.desc())
    return _first(connection, started.limit(1)) or _first(connection, named.order_by(steps.c.id.desc()).limit(1))


def outputs(connection: Connection, step: Row, phase: str | None) -> list[PhaseOutput]:
    """Return the newest output of each phase of a step, or of `phase` alone, in the order of the phases.

    The preparation that served the step counts as its own, whichever step opened it.
    """
    wanted = or_(runs.c.step_id == step["id"], runs.c.preparation_id.in_(_preparations_for(step)))
    if phase is not None:
        wanted = and_(wanted, runs.c.phase == phase)
    printed = runs.join(run_outputs, runs.c.id == run_outputs.c.run_id)
    newest = select(func.max(runs.c.id)).select_from(printed).where(wanted).group_by(runs.c.phase)
    found = _all(
        connection,
        select(runs.c.phase, runs.c.attempt, runs.c.outcome, run_outputs.c.content)
        .select_from(printed)
        .where(runs.c.id.in_(newest)),
    )
    order = [str(known) for known in PHASES]
    return sorted((_output(row) for row in found), key=lambda output: order.index(output.phase))


def _preparations_for(step: Row) -> Select[Any]:
    if step["strategy_id"] is None:
        owner = preparations.c.step_id == step["id"]
    else:
        owner = preparations.c.strategy_id == step["strategy_id"]
    return select(preparations.c.id).where(
        owner, preparations.c.release == step["release"], preparations.c.from_version == step["from_version"]
    )


def _output(row: Row) -> PhaseOutput:
    reader = zlib.decompressobj()
    content = reader.decompress(row["content"], OUTPUT_LIMIT_BYTES)
    if reader.unconsumed_tail:
        content += f"\n[only the first {OUTPUT_LIMIT_BYTES} bytes are shown]\n".encode()
    return PhaseOutput(phase=row["phase"], attempt=row["attempt"], outcome=row["outcome"], content=content)


def _is(table: Table, ref: str) -> ColumnElement[bool]:
    if not (ref.isascii() and ref.isdigit()):
        return table.c.name == ref
    return table.c.id == int(ref) if len(ref) <= _ID_DIGITS else false()


def _first(connection: Connection, statement: Select[Any]) -> Row | None:
    return cast("Row | None", connection.execute(statement).mappings().first())


def _all(connection: Connection, statement: Select[Any]) -> list[Row]:
    return cast("list[Row]", connection.execute(statement).mappings().all())
