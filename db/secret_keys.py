"""Secret keys as the database knows them: which ones rows need, when each sealed last, and sealing rows anew.

Only ids of keys are stored. Everything that is sealed in the database is listed in `_PLACES`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Connection, Select, Table, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from db.database import Database
from db.encryption import ID_DIGITS, Sealer, sealed_with
from db.errors import UnsealingError
from db.heartbeats import all_processes
from db.schema import database_now, secret_keys, secrets, webhooks

# How long a message may carry what was sealed, after the last process ceased to seal with a key, in seconds.
MESSAGE_S: Final = 3600.0
# Rows that are sealed anew in one transaction, so that other writers do not wait long.
_BATCH: Final = 100


@dataclass(frozen=True, kw_only=True)
class _Place:
    """A column of sealed texts."""

    table: Table
    sealed: Column[Any]
    bound_to: Column[Any]

    def rows(self) -> Select[Any]:
        """Return the query of all its texts."""
        query = select(self.table.c.id, self.sealed.label("sealed"), self.bound_to.label("bound_to"))
        return query.where(self.sealed.is_not(None)).order_by(self.table.c.id)

    def mark(self) -> ColumnElement[str]:
        """Return what of a text is the id of its key and a colon, if it has them."""
        return func.substr(self.sealed, 1, ID_DIGITS + 1)


_PLACES: Final = (
    _Place(table=secrets, sealed=secrets.c.sealed, bound_to=secrets.c.bound_to),
    _Place(table=webhooks, sealed=webhooks.c.sealed, bound_to=webhooks.c.bound_to),
    _Place(table=webhooks, sealed=webhooks.c.old_sealed, bound_to=webhooks.c.old_bound_to),
)


@dataclass(frozen=True, kw_only=True)
class Resealed:
    """Result of sealing anew."""

    # Texts that were sealed with the new key.
    count: int
    # Texts that could not be opened and stay as they are, by the id of the missing key; None: no key opens them.
    unopened: Counter[str | None]


def note_sealing(connection: Connection, ids: Sequence[str]) -> None:
    """Note that a process begins or ceases now to seal with these keys."""
    for one in sorted(set(ids)):
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        statement = dialect.insert(secret_keys).values(key_id=one, last_sealing_epoch=database_now())
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=[secret_keys.c.key_id], set_={"last_sealing_epoch": database_now()}
            )
        )


def sealing_ages(connection: Connection) -> dict[str, float]:
    """Return for each key how many seconds ago a process sealed with it last; 0 for one that may do so now."""
    now = database_now()
    query = select(secret_keys.c.key_id, (now - secret_keys.c.last_sealing_epoch).label("age_s"))
    ages = {row.key_id: float(row.age_s) for row in connection.execute(query)}
    for process in all_processes(connection):
        if process["key_ids"]:
            used = process["key_ids"][0]
            age = 0.0 if process["alive"] else float(process["age_s"])
            ages[used] = min(age, ages.get(used, age))
    # A moment of the future was written before the database's clock was set back.
    return {one: max(0.0, age) for one, age in ages.items()}


def needed_keys(connection: Connection, sealer: Sealer) -> Counter[str | None]:
    """Return how many texts need each key, by its id; None: texts that no key can open any more.

    Of a key that `sealer` lacks, the id that the text carries is believed.
    """
    found: Counter[str | None] = Counter()
    for place in _PLACES:
        found.update(_needed_key(sealer, row) for row in connection.execute(place.rows()))
    return found


def _needed_key(sealer: Sealer, row: Any) -> str | None:
    opening, marked = sealer.opening_key(row.sealed, bound_to=row.bound_to), sealed_with(row.sealed)
    # One that was altered is opened by no key, whatever it says.
    return opening or (marked if marked not in sealer.key_ids else None)


def reseal(database: Database, sealer: Sealer) -> Resealed:
    """Seal everything anew that the first key has not sealed, a few rows at a time, while the service runs.

    A text that changes meanwhile is left alone. When this is interrupted, a repeat goes on with what is left.
    """
    new, total, unopened = sealer.key_ids[0], 0, Counter[str | None]()
    for place in _PLACES:
        last = 0
        while True:
            with database.write() as connection:
                pending = place.rows().where(place.mark() != f"{new}:", place.table.c.id > last).limit(_BATCH)
                rows = connection.execute(pending).all()
                for row, sealed in _sealed_anew(sealer, rows, unopened):
                    unchanged = (place.table.c.id == row.id) & (place.sealed == row.sealed)
                    total += connection.execute(
                        update(place.table).where(unchanged).values({place.sealed.name: sealed})
                    ).rowcount
            if not rows:
                break
            last = rows[-1].id
    return Resealed(count=total, unopened=unopened)


def _sealed_anew(sealer: Sealer, rows: Sequence[Any], unopened: Counter[str | None]) -> Iterator[tuple[Any, str]]:
    for row in rows:
        try:
            secret = sealer.open(row.sealed, bound_to=row.bound_to)
        except UnsealingError:
            unopened[_needed_key(sealer, row)] += 1
        else:
            yield row, sealer.seal(secret, bound_to=row.bound_to)
