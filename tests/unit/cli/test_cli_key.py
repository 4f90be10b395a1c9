"""`prestager key`."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from cli.key_commands import promotion_obstacles, removal_obstacles, rotation_obstacles
from db.database import Database
from db.encryption import Sealer, key_id, sealed_with
from db.heartbeats import ProcessIdentity, ProcessReport, register_process, write_heartbeat
from db.schema import database_now, heartbeats, secret_keys, secrets
from db.secret_keys import note_sealing

A, B, C = (bytes([number]) * 32 for number in (1, 2, 3))
A_ID, B_ID, C_ID = map(key_id, (A, B, C))


@pytest.fixture
def keys(data_dir: Path, database: Database) -> Path:
    """Give the key file of an installation that has one key."""
    path = data_dir / "secret.key"
    path.write_text(b64encode(A).decode())
    return path


def put(path: Path, *keys: bytes) -> None:
    """Write keys by hand."""
    path.write_text("".join(f"{b64encode(key).decode()}\n" for key in keys))


def report(database: Database, name: str, *ids: str) -> None:
    """Have a process report which keys it knows."""
    identity = ProcessIdentity(process=f"{name}@m/1", name=name, host="h", version="1", roles=("worker",))
    with database.write() as connection:
        if not write_heartbeat(connection, identity, ProcessReport(key_ids=ids)):
            register_process(connection, identity, ProcessReport(key_ids=ids))


def seal(database: Database, key: bytes, secret: str = "pw") -> None:
    """Keep a password."""
    with database.write() as connection:
        sealed = Sealer(key).seal(secret, bound_to="c")
        connection.execute(insert(secrets).values(sealed=sealed, bound_to="c", created_at=datetime.now(UTC)))


def used(database: Database) -> list[str | None]:
    """Return with which key each secret is sealed."""
    with database.read() as connection:
        return [sealed_with(one) for one in connection.execute(select(secrets.c.sealed)).scalars()]


def an_hour_later(database: Database) -> None:
    """Make the last sealing of every key older than any message."""
    with database.write() as connection:
        connection.execute(update(secret_keys).values(last_sealing_epoch=database_now() - 3601.0))


def test_a_key_is_replaced_in_order(prestager, keys: Path, database: Database) -> None:
    """A new key is added at the end, made the first, everything is sealed anew, and the old key is removed."""
    seal(database, A)
    report(database, "w", A_ID)

    new = prestager("key", "add").out.strip()
    report(database, "w", A_ID, new)
    promoted = prestager("key", "promote", new)
    report(database, "w", new, A_ID)
    rotated = prestager("key", "rotate")
    removed = prestager("key", "remove", A_ID)

    assert [0, 0, 0] == [promoted.code, rotated.code, removed.code], (promoted.err, rotated.err, removed.err)
    assert f"Secrets sealed anew with key {new}: 1." in rotated.out
    assert [new] == used(database)
    assert 1 == len(keys.read_text().split())


def test_no_key_is_ever_printed(prestager, keys: Path, database: Database) -> None:
    """Commands print ids only."""
    seal(database, A)
    said = [prestager("key", *words) for words in (["add"], ["list"], ["remove", A_ID], ["rotate"], ["promote", B_ID])]

    for key in keys.read_text().split():
        assert not [one for one in said if key in one.out + one.err]


def test_a_key_that_not_all_know_does_not_seal(prestager, keys: Path, database: Database) -> None:
    """A key is not made the first while a living process could not open what it seals; nothing is changed."""
    put(keys, A, B)
    report(database, "one", A_ID, B_ID)
    report(database, "two", A_ID)
    before = keys.read_text()

    ended = prestager("key", "promote", B_ID)

    assert 1 == ended.code
    assert f"worker two on h does not know key {B_ID}" in ended.err
    assert "worker one" not in ended.err
    assert before == keys.read_text()


@pytest.mark.parametrize(
    ("reported", "sentence"),
    [([A_ID], "does not know key"), ([A_ID, B_ID], f"still seals with key {A_ID}"), ([], "does not know key")],
)
def test_rotation_out_of_order(prestager, keys: Path, database: Database, reported: list[str], sentence: str) -> None:
    """Nothing is sealed anew while a living process lacks the new key, or seals with another."""
    put(keys, B, A)
    seal(database, A)
    report(database, "two", *reported)

    ended = prestager("key", "rotate")

    assert (1, True) == (ended.code, sentence in ended.err), ended.err
    assert [A_ID] == used(database)


def test_a_lost_process_is_no_obstacle(prestager, keys: Path, database: Database) -> None:
    """A process that is lost holds nothing up, but is told."""
    put(keys, B, A)
    seal(database, A)
    report(database, "gone", A_ID)
    with database.write() as connection:
        connection.execute(update(heartbeats).values(seen_epoch=database_now() - 100))

    ended = prestager("key", "rotate")

    assert (0, [B_ID]) == (ended.code, used(database))
    assert f"worker gone is lost and did not know key {B_ID}" in ended.err


def test_rotation_with_a_missing_key(prestager, keys: Path, database: Database) -> None:
    """What cannot be opened is told by the id of its key, after everything else was sealed anew."""
    put(keys, B, A)
    seal(database, C)
    seal(database, A)

    ended = prestager("key", "rotate")

    assert 1 == ended.code
    assert f"Secrets that need key {C_ID}, which is not in the key file here" in ended.err
    assert [C_ID, B_ID] == used(database)


def test_rotation_twice(prestager, keys: Path, database: Database) -> None:
    """When nothing is left a repeat says so."""
    seal(database, A)

    assert f"Secrets sealed anew with key {A_ID}: 0." in prestager("key", "rotate").out


class TestRemoval:
    def test_the_sealing_key(self, prestager, keys: Path, database: Database) -> None:
        """The first key is not removed."""
        put(keys, A, B)

        ended = prestager("key", "remove", A_ID)

        assert (1, True) == (ended.code, f"Key {A_ID} seals." in ended.err)

    def test_a_secret_needs_it(self, prestager, keys: Path, database: Database) -> None:
        """A key that something is sealed with stays."""
        put(keys, B, A)
        seal(database, A)

        ended = prestager("key", "remove", A_ID)

        assert (1, True) == (ended.code, "Secrets in the database that are sealed with it: 1." in ended.err)
        assert 2 == len(keys.read_text().split())

    def test_a_process_seals_with_it(self, prestager, keys: Path, database: Database) -> None:
        """A key that a living process seals with stays."""
        put(keys, B, A)
        report(database, "w", A_ID, B_ID)

        ended = prestager("key", "remove", A_ID)

        assert (1, True) == (ended.code, "worker w on h seals with it" in ended.err)

    @pytest.mark.parametrize("was_lost", [True, False])
    def test_a_message_may_need_it(self, prestager, keys: Path, database: Database, was_lost: bool) -> None:
        """A key that a process, alive or lost, has sealed with within the last hour stays."""
        put(keys, B, A)
        report(database, "w", *((A_ID, B_ID) if was_lost else (B_ID, A_ID)))
        with database.write() as connection:
            if was_lost:
                connection.execute(update(heartbeats).values(seen_epoch=database_now() - 60))
            else:
                note_sealing(connection, [A_ID])

        refused = prestager("key", "remove", A_ID)

        assert (1, True) == (refused.code, "A message of the last hour may be sealed with it" in refused.err)
        assert 2 == len(keys.read_text().split())

    def test_after_an_hour(self, prestager, keys: Path, database: Database) -> None:
        """An hour after the last sealing nothing needs the key any more."""
        put(keys, B, A)
        with database.write() as connection:
            note_sealing(connection, [A_ID])
        an_hour_later(database)

        assert 0 == prestager("key", "remove", A_ID).code
        assert [b64encode(B).decode()] == keys.read_text().split()

    def test_an_unknown_key(self, prestager, keys: Path, database: Database) -> None:
        """A key that is not in the file is told."""
        ended = prestager("key", "remove", C_ID)

        assert (1, True) == (ended.code, f"There is no key {C_ID}" in ended.err)


def test_the_list(prestager, keys: Path, database: Database) -> None:
    """The list shows each key's place, what needs it, who knows it, and keys that are missing here."""
    put(keys, B, A)
    seal(database, A)
    seal(database, C)
    report(database, "w", A_ID)

    lines = prestager("key", "list").out.splitlines()[1:]

    assert [[B_ID, "seals", "0"], [A_ID, "opens", "1"], [C_ID, "missing", "1"]] == [line.split()[:3] for line in lines]
    assert "0 of 1 know it" in lines[0]
    assert "1 of 1 know it, 1 seal with it  now" in lines[1]


