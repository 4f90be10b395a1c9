"""`prestager seal`: a password for a command that another program sends over RabbitMQ."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from broker.amqp.cloudevents import TYPE_PREFIX, to_command
from broker.amqp.errors import MalformedCommandError
from cli.installation import installation_sealer
from client.errors import SurroundingsError
from client.prompts import read_site_password
from messages.commands import CommandType
from service.errors import CommandError


def seal(
    source: Annotated[str, typer.Option(help="The CloudEvents source that the publisher writes.")],
    event_id: Annotated[str, typer.Option("--id", help="The CloudEvents id of the one command that it is for.")],
    user: Annotated[str, typer.Option(help="The publisher's user of RabbitMQ, if it sends the property user_id.")] = "",
) -> None:
    """Read a password and print it sealed, for `data.sealed_password` of one command sent over RabbitMQ.

    The password comes from standard input, or from a prompt that shows nothing. It opens only with this
    installation's key and only for the command with this source, id and user, so every command needs its own.
    """
    command_id = _command_id(source, event_id, user)
    sealer = installation_sealer()
    typer.echo(sealer.seal(read_password(), bound_to=command_id))


def _command_id(source: str, event_id: str, user: str) -> str:
    """Have the ingress itself say what it will take the command's id for."""
    event = {"specversion": "1.0", "type": TYPE_PREFIX + CommandType.STRATEGY_CREATE, "source": source, "id": event_id}
    try:
        return to_command(json.dumps(event).encode(), own_source="", is_ours=False, user=user).id
    except MalformedCommandError as error:
        raise CommandError(f"No command can have this source and id: {error}.") from error


def read_password() -> str:
    """Return the password of a site, from standard input or from a prompt that shows nothing.

    Raises:
        CommandError: It is empty, too long, or more than one line.
    """
    try:
        return read_site_password()
    except SurroundingsError as error:
        raise CommandError(str(error)) from None
