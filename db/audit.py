"""The audit of answered commands: caller, origin, subject and answer; never changed, deleted by age only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, cast
from uuid import uuid4

from sqlalchemy import Connection, insert, select

from db.read_queries import Row
from db.schema import audit
from messages.commands import Answer, Command, CommandType, ShellAction, WorkerAction
from messages.limits import TEXT_LENGTH


def record(connection: Connection, command: Command, answer: Answer, at: datetime, notes: Sequence[str] = ()) -> None:
    """Add an entry to the transaction that stores the answer. It holds no body and no secret.

    `notes` are sentences about what was changed; they stand where a refusal has its reason.
    """
    connection.execute(
        insert(audit).values(
            at=at,
            caller=command.requested_by,
            origin=command.origin,
            user_id=command.user_id or None,
            command_id=command.id,
            type=command.type,
            subject=command.subject and command.subject[:TEXT_LENGTH],
            status=answer.status,
            detail=answer.detail or "; ".join(notes),
        )
    )


def record_shell_action(
    connection: Connection, action: ShellAction, subjects: Sequence[str], *, caller: str, at: datetime
) -> None:
    """Add an entry for each subject that an operator changed from a shell, in the transaction of the change."""
    if subjects:
        _record_done(connection, action, subjects, caller=caller, origin="", at=at)


def record_worker_action(  # noqa: PLR0913 - all of an entry
    connection: Connection, action: WorkerAction, worker: str, *, caller: str, origin: str, at: datetime
) -> None:
    """Add an entry for a worker that has done what a caller of the API asked it."""
    _record_done(connection, action, [worker], caller=caller, origin=origin, at=at)


def _record_done(  # noqa: PLR0913 - all of an entry
    connection: Connection, action: str, subjects: Sequence[str], *, caller: str, origin: str, at: datetime
) -> None:
    entry = {
        "at": at,
        "caller": caller,
        "origin": origin,
        "command_id": str(uuid4()),
        "type": action,
        "status": HTTPStatus.OK,
        "detail": "",
    }
    connection.execute(insert(audit), [{**entry, "subject": subject[:TEXT_LENGTH]} for subject in subjects])


_STANDALONE: Final = (CommandType.SUBCLOUD_PRESTAGE, CommandType.SUBCLOUD_UNSTAGE)


def callers_of_standalone(connection: Connection, steps: Iterable[Row]) -> dict[int, str]:
    """Return who asked for steps of no strategy, by the ids of the steps, as far as the audit is kept.

    A step and the entry of its command have the same moment, for one transaction writes both.
    """
    # As a command names its subcloud: by name or by id.
    wanted = {
        (_utc(row["created_at"]), name): row["id"]
        for row in steps
        for name in (row["subcloud_name"], str(row["subcloud_id"]))
    }
    query = select(audit.c.at, audit.c.subject, audit.c.caller).where(
        audit.c.at.in_({at for at, _ in wanted}), audit.c.type.in_(_STANDALONE), audit.c.status == HTTPStatus.OK
    )
    entries_found = connection.execute(query).all() if wanted else []
    return {wanted[_utc(at), name]: caller for at, name, caller in entries_found if (_utc(at), name) in wanted}


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


@dataclass(frozen=True, kw_only=True)
class AuditFilter:
    """Filter of audit entries; None matches all."""

    since: datetime | None = None
    caller: str | None = None
    type: str | None = None


def entries(connection: Connection, wanted: AuditFilter, *, before: int | None, limit: int) -> list[Row]:
    """Return the newest entries, at most `limit`, with ids below `before`."""
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    conditions: dict[Any, Any] = {audit.c.caller: wanted.caller, audit.c.type: wanted.type}
    for column, value in conditions.items():
        if value is not None:
            query = query.where(column == value)
    if wanted.since is not None:
        query = query.where(audit.c.at >= wanted.since)
    if before is not None:
        query = query.where(audit.c.id < before)
    return cast("list[Row]", connection.execute(query).mappings().all())
