"""`prestager webhook`: receivers of events over HTTP, made, changed and tried over the API."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from client.api_client import ApiClient
from client.client_command import Invocation, Yes, client_command
from client.errors import RefusedError, SurroundingsError
from client.output import OutputFormat, Record, ShownField, print_found, print_record, print_records, say
from client.prompts import confirm
from client.strategy_queries import NOT_FOUND, given_filters, moment_text
from messages.webhook_secrets import key_of, make_secret

WEBHOOKS: Final = "webhooks"
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name or id of the webhook.")]
SecretStdin = Annotated[bool, typer.Option("--secret-stdin", help="Read the secret instead of making one.")]

_SHOWN: Final = 50
# Longer is a file that was piped by mistake, in characters.
_LONGEST: Final = 256
_UNKNOWN: Final = "Webhook not found"


class DeliveryWord(StrEnum):
    """State of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


def _state_text(webhook: Record) -> str:
    if webhook["enabled"]:
        return "failing" if webhook["failing-since"] else "enabled"
    return f"disabled: {webhook['disabled-reason']}" if webhook["disabled-reason"] else "disabled"


def _last_try(delivery: Record) -> str:
    if delivery["error"]:
        return str(delivery["error"])
    return f"{delivery['status']} in {delivery['duration-s']:.2f} s" if delivery["status"] else ""


_STATE: Final = "state"
_FIELDS: Final = (
    ShownField(key="name", title="name"),
    ShownField(key=_STATE, title=_STATE),
    ShownField(key="open-deliveries", title="open"),
    ShownField(key="url", title="url"),
)
_MADE: Final = (
    ShownField(key="name", title="name"),
    ShownField(key="url", title="url"),
    ShownField(key="types", title="types"),
    ShownField(key="subcloud", title="subcloud"),
    ShownField(key="secret", title="secret"),
)
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


@client_command
def add(  # noqa: PLR0913, PLR0917 - options of the shell
    invocation: Invocation,
    name: Annotated[str, typer.Argument(help="Name of the webhook.")],
    url: Annotated[str, typer.Argument(help="Where events are posted to.")],
    types: Annotated[
        list[str] | None, typer.Option("--type", help="Beginning of wanted types; may be given again.")
    ] = None,
    subcloud: Annotated[str | None, typer.Option(help="The only subcloud whose events are wanted.")] = None,
    secret_stdin: SecretStdin = False,  # noqa: FBT002 - an option of the shell
) -> None:
    """Make a webhook and print its signing secret, this once only; it gets what happens from now on."""
    secret = _secret(is_given=secret_stdin)
    body = {"name": name, "url": url, "types": types or [], "subcloud": subcloud, "secret": secret}
    made = invocation.api.change("POST", WEBHOOKS, body=body)
    say(f"Webhook {made['name']} is made. Try it: prestager webhook ping {made['name']}")
    _print_with_secret(invocation, made, None if secret_stdin else secret)


@client_command
def list_webhooks(invocation: Invocation) -> None:
    """List all webhooks."""
    found = read_webhooks(invocation.api)
    if not found:
        say("There is no webhook. Make one: prestager webhook add NAME URL")
    print_found(list(map(_stated, found)), _FIELDS, invocation.form, "name")


def read_webhooks(api: ApiClient) -> list[Record]:
    """Return all webhooks."""
    found: list[Record] = api.read(WEBHOOKS)[WEBHOOKS]
    return found


@client_command
def show(invocation: Invocation, webhook: Name) -> None:
    """Show one webhook; never its secret."""
    _print(invocation, _read(invocation.api, webhook))


@client_command
def remove(
    invocation: Invocation,
    webhook: Name,
    yes: Yes = False,  # noqa: FBT002 - an option of the shell
) -> None:
    """Remove a webhook with its secret and its log."""
    found = _read(invocation.api, webhook)
    confirm(f"Remove webhook {found['name']} with its secret and the log of its deliveries?", is_given=yes)
    invocation.api.change("DELETE", WEBHOOKS, str(found["id"]))
    say(f"Webhook {found['name']} is removed.")


@client_command
def enable(invocation: Invocation, webhook: Name) -> None:
    """Send to a webhook again what happens from now on."""
    changed = _change(invocation.api, webhook, {"enabled": True})
    say(f"Webhook {changed['name']} is enabled.")
    _print(invocation, changed)


