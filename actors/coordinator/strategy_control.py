"""Hold, change and cancel the strategy and its steps."""

from __future__ import annotations

from typing import NoReturn

from actors.coordinator.context import CommandContext
from actors.coordinator.errors import unprocessable
from messages.commands import Command


def pause_strategy(context: CommandContext, command: Command) -> NoReturn:
    """Refuse to hold the strategy."""
    _refuse(context, command)


def resume_strategy(context: CommandContext, command: Command) -> NoReturn:
    """Refuse to end the strategy's holds."""
    _refuse(context, command)


def cancel_strategy(context: CommandContext, command: Command) -> NoReturn:
    """Refuse to cancel the strategy."""
    _refuse(context, command)


def update_strategy(context: CommandContext, command: Command) -> NoReturn:
    """Refuse to change the strategy."""
    _refuse(context, command)


def hold_step(context: CommandContext, command: Command) -> NoReturn:
    """Refuse to hold a step."""
    _refuse(context, command)


def put_step_first(context: CommandContext, command: Command) -> NoReturn:
    """Refuse to put a step first."""
    _refuse(context, command)


def cancel_step(context: CommandContext, command: Command) -> NoReturn:
    """Refuse to cancel a step."""
    _refuse(context, command)


def _refuse(context: CommandContext, command: Command) -> NoReturn:
    del context
    raise unprocessable(f"{command.type} is not served by this version.")