def test_keys_in_the_environment(prestager, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of PRESTAGER_SECRET_KEY are listed and rotated, but no command changes the variable."""
    monkeypatch.setenv("PRESTAGER_SECRET_KEY", f"{b64encode(B).decode()},{b64encode(A).decode()}")
    seal(database, A)

    assert 0 == prestager("key", "rotate").code
    assert [B_ID] == used(database)
    for words in (["add"], ["promote", A_ID], ["remove", A_ID]):
        ended = prestager("key", *words)
        assert (1, True) == (ended.code, "PRESTAGER_SECRET_KEY" in ended.err)


def test_the_doctor_misses_a_key(prestager, keys: Path, database: Database) -> None:
    """A key that secrets need and that is not here is a failure; one that is only not the first, a warning."""
    put(keys, B, A)
    seal(database, C)
    seal(database, A)

    lines = [line for line in prestager("doctor").out.splitlines() if "secret keys" in line]

    assert [line for line in lines if line.startswith("fail") and C_ID in line]
    assert [line for line in lines if line.startswith("warn") and "prestager key rotate" in line]


def test_only_the_living_count() -> None:
    """Rules of the order look at living processes only."""
    row = {"role": "api", "name": "n", "host": "h", "key_ids": ["x"], "alive": False}

    assert [] == promotion_obstacles([row], "y") + rotation_obstacles([row], "y")
    assert removal_obstacles([{**row, "alive": True}], Counter(), {}, "x")
