"""SQL that is compiled once for all databases of a test process.

SQLAlchemy keeps what it compiled with the engine. Each test has engines of its own, and compiling took a fifth to two
fifths of the processor time of tests over a database.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

from db.database import Database

# More than all statements of the program, in both dialects.
_STATEMENTS = 5000


def share_compiled_statements() -> None:
    """Let all engines that databases make from now on find what another of the same kind has compiled."""
    compiled: LRUCache[Any, Any] = LRUCache(_STATEMENTS)
    # The dialect is part of the key: all of one class are set up alike here, for they lead to the same server.
    for dialect in (SQLiteDialect_pysqlite, PGDialect_psycopg):
        dialect.__hash__ = _hash  # type: ignore[assignment, method-assign]
        dialect.__eq__ = _equals  # type: ignore[assignment, method-assign]
    make = Database._engine

    def make_sharing(self: Database, begin: str, *, is_reader: bool = False) -> Engine:
        engine = make(self, begin, is_reader=is_reader)
        engine._compiled_cache = compiled
        return engine

    Database._engine = make_sharing  # type: ignore[method-assign]


def _hash(dialect: object) -> int:
    return hash(type(dialect))


def _equals(dialect: object, other: object) -> bool:
    return type(dialect) is type(other)
