"""`prestager webhook`: receivers of events over HTTP."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from actors.coordinator.webhooks import create_webhook, delete_webhook, ping_webhook, redeliver, update_webhook
from cli.command_context import carry_out
from cli.installation import checked_database, installation_sealer
from client.output import Output, OutputFormat, Record, ShownField, print_found, print_record, print_records
from client.strategy_queries import moment_text
from db.database import Database
from db.inventory import find
from db.schema import webhooks
from db.webhook_deliveries import DeliveryState, deliveries_page, open_counts
from db.webhooks import all_webhooks
from messages.commands import Command, CommandType
from messages.process_serializers import delivery_resource, webhook_resource
from messages.webhook_secrets import key_of, make_secret
from service.errors import CommandError

Ref = Annotated[str, typer.Argument(metavar="NAME", help="Name or id of the webhook.")]
SecretStdin = Annotated[bool, typer.Option("--secret-stdin", help="Read the secret instead of making one.")]

_SHOWN: Final = 50
# Longer is a file that was piped by mistake, in characters.
_LONGEST: Final = 256


def add(
    name: Annotated[str, typer.Argument(help="Name of the webhook.")],
    url: Annotated[str, typer.Argument(help="Where events are posted to.")],
    types: Annotated[
        list[str] | None, typer.Option("--type", help="Beginning of wanted types; may be given again.")
    ] = None,
    subcloud: Annotated[str | None, typer.Option(help="The only subcloud whose events are wanted.")] = None,
    secret_stdin: SecretStdin = False,  # noqa: FBT002 - an option of the shell
) -> None:
    """Make a webhook and print its signing secret, this once only; it gets what happens from now on."""
    data = {"name": name, "url": url, "types": types or [], "subcloud": subcloud}
    secret = _read_secret() if secret_stdin else make_secret()
    with checked_database() as database:
        carry_out(database, create_webhook, _sealed(Command(type=CommandType.WEBHOOK_CREATE, data=data), secret))
    _show_secret(secret, is_made=not secret_stdin)


_OPEN: Final = "open-deliveries"
_STATE: Final = "state"
_FIELDS: Final = (
    ShownField(key="name", title="name"),
    ShownField(key=_STATE, title=_STATE),
    ShownField(key=_OPEN, title="open"),
    ShownField(key="url", title="url"),
)


def list_webhooks(output: Output = OutputFormat.TABLE) -> None:
    """List all webhooks."""
    with checked_database() as database, database.read() as connection:
        rows = all_webhooks(connection)
        counts = open_counts(connection, [row["id"] for row in rows])
    if not rows:
        typer.echo("There is no webhook. Make one: prestager webhook add NAME URL", err=True)
    records = [{**webhook_resource(row), _STATE: _state(row), _OPEN: counts.get(row["id"], 0)} for row in rows]
    print_found(records, _FIELDS, output, "name")


def show(ref: Ref, output: Output = OutputFormat.TABLE) -> None:
    """Show one webhook; never its secret."""
    with checked_database() as database:
        found = webhook_resource(_found(database, ref))
    print_record(found, [ShownField(key=key, title=key) for key in found], output, "name")


def remove(ref: Ref) -> None:
    """Remove a webhook with its secret and its log."""
    with checked_database() as database:
        carry_out(database, delete_webhook, Command(type=CommandType.WEBHOOK_DELETE, subject=ref))
    typer.echo(f"Webhook '{ref}' is removed.")


def enable(ref: Ref) -> None:
    """Send to a webhook again what happens from now on."""
    _change(ref, {"enabled": True})
    typer.echo(f"Webhook '{ref}' is enabled.")


def disable(ref: Ref) -> None:
    """Send nothing to a webhook; what is still open fails."""
    _change(ref, {"enabled": False})
    typer.echo(f"Webhook '{ref}' is disabled.")


def rotate(
    ref: Ref,
    secret_stdin: SecretStdin = False,  # noqa: FBT002 - an option of the shell
) -> None:
    """Give a webhook a new secret and print it, this once only; for a day the one before signs too."""
    secret = _read_secret() if secret_stdin else make_secret()
    command = Command(type=CommandType.WEBHOOK_UPDATE, subject=ref, data={"rotate": True})
    with checked_database() as database:
        carry_out(database, update_webhook, _sealed(command, secret))
    _show_secret(secret, is_made=not secret_stdin)


def ping(ref: Ref) -> None:
    """Have the service send a test; see `deliveries` for what came of it."""
    with checked_database() as database:
        made = carry_out(database, ping_webhook, Command(type=CommandType.WEBHOOK_PING, subject=ref))
    typer.echo(f"Delivery {made['id']} is on its way. See: prestager webhook deliveries {ref}")


def send_again(ref: Ref, delivery: Annotated[int, typer.Argument(help="Id of the delivery.")]) -> None:
    """Have the event of a delivery sent once more, or an open delivery due at once."""
    command = Command(type=CommandType.WEBHOOK_REDELIVER, subject=ref, data={"delivery": delivery})
    with checked_database() as database:
        made = carry_out(database, redeliver, command)
    typer.echo(f"Delivery {made['id']} is on its way. See: prestager webhook deliveries {ref}")


def deliveries(
    ref: Ref,
    state: Annotated[DeliveryState | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = _SHOWN,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show the newest deliveries of a webhook and what came of them."""
    with checked_database() as database:
        webhook = _found(database, ref)
        with database.read() as connection:
            rows = deliveries_page(connection, webhook["id"], state=state, before=None, limit=limit)
    print_records([delivery_resource(row) for row in rows], _DELIVERIES, output, "id")


