"""Rows as one parameter of a statement, so that its text is the same for any number of them.

Both SQLAlchemy and the database prepare such a statement once. PostgreSQL expects one row, whatever the parameter and
the statistics: it finds the rows of tables that are named in it by their index, and reads no table as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    JSON,
    BindParameter,
    ColumnClause,
    ColumnElement,
    FromClause,
    Select,
    TableValuedAlias,
    bindparam,
    column,
    true,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine


class json_table(FunctionElement[Any]):  # noqa: N801 - reads as an SQL function
    """A JSON list of objects as rows; its arguments are the list and the columns."""

    inherit_cache = True


def given_rows(parameter: str, **columns: type[TypeEngine[Any]] | TypeEngine[Any]) -> TableValuedAlias:
    """Return the rows of a parameter, which is a list of objects, as a table of `columns`, in the order of the list.

    A key that an object lacks is null.
    """
    named = [column(name, kind) for name, kind in columns.items()]
    table = json_table(bindparam(parameter, type_=JSON), *named)
    return table.table_valued(*(column(one.name, one.type) for one in named), name=parameter)


def joined_with_each(given: TableValuedAlias, table: FromClause, ids: Select[Any]) -> Mapping[str, FromClause]:
    """Return given rows joined with the rows of a table that belong to each of them, by the name of the dialect.

    Args:
        given: From `given_rows`.

        table: A table with the column `id`.

        ids: Query of the ids that belong to one given row, which it names; a limit counts for each.
    """
    of_one = ids.correlate(given)
    found = of_one.lateral("of_each")
    return {
        "postgresql": given.join(found, true()).join(table, table.c.id == found.c.id),
        # It has no lateral joins.
        "sqlite": given.join(table, table.c.id.in_(of_one)),
    }


class any_given(FunctionElement[Any]):  # noqa: N801 - reads as an SQL function
    """A column of given rows to compare an indexed column with, so that PostgreSQL looks into the index.

    Without statistics it takes a table whose rows are wide for one row. To find that by an index then costs as much as
    to read the table, and it may do the latter for each given row if the condition is a plain comparison.
    """

    inherit_cache = True

    def __init__(self, given: ColumnElement[int]) -> None:
        """Wrap a column of `given_rows`."""
        super().__init__(given)
        self.type = given.type


@compiles(any_given, "postgresql")
def _postgresql_any_given(element: any_given, compiler: SQLCompiler, **options: Any) -> str:
    return f"ANY(ARRAY[{compiler.process(element.clauses, **options)}])"


@compiles(any_given, "sqlite")
def _sqlite_any_given(element: any_given, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(json_table, "postgresql")
def _postgresql_table(element: json_table, compiler: SQLCompiler, **options: Any) -> str:
    given, columns = _parts(element)
    typed = ", ".join(f"{one.name} {compiler.dialect.type_compiler_instance.process(one.type)}" for one in columns)
    rows = compiler.process(given, **options)
    read = f"SELECT * FROM json_to_recordset({rows}) AS given ({typed})"  # noqa: S608 - names of columns
    # Below a limit that it cannot know beforehand it expects a tenth of the rows, which of a function are a hundred.
    limit = f"LIMIT (SELECT json_array_length({rows}))"
    return f"(SELECT * FROM ({read} {limit}) AS given {limit})"  # noqa: S608 - as above


@compiles(json_table, "sqlite")
def _sqlite_table(element: json_table, compiler: SQLCompiler, **options: Any) -> str:
    given, columns = _parts(element)
    read = ", ".join(f"json_extract(value, '$.{one.name}') AS {one.name}" for one in columns)
    return f"(SELECT {read} FROM json_each({compiler.process(given, **options)}))"  # noqa: S608 - names of columns


def _parts(element: json_table) -> tuple[BindParameter[Any], list[ColumnClause[Any]]]:
    given, *columns = element.clauses
    return given, columns  # type: ignore[return-value]