@client_command
def disable(invocation: Invocation, webhook: Name) -> None:
    """Send nothing to a webhook; what is still open fails."""
    changed = _change(invocation.api, webhook, {"enabled": False})
    say(f"Webhook {changed['name']} is disabled.")
    _print(invocation, changed)


@client_command
def rotate(
    invocation: Invocation,
    webhook: Name,
    secret_stdin: SecretStdin = False,  # noqa: FBT002 - an option of the shell
) -> None:
    """Give a webhook a new secret and print it, this once only; for a day the one before signs too."""
    secret = _secret(is_given=secret_stdin)
    changed = _change(invocation.api, webhook, {"rotate": True, "secret": secret})
    until = moment_text(changed["old-secret-until"])
    say(f"Webhook {changed['name']} has a new secret; until {until} UTC the one before signs too.")
    _print_with_secret(invocation, changed, None if secret_stdin else secret)


@client_command
def ping(invocation: Invocation, webhook: Name) -> None:
    """Have the service send a test; see `deliveries` for what came of it."""
    with _explained(webhook):
        made = invocation.api.change("POST", WEBHOOKS, webhook, "ping")
    _print_sent(invocation, webhook, made)


@client_command
def send_again(
    invocation: Invocation, webhook: Name, delivery: Annotated[int, typer.Argument(help="Id of the delivery.")]
) -> None:
    """Have the event of a delivery sent once more, or an open delivery due at once."""
    with _explained(webhook):
        made = invocation.api.change("POST", WEBHOOKS, webhook, "deliveries", str(delivery), "redeliver")
    _print_sent(invocation, webhook, made)


@client_command
def deliveries(
    invocation: Invocation,
    webhook: Name,
    state: Annotated[DeliveryWord | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = _SHOWN,
) -> None:
    """Show the newest deliveries of a webhook and what came of them."""
    with _explained(webhook):
        found = invocation.api.read(WEBHOOKS, webhook, "deliveries", limit=limit, **given_filters({_STATE: state}))
    print_records(found["deliveries"], _DELIVERIES, invocation.form, "id")


@contextmanager
def _explained(webhook: str) -> Iterator[None]:
    """Say of a webhook that there is not how to find the others."""
    try:
        yield
    except RefusedError as error:
        if error.status != NOT_FOUND or not str(error).startswith(_UNKNOWN):
            raise
        raise RefusedError(f"There is no webhook '{webhook}'. List them: prestager webhook list", NOT_FOUND) from None


def _read(api: ApiClient, webhook: str) -> dict[str, Any]:
    with _explained(webhook):
        found: dict[str, Any] = api.read(WEBHOOKS, webhook)
    return found


def _change(api: ApiClient, webhook: str, body: Record) -> dict[str, Any]:
    with _explained(webhook):
        changed: dict[str, Any] = api.change("PATCH", WEBHOOKS, webhook, body=body)
    return changed


def _stated(webhook: Record) -> Record:
    return {**webhook, _STATE: _state_text(webhook)}


def _print(invocation: Invocation, webhook: Record) -> None:
    print_record(webhook, [_field(key) for key in webhook], invocation.form, "name")


def _field(key: str) -> ShownField:
    is_moment = key.endswith(("-at", "-since", "-until"))
    return ShownField(key=key, title=f"{key} (UTC)" if is_moment else key, text=moment_text if is_moment else None)


def _print_sent(invocation: Invocation, webhook: str, delivery: Record) -> None:
    say(f"Delivery {delivery['id']} is on its way. See: prestager webhook deliveries {webhook}")
    print_record(delivery, _DELIVERIES, invocation.form, "id")


def _secret(*, is_given: bool) -> str:
    """Return a secret from standard input, or a new one.

    It is made here and not by the service, whose answer may be lost: the repeat of a request shows no secret.
    """
    if not is_given:
        return make_secret()
    secret = sys.stdin.read(_LONGEST).strip()
    try:
        key_of(secret)
    except ValueError as error:
        raise SurroundingsError(f"The secret {error}; make one with: echo whsec_$(openssl rand -base64 32)") from None
    return secret


def _print_with_secret(invocation: Invocation, webhook: Record, made: str | None) -> None:
    """Print a secret that was made, and nothing else where a person reads; one that was given is known already."""
    if made is not None:
        say("The receiver verifies signatures with this secret. It is not shown again.")
    shown = webhook if made is None else {**webhook, "secret": made}
    if invocation.form is not OutputFormat.TABLE:
        print_record(shown, _MADE, invocation.form, "name" if made is None else "secret")
    elif made is not None:
        typer.echo(made)
