"""Rows of forecasts: when a strategy is likely to end and how many of its sites end per minute, one row a strategy.

`db.forecaster` makes them; an answer reads the row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, RowMapping, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from db.read_queries import Row
from db.schema import database_now, forecasts
from statemachine.rollout import HoldKind
from statemachine.states import StrategyState

# Age from which a row is no longer shown, in seconds: its coordinator is away.
_STALE_S: Final = 120.0

_NOT_APPLIED: Final = "not applied"
# Short: `prestager status` and `watch` show them within a line of 80 columns.
_NOT_MADE: Final = "not worked out yet"
_STALE: Final = "no coordinator has worked it out for two minutes"

# Built once, for each answer about a strategy reads it.
_KEPT: Final = select(forecasts, database_now().label("now")).where(
    forecasts.c.strategy_id.in_(bindparam("of_strategies", expanding=True))
)


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Likely end of a strategy.

    In the row it is that of the strategy without its holds and gates, which answers read anew: see `read_forecasts`.

    Attributes:
        ends: Moments that come before the end in 10, 50 and 90 of 100 cases; None: see `missing`.

        missing: Why there are no moments; empty: there are.

        pace: Sites that end per minute, over the last minutes.

        usual: Median seconds of the successful runs by phase; a phase of which none is known is missing.
    """

    ends: tuple[datetime, datetime, datetime] | None = None
    missing: str = ""
    pace: float = 0.0
    usual: Mapping[str, float] = field(default_factory=dict)


def read_forecasts(
    connection: Connection, strategies: Sequence[Row], holds: Sequence[RowMapping]
) -> dict[int, Forecast | None]:
    """Return the forecast of each strategy by its id; None for one that has ended.

    Args:
        connection: Reads the rows of the forecasts.

        strategies: The strategies.

        holds: Their open holds but those of single sites: `db.holds.open_holds`.
    """
    going_on = [row["id"] for row in strategies if row["finished_at"] is None and row["deleted_at"] is None]
    found: dict[int, Forecast | None] = {row["id"]: None for row in strategies}
    if not going_on:
        return found
    rows = {row.strategy_id: row for row in connection.execute(_KEPT, {"of_strategies": going_on})}
    by_id = {row["id"]: row for row in strategies}
    for strategy_id in going_on:
        row = rows.get(strategy_id)
        if by_id[strategy_id]["state"] == StrategyState.INITIAL:
            found[strategy_id] = Forecast(missing=_NOT_APPLIED)
        elif row is None:
            found[strategy_id] = Forecast(missing=_NOT_MADE)
        elif row.now - row.made_epoch > _STALE_S:
            found[strategy_id] = Forecast(missing=_STALE)
        else:
            ends = None if row.p10_at is None else (row.p10_at, row.p50_at, row.p90_at)
            made = Forecast(ends=ends, missing=row.missing, pace=row.pace, usual=row.usual)
            found[strategy_id] = held_back(made, by_id[strategy_id], holds)
    return found


def held_back(made: Forecast, strategy: Row, holds: Iterable[RowMapping]) -> Forecast:
    """Return the forecast without an end, while the strategy waits for a person."""
    missing = _obstacle(strategy, (hold for hold in holds if hold["strategy_id"] == strategy["id"]))
    return replace(made, ends=None, missing=missing) if missing else made


def _obstacle(strategy: Row, holds: Iterable[RowMapping]) -> str:
    """Return the hold or the gate that waits for a person; empty without any."""
    for hold in holds:
        if hold["kind"] != HoldKind.SOAK:
            return f"held by {hold['by'] or hold['kind']}"
    for stage in strategy["rollout"].get("stages") or ():
        if stage.get("gate") and not stage.get("decision") and stage.get("passed-at", "") is None:
            return f"the stage {stage['name']} is to be approved"
    return ""


def keep_forecast(connection: Connection, strategy_id: int, made_epoch: float, made: Forecast) -> bool:
    """Write the forecast of a strategy over its row; False: another coordinator has written a newer one, which stays.

    The row is locked until the end of the transaction in either case.
    """
    ends = made.ends or (None, None, None)
    values = {
        "made_epoch": made_epoch,
        "p10_at": ends[0],
        "p50_at": ends[1],
        "p90_at": ends[2],
        "missing": made.missing,
        "pace": made.pace,
        "usual": dict(made.usual),
    }
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    written = (
        dialect.insert(forecasts)
        .values(strategy_id=strategy_id, **values)
        .on_conflict_do_update(
            index_elements=[forecasts.c.strategy_id], set_=values, where=forecasts.c.made_epoch < made_epoch
        )
    )
    return connection.execute(written.returning(forecasts.c.strategy_id)).first() is not None
