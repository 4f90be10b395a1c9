"""`prestager controller`: what the operator declares of the system controller."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from cli.installation import checked_database
from db.inventory import declare_upgrading, declared_upgrading


class UpgradingAction(StrEnum):
    """Actions on the declaration of an upgrade."""

    ON = "on"
    OFF = "off"
    SHOW = "show"


def upgrading(
    wish: Annotated[UpgradingAction, typer.Argument(help="on: an upgrade goes on; off: none does; show: only look.")],
) -> None:
    """Declare whether the system controller is being upgraded; while it is, no prestage starts."""
    with checked_database() as database:
        if wish is not UpgradingAction.SHOW:
            with database.write() as connection:
                declare_upgrading(connection, wish is UpgradingAction.ON)
        with database.read() as connection:
            declared = declared_upgrading(connection)
    typer.echo(f"upgrading {'on' if declared else 'off'}")
