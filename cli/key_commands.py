"""`prestager key`: list, add, promote, rotate and remove the secret keys that seal passwords."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import typer

from cli.installation import checked_database, installation_sealer
from client.output import Output, OutputFormat, ShownField, print_records
from db.database import Database
from db.encryption import KEY_BYTES, Sealer, key_id
from db.heartbeats import all_processes
from db.read_queries import Row
from db.secret_keys import MESSAGE_S, needed_keys, reseal, sealing_ages
from service.errors import CommandError
from service.key_file import KeyFile, write_keys
from service.load_settings import read_settings
from service.settings import Settings

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the key: see `prestager key list`.")]

_NO_KEY: Final = "no key"


_FIELDS: Final = tuple(
    ShownField(key=key, title=title)
    for key, title in (
        ("id", "id"),
        ("here", "here"),
        ("secrets", "secrets"),
        ("processes", "processes"),
        ("last-sealed", "last sealed"),
    )
)


def list_keys(output: Output = OutputFormat.TABLE) -> None:
    """List the keys by their ids: their place in the file here, what needs them, and which processes know them."""
    settings = read_settings()
    sealer = installation_sealer(settings)
    with checked_database(settings) as database, database.read() as connection:
        processes, ages = all_processes(connection), sealing_ages(connection)
        needed = needed_keys(connection, sealer)
    living = [process for process in processes if process["alive"]]
    known = dict.fromkeys([*sealer.key_ids, *filter(None, needed), *(one for row in living for one in row["key_ids"])])
    lines = [_line(one, sealer.key_ids, needed, living, ages.get(one)) for one in known]
    if needed[None]:
        lines.append((_NO_KEY, "opens", needed[None], "", ""))
    keys = [field.key for field in _FIELDS]
    print_records([dict(zip(keys, line, strict=True)) for line in lines], _FIELDS, output, "id")


def add() -> None:
    """Make a new key at the end of the key file, where it opens and does not seal yet, and print its id.

    Bring the file to every other machine of the installation, then make the new key the first: prestager key promote
    """
    file = _key_file(read_settings())
    new = os.urandom(KEY_BYTES)
    _write(file, [*file.read(), new])
    typer.echo(key_id(new))
    typer.echo(f"Bring {file.path} to every machine, then: prestager key promote {key_id(new)}", err=True)


def promote(key: Id) -> None:
    """Make a key of the file here the first one, which seals; refused while a living process does not know it."""
    settings = read_settings()
    file = _key_file(settings)
    keys = _found(file, key)
    with checked_database(settings) as database:
        _refuse(f"Key {key} may not seal yet.", promotion_obstacles(_processes(database), key))
    chosen = [one for one in keys if key_id(one) == key]
    _write(file, [*chosen, *(one for one in keys if one not in chosen)])
    typer.echo(f"Key {key} seals from now on. Do the same on every machine, then: prestager key rotate")


def rotate() -> None:
    """Seal with the first key whatever another key has sealed; the service may run, and a repeat goes on.

    Refused while a living process does not know that key, or still seals with another one. Processes report their
    keys every 10 s.
    """
    settings = read_settings()
    sealer = installation_sealer(settings)
    new = sealer.key_ids[0]
    with checked_database(settings) as database:
        processes = _processes(database)
        _refuse(f"Nothing was sealed with key {new} yet.", rotation_obstacles(processes, new))
        done = reseal(database, sealer)
    typer.echo(f"Secrets sealed anew with key {new}: {done.count}.")
    for process in processes:
        if not process["alive"] and new not in process["key_ids"]:
            typer.echo(f"{process['role']} {process['name']} is lost and did not know key {new}.", err=True)
    if done.unopened:
        raise CommandError("Some secrets stay as they are.", _unopened(done.unopened))


def remove(key: Id) -> None:
    """Remove a key from the key file here; refused while a process, a secret, or a message of the last hour needs it.

    Do so on every machine.
    """
    settings = read_settings()
    file = _key_file(settings)
    keys = _found(file, key)
    if key_id(keys[0]) == key:
        raise CommandError(f"Key {key} seals. Make another one the first: prestager key promote ID")
    with checked_database(settings) as database, database.read() as connection:
        needed = needed_keys(connection, Sealer(*keys))
        obstacles = removal_obstacles(all_processes(connection), needed, sealing_ages(connection), key)
    _refuse(f"Key {key} is still needed and stays.", obstacles)
    _write(file, [one for one in keys if key_id(one) != key])
    typer.echo(f"Key {key} is removed from {file.path}. Do the same on every machine.")


def _key_file(settings: Settings) -> KeyFile:
    if settings.secret_key is not None:
        raise CommandError(
            "The keys are in PRESTAGER_SECRET_KEY, which no command changes: set it anew with the keys in the order"
            " that you want, separated by commas, and start the processes anew. `prestager key list` and"
            " `prestager key rotate` work all the same."
        )
    installation_sealer(settings)
    return KeyFile(settings.key_path)


def _found(file: KeyFile, key: str) -> tuple[bytes, ...]:
    keys = file.read()
    if key not in map(key_id, keys):
        raise CommandError(f"There is no key {key} in {file.path}. List them: prestager key list")
    return keys


def _write(file: KeyFile, keys: Sequence[bytes]) -> None:
    try:
        write_keys(file.path, keys)
    except OSError as error:
        raise CommandError(
            f"Nothing stands in the way, but this user may not write {file.path}: {error.strerror}. Run the command as"
            " the file's owner, or edit its lines by hand."
        ) from error


def _processes(database: Database) -> list[Row]:
    with database.read() as connection:
        return all_processes(connection)


def _refuse(sentence: str, obstacles: list[str]) -> None:
    if obstacles:
        raise CommandError(sentence, obstacles)


def _unopened(counts: Counter[str | None]) -> list[str]:
    return [
        f"Secrets that no key opens, for they were altered or belong to another installation: {count}."
        if one is None
        else f"Secrets that need key {one}, which is not in the key file here; put it back at the end: {count}."
        for one, count in counts.items()
    ]


def _line(
    key: str, here: Sequence[str], needed: Counter[str | None], living: Sequence[Row], age_s: float | None
) -> tuple[str | int, ...]:
    place = "missing" if key not in here else "seals" if key == here[0] else "opens"
    knowing = sum(key in process["key_ids"] for process in living)
    sealing = sum(process["key_ids"][:1] == [key] for process in living)
    last = "" if age_s is None else "now" if not age_s else f"{age_s / 60:.0f} min ago"
    return key, place, needed[key], f"{knowing} of {len(living)} know it, {sealing} seal with it", last


def promotion_obstacles(processes: Sequence[Row], key: str) -> list[str]:
    """Return why a key may not seal yet: a sentence for each living process that could not open what it seals."""
    return [
        f"{_title(process)} does not know key {key}: add it at the end of that process's key file."
        for process in processes
        if process["alive"] and key not in process["key_ids"]
    ]


def rotation_obstacles(processes: Sequence[Row], key: str) -> list[str]:
    """Return why not everything may be sealed with a key yet: a sentence for each living process in the way."""
    found = promotion_obstacles(processes, key)
    found += [
        f"{_title(process)} still seals with key {process['key_ids'][0]}: make {key} the first line of its key file."
        for process in processes
        if process["alive"] and key in process["key_ids"] and process["key_ids"][0] != key
    ]
    return found


def removal_obstacles(
    processes: Sequence[Row], needed: Counter[str | None], ages: Mapping[str, float], key: str
) -> list[str]:
    """Return why a key must stay: a sentence for each process, row and message that needs it.

    Args:
        processes: all that reported themselves.

        needed: how many sealed texts of the database need each key.

        ages: seconds since a process sealed with each key last.

        key: id of the key to be removed.
    """
    found = [
        f"{_title(process)} seals with it: make another key the first line of its key file."
        for process in processes
        if process["alive"] and process["key_ids"][:1] == [key]
    ]
    if needed[key]:
        found.append(f"Secrets in the database that are sealed with it: {needed[key]}. Run: prestager key rotate")
    age = ages.get(key)
    # Of one that still seals it is said above.
    if not found and age is not None and age < MESSAGE_S:
        minutes = int((MESSAGE_S - age) // 60) + 1
        found.append(f"A message of the last hour may be sealed with it. Try again in {minutes} min.")
    return found


def _title(process: Row) -> str:
    return f"{process['role']} {process['name']} on {process['host']}"
