"""Which keys the database needs, and sealing anew."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, event, insert, select, update

from db.database import Database
from db.encryption import Sealer, key_id, sealed_with
from db.heartbeats import ProcessIdentity, ProcessReport, register_process
from db.migrate import downgrade, upgrade
from db.schema import database_now, heartbeats, secret_keys, secrets, webhooks
from db.secret_keys import needed_keys, note_sealing, reseal, sealing_ages

OLD, NEW, LOST = b"o" * 32, b"n" * 32, b"l" * 32
OLD_ID, NEW_ID, LOST_ID = map(key_id, (OLD, NEW, LOST))
BOTH = Sealer(NEW, OLD)
AT = datetime(2026, 11, 28, tzinfo=UTC)


def unmarked(key: bytes, secret: str, bound_to: str) -> str:
    """Return a secret as it was sealed before keys had ids."""
    nonce = b"0" * 12
    return b64encode(nonce + AESGCM(key).encrypt(nonce, secret.encode(), bound_to.encode())).decode()


def add_secret(connection: Connection, sealed: str, bound_to: str = "c") -> int:
    """Keep a sealed text that no strategy owns."""
    values = {"sealed": sealed, "bound_to": bound_to, "created_at": AT}
    return int(connection.execute(insert(secrets).values(**values).returning(secrets.c.id)).scalar_one())


def add_webhook(connection: Connection, name: str, sealer: Sealer, *, old: Sealer | None = None) -> None:
    """Add a webhook, perhaps with the secret of before."""
    connection.execute(
        insert(webhooks).values(
            name=name,
            url="https://x/",
            types=[],
            enabled=True,
            disabled_reason="",
            sealed=sealer.seal(f"{name} now", bound_to="w"),
            bound_to="w",
            old_sealed=None if old is None else old.seal(f"{name} before", bound_to="v"),
            old_bound_to=None if old is None else "v",
            cursor=0,
            created_at=AT,
        )
    )


def opened(connection: Connection) -> list[str]:
    """Return every secret that can be opened."""
    found = [BOTH.open(row.sealed, bound_to=row.bound_to) for row in connection.execute(select(secrets))]
    for row in connection.execute(select(webhooks)):
        found.append(BOTH.open(row.sealed, bound_to=row.bound_to))
        if row.old_sealed:
            found.append(BOTH.open(row.old_sealed, bound_to=row.old_bound_to))
    return sorted(found)


def test_everything_is_sealed_anew(database: Database) -> None:
    """Passwords and both secrets of webhooks are sealed with the first key, and hold what they held."""
    with database.write() as connection:
        add_secret(connection, Sealer(OLD).seal("marked", bound_to="c"))
        add_secret(connection, unmarked(OLD, "unmarked", "c"))
        add_secret(connection, Sealer(NEW).seal("new", bound_to="c"))
        add_webhook(connection, "a", Sealer(OLD), old=Sealer(OLD))
        add_webhook(connection, "b", Sealer(NEW), old=Sealer(OLD))
        before = opened(connection)

    done = reseal(database, BOTH)
    again = reseal(database, BOTH)

    with database.read() as connection:
        assert before == opened(connection)
        assert Counter({NEW_ID: 7}) == needed_keys(connection, BOTH)
    assert (5, Counter(), 0) == (done.count, done.unopened, again.count)


def test_more_than_one_batch(database: Database) -> None:
    """Many secrets are sealed anew in several transactions, each once."""
    with database.write() as connection:
        for number in range(250):
            add_secret(connection, Sealer(OLD).seal(str(number), bound_to="c"))
    commits = []
    event.listen(database.writer_engine, "commit", commits.append)

    assert 250 == reseal(database, BOTH).count
    assert len(commits) > 3


def test_an_interruption_is_resumed(database: Database) -> None:
    """What was sealed anew before an interruption stays so, and a repeat does the rest."""
    with database.write() as connection:
        for number in range(250):
            add_secret(connection, Sealer(OLD).seal(str(number), bound_to="c"))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    commits: list[object] = []

    def second(connection: object) -> None:
        commits.append(connection)
        if len(commits) == 2:
            interrupt()

    event.listen(database.writer_engine, "commit", second)
    with pytest.raises(KeyboardInterrupt):
        reseal(database, BOTH)
    event.remove(database.writer_engine, "commit", second)

    with database.read() as connection:
        left = needed_keys(connection, BOTH)[OLD_ID]
    assert 0 < left < 250
    assert left == reseal(database, BOTH).count


def test_what_cannot_be_opened_stays(database: Database) -> None:
    """A text whose key is missing, or that was altered, stays as it is and is told by its key; others go on."""
    lost, altered = Sealer(LOST).seal("x", bound_to="c"), Sealer(OLD).seal("x", bound_to="other")
    with database.write() as connection:
        for sealed in (lost, altered, "no base64", Sealer(OLD).seal("good", bound_to="c")):
            add_secret(connection, sealed)

    done = reseal(database, BOTH)

    with database.read() as connection:
        kept = set(connection.execute(select(secrets.c.sealed)).scalars())
        needed = needed_keys(connection, BOTH)
    assert {lost, altered, "no base64"} < kept
    assert (1, Counter({LOST_ID: 1, None: 2})) == (done.count, done.unopened)
    assert Counter({NEW_ID: 1, LOST_ID: 1, None: 2}) == needed


# SQLite has one writer at a time: there nothing changes within a transaction.
@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_a_text_that_changes_meanwhile(database: Database) -> None:
    """A secret that is replaced while it is sealed anew keeps its new content."""
    with database.write() as connection:
        row = add_secret(connection, Sealer(OLD).seal("first", bound_to="c"))
    replaced = Sealer(OLD).seal("second", bound_to="c")

    class Meanwhile(Sealer):
        """Replaces the row between its reading and its writing."""

        def seal(self, secret: str, *, bound_to: str) -> str:
            with database.write() as connection:
                connection.execute(update(secrets).where(secrets.c.id == row).values(sealed=replaced))
            return super().seal(secret, bound_to=bound_to)

    done = reseal(database, Meanwhile(NEW, OLD))

    with database.read() as connection:
        assert (0, replaced) == (done.count, connection.execute(select(secrets.c.sealed)).scalar_one())


def process(number: int) -> ProcessIdentity:
    return ProcessIdentity(process=f"{number}@m/1", name=str(number), host="h", version="1", roles=("api",))


def test_when_a_key_sealed_last(connection: Connection) -> None:
    """A key that a living process has first seals now; one of a lost process sealed at its last heartbeat."""
    register_process(connection, process(1), ProcessReport(key_ids=("new", "old")))
    register_process(connection, process(2), ProcessReport(key_ids=("lost", "new")))
    connection.execute(update(heartbeats).where(heartbeats.c.name == "2").values(seen_epoch=database_now() - 500.0))
    note_sealing(connection, ["old", "lost"])
    note_sealing(connection, ["old"])
    connection.execute(update(secret_keys).values(last_sealing_epoch=database_now() - 1000.0))

    ages = sealing_ages(connection)

    assert {"new": 0.0, "old": pytest.approx(1000, abs=5), "lost": pytest.approx(500, abs=5)} == ages


def test_an_older_program_opens_what_is_sealed(database: Database) -> None:
    """Going down takes the ids out of sealed texts, so that the program of before opens them; going up keeps them."""
    with database.write() as connection:
        add_secret(connection, Sealer(OLD).seal("marked", bound_to="c"))
        add_secret(connection, unmarked(OLD, "unmarked", "c"))
        add_webhook(connection, "a", Sealer(OLD), old=Sealer(OLD))
        before = opened(connection)

    downgrade(database, "0006")
    with database.read() as connection:
        texts = [*connection.execute(select(secrets.c.sealed)).scalars()]
        texts += connection.execute(select(webhooks.c.sealed, webhooks.c.old_sealed)).one()
    upgrade(database)

    assert [None] * 4 == [sealed_with(text) for text in texts]
    assert not [text for text in texts if ":" in text]
    with database.read() as connection:
        assert before == opened(connection)
