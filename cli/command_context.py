"""Carries a command of an operator out at once, by the handler that serves the API, and writes it into the audit."""

from __future__ import annotations

from getpass import getuser
from http import HTTPStatus
from typing import Any

from actors.coordinator.context import CommandContext, CoordinatorRules
from actors.coordinator.coordinator import Handler
from actors.coordinator.errors import CommandRefusedError
from db.audit import record
from db.database import Database
from db.unit_of_work import unit_of_work
from messages.commands import Answer, Command
from service.errors import CommandError
from sites.inspector import DeclaredInspector


def carry_out(database: Database, handler: Handler, command: Command) -> Any:
    """Return the body of the answer.

    Raises:
        CommandError: It was refused; nothing was changed.
    """
    asked = command.model_copy(update={"requested_by": shell_caller()})
    with unit_of_work(database, as_coordinator=True) as work:
        context = CommandContext(
            work=work,
            rules=CoordinatorRules(release=None),
            inspector=DeclaredInspector(),
        )
        answer = _handled(context, handler, asked)
        record(work.connection, asked, answer, work.at)
    if answer.status != HTTPStatus.OK:
        raise CommandError(f"{answer.detail.removesuffix('.')}.")
    return answer.body


def _handled(context: CommandContext, handler: Handler, command: Command) -> Answer:
    try:
        with context.work.savepoint():
            body = handler(context, command)
    except CommandRefusedError as refusal:
        return Answer(status=refusal.status, detail=refusal.detail)
    return Answer(status=HTTPStatus.OK, body=body)


def shell_caller() -> str:
    """Return what the audit calls an operator who runs a command on this machine, such as `shell/root`."""
    try:
        return f"shell/{getuser()}"
    except (KeyError, OSError):
        # A container may have no name for its user.
        return "shell/unknown"
