"""Metadata of the tables, column types and conditions that behave the same on both databases, and their clock."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ARRAY, BigInteger, ColumnElement, DateTime, Dialect, Float, Integer, MetaData, Text
from sqlalchemy import bindparam as parameter
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts rows up by itself only for a column that is exactly INTEGER.
BigId: Final = BigInteger().with_variant(Integer(), "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC: aware in Python, naive in the database.

    Raises:
        ValueError: On writing a datetime without a time zone.
    """

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store the moment as naive UTC."""
        del dialect
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a stored moment needs a time zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the moment back with its zone."""
        del dialect
        return None if value is None else value.replace(tzinfo=UTC)


class database_now(FunctionElement[float]):  # noqa: N801 - reads as an SQL function
    """The database's clock in seconds since the epoch: the only clock by which leases are judged."""

    type = Float()
    inherit_cache = True


@compiles(database_now, "sqlite")
def _sqlite_now(element: database_now, compiler: SQLCompiler, **options: Any) -> str:
    # unixepoch('subsec') came with SQLite 3.42; Debian 12 has 3.40.
    del element, compiler, options
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_now, "postgresql")
def _postgresql_now(element: database_now, compiler: SQLCompiler, **options: Any) -> str:
    del element, compiler, options
    return "(extract(epoch from clock_timestamp())::double precision)"


class time_bucket(FunctionElement[int]):  # noqa: N801 - reads as an SQL function
    """Number of the bucket that a stored moment lies in: whole seconds since the epoch divided by the bucket's length.

    It is null for a moment that is null.
    """

    type = BigInteger()
    inherit_cache = True

    def __init__(self, column: ColumnElement[datetime], name: str) -> None:
        """Take the length of a bucket, in seconds, from the parameter `name`."""
        super().__init__(column, parameter(name, type_=Integer()))


@compiles(time_bucket, "sqlite")
def _sqlite_bucket(element: time_bucket, compiler: SQLCompiler, **options: Any) -> str:
    column, length_s = (compiler.process(clause, **options) for clause in element.clauses)
    # A Julian day as a fraction misses a whole second by some microseconds.
    return f"CAST(((julianday({column}) - 2440587.5) * 86400.0 + 0.0005) / {length_s} AS INTEGER)"


@compiles(time_bucket, "postgresql")
def _postgresql_bucket(element: time_bucket, compiler: SQLCompiler, **options: Any) -> str:
    column, length_s = (compiler.process(clause, **options) for clause in element.clauses)
    return f"CAST(floor(date_part('epoch', {column}) / {length_s}) AS bigint)"


class IdList(TypeDecorator[Collection[int]]):
    """Ids as one parameter: an array for PostgreSQL, JSON for SQLite."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of the database."""
        return dialect.type_descriptor(ARRAY(BigInteger) if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: Collection[int] | None, dialect: Dialect) -> list[int] | str:
        """Send the ids; None is as none."""
        ids = list(value or ())
        return ids if dialect.name == "postgresql" else json.dumps(ids)


class is_among(FunctionElement[Any]):  # noqa: N801 - reads as an SQL function
    """Whether a column is one of the ids in a parameter. The text is the same for any number of them.

    So the statement is prepared once. It has no type, for SQLite would compare a boolean with 1, past the index.
    """

    inherit_cache = True

    def __init__(self, column: ColumnElement[int], name: str) -> None:
        """Compare `column` with the parameter `name`."""
        super().__init__(column, parameter(name, type_=IdList()))


@compiles(is_among, "sqlite")
def _sqlite_is_among(element: is_among, compiler: SQLCompiler, **options: Any) -> str:
    column, ids = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({ids}))"  # noqa: S608 - compiled clauses


@compiles(is_among, "postgresql")
def _postgresql_is_among(element: is_among, compiler: SQLCompiler, **options: Any) -> str:
    column, ids = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} = ANY({ids})"
