"""`prestager token`: who may use the API."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.installation import checked_database
from cli.tables import print_table
from db.errors import TokenExistsError, TokenNameError, TokenNotFoundError
from db.tokens import Role, TokenStore
from service.errors import CommandError

Name = Annotated[str, typer.Argument(help="Name of the token: who or what uses it.")]


def create(
    name: Name,
    role: Annotated[
        Role, typer.Option(help="admin and configurator: everything; operator: read, manage, unmanage; reader: read.")
    ],
) -> None:
    """Make a token and print it, this once only; the running service knows it at once."""
    with checked_database() as database:
        try:
            token = TokenStore(database).create_token(name, role)
        except (TokenExistsError, TokenNameError) as error:
            raise CommandError(str(error)) from error
    typer.echo(token)
    typer.echo("Send it as the header X-Auth-Token. It is not shown again.", err=True)


def list_tokens() -> None:
    """List all tokens, revoked ones too, never the tokens themselves."""
    with checked_database() as database:
        tokens = TokenStore(database).list_tokens()
    if not tokens:
        typer.echo("There is no token. Make one: prestager token create NAME --role admin", err=True)
        return
    rows = [
        (token.name, token.role, f"{token.created_at:%F %T}", f"{token.revoked_at:%F %T}" if token.revoked_at else "")
        for token in tokens
    ]
    print_table(("NAME", "ROLE", "CREATED (UTC)", "REVOKED (UTC)"), rows)


def revoke(name: Name) -> None:
    """End a token; the very next request that carries it is refused."""
    with checked_database() as database:
        try:
            TokenStore(database).revoke(name)
        except TokenNotFoundError as error:
            raise CommandError(f"{error} List them: prestager token list") from error
    typer.echo(f"Token '{name}' is revoked.")
