"""The audit of answered commands: caller, origin, subject and answer; never changed, deleted by age only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, cast
from uuid import uuid4

from sqlalchemy import Connection, insert, select

from db.read_queries import Row
from db.schema import audit
from messages.commands import Answer, Command, ShellAction
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
    if not subjects:
        return
    entry = {
        "at": at,
        "caller": caller,
        "origin": "",
        "command_id": str(uuid4()),
        "type": action,
        "status": HTTPStatus.OK,
        "detail": "",
    }
    connection.execute(insert(audit), [{**entry, "subject": subject[:TEXT_LENGTH]} for subject in subjects])


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
