"""Rules about the order in which secret keys are brought in and taken out, judged by what all processes reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from db.read_queries import Row
from db.secret_keys import MESSAGE_S


def promotion_obstacles(processes: Sequence[Row], key: str) -> list[str]:
    """Return why a key may not seal yet: a sentence for each living process that could not open what it seals."""
    return [
        f"{_name(process)} does not know key {key}: add it at the end of that process's key file."
        for process in processes
        if process["alive"] and key not in process["key_ids"]
    ]


def rotation_obstacles(processes: Sequence[Row], key: str) -> list[str]:
    """Return why not everything may be sealed with a key yet: a sentence for each living process in the way."""
    found = promotion_obstacles(processes, key)
    found += [
        f"{_name(process)} still seals with key {process['key_ids'][0]}: make {key} the first line of its key file."
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
        f"{_name(process)} seals with it: make another key the first line of its key file."
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


def _name(process: Row) -> str:
    return f"{process['role']} {process['name']} on {process['host']}"
