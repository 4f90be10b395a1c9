"""`prestager token`: who may use the API."""

from __future__ import annotations

import os
from typing import Annotated, Final

import typer

from cli.installation import checked_database
from client.contexts import add_context, check_new_context
from client.errors import ClientError
from client.output import Output, OutputFormat, ShownField, print_found
from client.strategy_queries import moment_text
from db.database import Database
from db.errors import TokenExistsError, TokenNameError, TokenNotFoundError
from db.tokens import Role, TokenStore
from messages.serializers import moment
from service.errors import CommandError
from service.load_settings import read_settings

# Addresses that a service listens at for all, and the one at which this machine reaches it.
_LOCAL: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing listens here

Name = Annotated[str, typer.Argument(help="Name of the token: who or what uses it.")]


def create(
    name: Name,
    role: Annotated[
        Role, typer.Option(help="admin and configurator: everything; operator: read, manage, unmanage; reader: read.")
    ],
    save_context: Annotated[  # noqa: FBT002 - an option of the shell
        bool, typer.Option("--save-context", help="Write it into your own ~/.config/prestager/client.toml instead.")
    ] = False,
) -> None:
    """Make a token and print it, this once only; the running service knows it at once.

    With --save-context it is not printed: `prestager strategy` of this user finds it, and the address of the API.
    """
    if save_context:
        check_new_context(name, os.environ)
    with checked_database() as database:
        try:
            token = TokenStore(database).create_token(name, role)
        except (TokenExistsError, TokenNameError) as error:
            raise CommandError(str(error)) from error
        if save_context:
            _save(database, name, token)
            return
    typer.echo(token)
    typer.echo("Send it as the header X-Auth-Token. It is not shown again.", err=True)


def _save(database: Database, name: str, token: str) -> None:
    settings = read_settings()
    host = _LOCAL.get(settings.listen_host, settings.listen_host)
    scheme = "https" if settings.tls_certificate_file is not None else "http"
    url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.listen_port}"
    try:
        file = add_context(name, url, token, os.environ)
    except ClientError:
        # A token that is shown nowhere is of no use to anybody but a thief.
        TokenStore(database).revoke(name)
        raise
    typer.echo(f"The token is in {file}, for {url}. Try it: prestager strategy history --context {name}")


_FIELDS: Final = (
    ShownField(key="name", title="name"),
    ShownField(key="role", title="role"),
    ShownField(key="created-at", title="created (UTC)", text=moment_text),
    ShownField(key="revoked-at", title="revoked (UTC)", text=moment_text),
)


def list_tokens(output: Output = OutputFormat.TABLE) -> None:
    """List all tokens, revoked ones too, never the tokens themselves."""
    with checked_database() as database:
        tokens = TokenStore(database).list_tokens()
    if not tokens:
        typer.echo("There is no token. Make one: prestager token create NAME --role admin", err=True)
    records = [
        {
            "name": token.name,
            "role": token.role,
            "created-at": moment(token.created_at, "read"),
            "revoked-at": moment(token.revoked_at, "read"),
        }
        for token in tokens
    ]
    print_found(records, _FIELDS, output, "name")


def revoke(name: Name) -> None:
    """End a token; the very next request that carries it is refused."""
    with checked_database() as database:
        try:
            TokenStore(database).revoke(name)
        except TokenNotFoundError as error:
            raise CommandError(f"{error} List them: prestager token list") from error
    typer.echo(f"Token '{name}' is revoked.")
