"""Record, replace and forget the SSH host keys of subclouds.

Each change of a subcloud's keys locks its row first, so that of two workers that meet a new site at once one records
its key and the other compares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import RowMapping, select, update

from db.schema import subclouds
from db.site_records import doubt
from db.unit_of_work import UnitOfWork
from messages.event_types import HostKeyChanged, HostKeyForgotten, HostKeyRecorded
from messages.host_keys import HostKey, host_key_lines, stored_host_keys
from statemachine.host_keys import (
    HostKeyOrigin,
    HostKeyPolicy,
    HostKeyVerdict,
    RecordedHostKeys,
    classify_host_key,
)

_FORGOTTEN: Final[Mapping[str, None]] = {
    "host_keys": None,
    "host_keys_origin": None,
    "host_keys_at": None,
    "host_keys_version": None,
}


@dataclass(frozen=True, kw_only=True)
class HostKeyContact:
    """The key that the server at a site's address presented.

    Attributes:
        version: Software version of the site.

        is_verified: Whether the version was read at the site over verified TLS; otherwise the inventory's counts.
    """

    subcloud_id: int
    key: HostKey
    version: str
    is_verified: bool


@dataclass(frozen=True, kw_only=True)
class SettledHostKey:
    """The verdict on a presented key, and the keys that it was compared with."""

    verdict: HostKeyVerdict
    recorded: Sequence[HostKey]

    @property
    def is_accepted(self) -> bool:
        """Tell whether the site may be worked on."""
        return self.verdict in {HostKeyVerdict.MATCHES, HostKeyVerdict.RECORD, HostKeyVerdict.REPLACE}


def good_host_keys(row: Mapping[Any, Any], policy: HostKeyPolicy) -> tuple[HostKey, ...]:
    """Return the recorded keys of a subcloud that count; `row` has its `host_keys` and `host_keys_origin`.

    Where only given keys are good, those of a first contact in an earlier time do not count.
    """
    if policy is HostKeyPolicy.STRICT and row["host_keys_origin"] != HostKeyOrigin.GIVEN:
        return ()
    return stored_host_keys(row["host_keys"])


def settle(work: UnitOfWork, contact: HostKeyContact, policy: HostKeyPolicy) -> SettledHostKey | None:
    """Compare a presented key with those recorded, and record it where the policy says so, all in this transaction.

    Returns None when the subcloud was removed meanwhile. A repeat with the same key changes nothing.
    """
    row = (
        work.connection.execute(select(subclouds).where(subclouds.c.id == contact.subcloud_id).with_for_update())
        .mappings()
        .one_or_none()
    )
    if row is None:
        return None
    recorded = stored_host_keys(row["host_keys"])
    trusted = contact.version if contact.is_verified else _declared_version(row)
    verdict = classify_host_key(
        contact.key.line,
        RecordedHostKeys(
            keys=[key.line for key in recorded],
            version=row["host_keys_version"],
            are_given=row["host_keys_origin"] == HostKeyOrigin.GIVEN,
        ),
        trusted_version=trusted,
        policy=policy,
    )
    if verdict is HostKeyVerdict.RECORD:
        _record(work, row["id"], [contact.key], HostKeyOrigin.FIRST_CONTACT, trusted)
        _emit_recorded(work, row["name"], [contact.key], HostKeyOrigin.FIRST_CONTACT)
    elif verdict is HostKeyVerdict.REPLACE:
        _record(work, row["id"], [contact.key], HostKeyOrigin.REINSTALLED, trusted)
    elif verdict is HostKeyVerdict.MATCHES and trusted not in {None, row["host_keys_version"]}:
        # The site kept its key over a change of version: a later change of the key has no reinstallation to explain it.
        work.connection.execute(update(subclouds).where(subclouds.c.id == row["id"]).values(host_keys_version=trusted))
    if verdict in {HostKeyVerdict.REPLACE, HostKeyVerdict.CHANGED}:
        doubt(work.connection, [row["id"]])
        work.emit(
            "subcloud.host-key-changed",
            f"subcloud/{row['name']}",
            HostKeyChanged(
                recorded=[key.description for key in recorded],
                presented=contact.key.description,
                accepted=verdict is HostKeyVerdict.REPLACE,
                software_version=contact.version,
            ),
        )
    return SettledHostKey(verdict=verdict, recorded=recorded)


def give_host_keys(work: UnitOfWork, row: RowMapping, keys: Sequence[HostKey]) -> bool:
    """Record the keys that the operator gave in place of what a subcloud has; False: it has exactly these already.

    `row` is the subcloud's, read in this transaction.
    """
    if set(stored_host_keys(row["host_keys"])) == set(keys) and row["host_keys_origin"] == HostKeyOrigin.GIVEN:
        return False
    _record(work, row["id"], keys, HostKeyOrigin.GIVEN, _declared_version(row))
    doubt(work.connection, [row["id"]])
    _emit_recorded(work, row["name"], keys, HostKeyOrigin.GIVEN)
    return True


def forget_host_keys(work: UnitOfWork, row: RowMapping) -> bool:
    """Forget the keys of a subcloud; False: it has none. Its next precheck is a first contact."""
    keys = stored_host_keys(row["host_keys"])
    if not keys:
        return False
    work.connection.execute(update(subclouds).where(subclouds.c.id == row["id"]).values(_FORGOTTEN))
    doubt(work.connection, [row["id"]])
    work.emit(
        "subcloud.host-key-forgotten",
        f"subcloud/{row['name']}",
        HostKeyForgotten(keys=[key.description for key in keys]),
    )
    return True


def new_host_key_columns(work: UnitOfWork, name: str, keys: Sequence[HostKey], version: str | None) -> dict[str, Any]:
    """Return the columns of a new subcloud for which the operator gave these keys, or none."""
    if not keys:
        return dict(_FORGOTTEN)
    _emit_recorded(work, name, keys, HostKeyOrigin.GIVEN)
    return _columns(keys, HostKeyOrigin.GIVEN, version, work.at)


def _declared_version(row: RowMapping) -> str | None:
    """Return the version that an administrator declared for a site; one that anybody else declared proves nothing."""
    return str(row["software_version"]) if row["version_by_administrator"] else None


def _record(
    work: UnitOfWork,
    row_id: int,
    keys: Sequence[HostKey],
    origin: HostKeyOrigin,
    version: str | None,
) -> None:
    work.connection.execute(
        update(subclouds).where(subclouds.c.id == row_id).values(_columns(keys, origin, version, work.at))
    )


def _columns(keys: Sequence[HostKey], origin: HostKeyOrigin, version: str | None, at: datetime) -> dict[str, Any]:
    return {
        "host_keys": host_key_lines(keys),
        "host_keys_origin": origin,
        "host_keys_at": at,
        "host_keys_version": version,
    }


def _emit_recorded(work: UnitOfWork, name: str, keys: Sequence[HostKey], origin: HostKeyOrigin) -> None:
    work.emit(
        "subcloud.host-key-recorded",
        f"subcloud/{name}",
        HostKeyRecorded(keys=[key.description for key in keys], reason=origin),
    )
