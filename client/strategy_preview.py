"""`prestager strategy preview`: the strategy that the same options of `create` would make."""

from __future__ import annotations

from typing import Final

import typer

from client.client_command import Invocation, client_command, taking
from client.create_options import strategy_fields
from client.output import OutputFormat, Record, ShownField, print_record, print_records, say
from client.strategy_queries import ACTIVE, excluded_text

# Sites of a stage that a table names.
_NAMED: Final = 10


def _clouds_text(clouds: list[str]) -> str:
    more = f" and {len(clouds) - _NAMED} more" if len(clouds) > _NAMED else ""
    return f"{', '.join(clouds[:_NAMED])}{more}"


_STAGE_FIELDS: Final = (
    ShownField(key="stage", title="STAGE"),
    ShownField(key="count", title="SITES"),
    ShownField(key="width", title="MOST AT ONCE"),
    ShownField(key="clouds", title="NAMES", text=_clouds_text),
)
_FIELDS: Final = (
    ShownField(key="release", title="release"),
    ShownField(key="sites", title="sites"),
    ShownField(key="rollout", title="rollout"),
    ShownField(key="excluded-subclouds", title="left out", text=excluded_text),
    ShownField(key="plan-digest", title="plan digest"),
)


@client_command
@taking(strategy_fields)
def preview(invocation: Invocation, fields: Record) -> None:
    """Show the strategy that `create` would make with these options: its stages, and what is against it.

    Nothing is created, and no password is needed. The exit code is 1 where it would be refused. Give its plan digest to
    `create --plan-digest` to have the same plan or none.
    """
    found = invocation.api.change("POST", ACTIVE, "preview", body=fields)
    for warning in found["warnings"]:
        say(f"Warning: {warning}")
    for refusal in found["refusals"]:
        say(f"It would be refused: {refusal}")
    if invocation.form in {OutputFormat.TABLE, OutputFormat.WIDE}:
        print_record(found, _FIELDS, invocation.form, "plan-digest")
        typer.echo("")
        print_records(found["stages"], _STAGE_FIELDS, invocation.form, "stage")
    else:
        print_record(found, _FIELDS, invocation.form, "plan-digest")
    if found["refusals"]:
        raise typer.Exit(1)
