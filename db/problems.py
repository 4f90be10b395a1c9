"""Problems of a strategy: its steps that did not succeed, counted by the fingerprint of their failure.

Counts and samples come from one index that has steps with a problem alone: sites that did not fail cost nothing. The
statements are built once, for building them anew costs more than the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, String, and_, bindparam, func, literal_column, select

from db.errors import ProblemNotFoundError
from db.json_table import given_rows, joined_with_each
from db.schema import problems, steps
from statemachine.problems import ID_LENGTH

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


_STRATEGY: Final = bindparam("of_strategy", type_=steps.c.strategy_id.type)
# In the words of the partial index.
_HAS_PROBLEM: Final = and_(steps.c.strategy_id == _STRATEGY, steps.c.problem.is_not(None))
_MOMENT: Final = steps.c.finished_at.type
_COUNTS: Final = (
    select(
        steps.c.problem,
        func.count().label("number"),
        func.min(steps.c.finished_at, type_=_MOMENT).label("first"),
        func.max(steps.c.finished_at, type_=_MOMENT).label("last"),
        func.sum(func.count()).over().label("total"),
    )
    .where(_HAS_PROBLEM)
    .group_by(steps.c.problem)
    .order_by(func.count().desc(), steps.c.problem)
    .limit(MOST_PROBLEMS)
    .subquery()
)
_LISTED: Final = (
    select(problems, _COUNTS.c.number, _COUNTS.c.first, _COUNTS.c.last, _COUNTS.c.total)
    .join(_COUNTS, and_(problems.c.id == _COUNTS.c.problem, problems.c.strategy_id == _STRATEGY))
    .order_by(_COUNTS.c.number.desc(), problems.c.id)
)
_LISTED_IDS: Final = given_rows("listed", id=String)
_NEWER: Final = steps.alias("newer")
# The end of the part of the index that each problem has: to rank all its steps takes as long as there are many.
_NEWEST: Final = (
    select(_NEWER.c.id)
    .where(_NEWER.c.strategy_id == _STRATEGY, _NEWER.c.problem.is_not(None), _NEWER.c.problem == _LISTED_IDS.c.id)
    .order_by(_NEWER.c.finished_at.desc(), _NEWER.c.id.desc())
    .limit(literal_column(str(MOST_NAMED)))
)
_SITES: Final = {
    dialect: select(steps.c.problem, steps.c.subcloud_name, steps.c.details, steps.c.finished_at)
    .select_from(joined)
    .order_by(steps.c.finished_at.desc(), steps.c.id.desc())
    for dialect, joined in joined_with_each(_LISTED_IDS, steps, _NEWEST).items()
}


_EACH: Final = (
    select(steps.c.problem, func.min(steps.c.failure_class).label("failure_class"))
    .where(_HAS_PROBLEM)
    .group_by(steps.c.problem)
    .order_by(steps.c.problem)
)


def find_problem(connection: Connection, strategy_id: int, begin: str) -> str:
    """Return the id of the problem of a strategy that begins so; a whole id is taken as it is.

    Raises:
        ProblemNotFoundError: None of its problems begins so, or several do.
    """
    if len(begin) == ID_LENGTH:
        return begin
    each = connection.execute(_EACH, {"of_strategy": strategy_id})
    found: dict[str, str] = {row.problem: f"{row.problem} ({row.failure_class})" for row in each}
    meant = [one for one in found if one.startswith(begin)]
    if len(meant) != 1:
        told = [found[one] for one in meant or found]
        raise ProblemNotFoundError(strategy_id, begin, told[:MOST_NAMED], is_ambiguous=bool(meant))
    return meant[0]


def count_problems(connection: Connection, strategy_id: int) -> ProblemCounts:
    """Return the problems of a strategy; of more than fifty the most frequent."""
    listed = list(connection.execute(_LISTED, {"of_strategy": strategy_id}).mappings())
    sites: dict[str, list[Row]] = {row["id"]: [] for row in listed}
    if listed:
        wanted = {"of_strategy": strategy_id, "listed": [{"id": one} for one in sites]}
        for row in connection.execute(_SITES[connection.dialect.name], wanted).mappings():
            sites[row["problem"]].append(row)
    named = sum(int(row["number"]) for row in listed)
    return ProblemCounts(listed=listed, sites=sites, others=int(listed[0]["total"]) - named if listed else 0)
