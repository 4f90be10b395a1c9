"""Problems of a strategy: its steps that did not succeed, counted by the fingerprint of their failure.

The counts come from one index that has steps with a problem alone; of the steps themselves ten of each problem are
read, however many sites have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, and_, func, select, union_all

from db.schema import problems, steps

# A row by column name; SQLAlchemy types its keys loosely.
Row = Mapping[Any, Any]

# Problems that are listed, and sites of each that are named.
MOST_PROBLEMS: Final = 50
MOST_NAMED: Final = 10


@dataclass(frozen=True, kw_only=True)
class ProblemCounts:
    """The most frequent problems of a strategy.

    Attributes:
        listed: Rows of `problems` with `number` of steps, `first` and `last` end of one, the most frequent first.

        sites: Steps of each of them by its id, the newest first, ten at most.

        others: Steps with a problem that is not listed.
    """

    listed: Sequence[Row]
    sites: Mapping[str, Sequence[Row]]
    others: int


def count_problems(connection: Connection, strategy_id: int) -> ProblemCounts:
    """Return the problems of a strategy; of more than fifty the most frequent."""
    has_problem = and_(steps.c.strategy_id == strategy_id, steps.c.problem.is_not(None))
    moment = steps.c.finished_at.type
    counts = (
        select(
            steps.c.problem,
            func.count().label("number"),
            func.min(steps.c.finished_at, type_=moment).label("first"),
            func.max(steps.c.finished_at, type_=moment).label("last"),
            func.sum(func.count()).over().label("total"),
        )
        .where(has_problem)
        .group_by(steps.c.problem)
        .order_by(func.count().desc(), steps.c.problem)
        .limit(MOST_PROBLEMS)
        .subquery()
    )
    found = (
        select(problems, counts.c.number, counts.c.first, counts.c.last, counts.c.total)
        .join(counts, and_(problems.c.id == counts.c.problem, problems.c.strategy_id == strategy_id))
        .order_by(counts.c.number.desc(), problems.c.id)
    )
    listed = list(connection.execute(found).mappings())
    named = sum(int(row["number"]) for row in listed)
    return ProblemCounts(
        listed=listed,
        sites=_sites(connection, strategy_id, [row["id"] for row in listed]),
        others=int(listed[0]["total"]) - named if listed else 0,
    )


def _sites(connection: Connection, strategy_id: int, ids: Sequence[str]) -> dict[str, list[Row]]:
    """Return the newest steps of each problem; a branch of the statement for each reads the end of the index."""
    if not ids:
        return {}
    branches = [
        select(steps.c.problem, steps.c.subcloud_name, steps.c.details, steps.c.finished_at)
        .where(steps.c.strategy_id == strategy_id, steps.c.problem.is_not(None), steps.c.problem == one)
        .order_by(steps.c.finished_at.desc())
        .limit(MOST_NAMED)
        .subquery()
        for one in ids
    ]
    found: dict[str, list[Row]] = {one: [] for one in ids}
    for row in connection.execute(union_all(*(select(branch) for branch in branches))).mappings():
        found[row["problem"]].append(row)
    return found