def _last_try(delivery: Record) -> str:
    if delivery["error"]:
        return str(delivery["error"])
    return f"{delivery['status']} in {delivery['duration-s']:.2f} s" if delivery["status"] else ""


_DELIVERIES: Final = (
    ShownField(key="id", title="id"),
    ShownField(key="created-at", title="created (UTC)", is_spare=True, text=moment_text),
    ShownField(key="type", title="type"),
    ShownField(key="subject", title="subject", is_spare=True),
    ShownField(key=_STATE, title=_STATE),
    ShownField(key="attempts", title="tries"),
    ShownField(key="cause", title="cause", is_wide=True),
    ShownField(key="finished-at", title="finished (UTC)", is_wide=True, text=moment_text),
    ShownField(key="error", title="last try", whole=_last_try),
)


def _change(ref: str, data: Mapping[str, Any]) -> None:
    command = Command(type=CommandType.WEBHOOK_UPDATE, subject=ref, data=dict(data))
    with checked_database() as database:
        carry_out(database, update_webhook, command)


def _found(database: Database, ref: str) -> Mapping[str, Any]:
    with database.read() as connection:
        row = find(connection, webhooks, ref)
    if row is None:
        raise CommandError(f"There is no webhook '{ref}'. List them: prestager webhook list")
    return dict(row)


def _state(row: Mapping[str, Any]) -> str:
    if row["enabled"]:
        return "failing" if row["failing_since"] else "enabled"
    return f"disabled: {row['disabled_reason']}" if row["disabled_reason"] else "disabled"


def _sealed(command: Command, secret: str) -> Command:
    sealed = installation_sealer().seal(secret, bound_to=command.id)
    return command.model_copy(update={"sealed_password": sealed})


def _read_secret() -> str:
    secret = sys.stdin.read(_LONGEST).strip()
    try:
        key_of(secret)
    except ValueError as error:
        raise CommandError(f"The secret {error}; make one with: echo whsec_$(openssl rand -base64 32)") from None
    return secret


def _show_secret(secret: str, *, is_made: bool) -> None:
    if is_made:
        typer.echo(secret)
        typer.echo("The receiver verifies signatures with it. It is not shown again.", err=True)
