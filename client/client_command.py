"""Options that all commands of the client share: the API, the token for it, and the form of the output.

`prestager whoami` and `prestager login-link` have no others.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Final, Protocol

import typer

from client.api_client import ApiClient
from client.contexts import ServerOptions, choose_context, names_an_api
from client.errors import NotConnectedError, UnreachableError
from client.output import Output, OutputFormat, ShownField, print_record, printable, say

_INTERRUPTED: Final = 130

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


class Reads(Protocol):
    """Reads of an API, or of the installation of this machine in its form."""

    def read(self, *path: str, **query: str | int) -> Any:
        """Return what is at a path below the version."""


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """One call of a command: the API that it talks to, and the form of what it prints."""

    api: ApiClient
    form: OutputFormat


def _shared_options(
    *,
    server: Annotated[
        str | None, typer.Option(help="Address of the API, such as https://host:8119; or PRESTAGER_URL.")
    ] = None,
    context: Annotated[
        str | None, typer.Option(help="Entry of ~/.config/prestager/client.toml; or PRESTAGER_CONTEXT.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token and nothing else; or PRESTAGER_TOKEN_FILE.")
    ] = None,
    ca_file: Annotated[Path | None, typer.Option(help="Authorities that sign the API's certificate (PEM).")] = None,
    output: Output = OutputFormat.TABLE,
) -> tuple[ServerOptions, OutputFormat]:
    return ServerOptions(server=server, context=context, token_file=token_file, ca_file=ca_file), output


def _invocation(options: ServerOptions, form: OutputFormat) -> Invocation:
    # Here and not at the first request, so that wrong options are found before a question is asked.
    return Invocation(api=ApiClient(choose_context(options, os.environ), login=_login, say=say), form=form)


def _login() -> str:
    # Seldom needed: most operators have a token.
    from client.keystone_token import keystone_token  # noqa: PLC0415

    return keystone_token(os.environ)


def client_command(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the shared options, and as its first argument the invocation that they make.

    Ctrl-C ends the command with 130 and says that a command that was sent goes on.
    """
    return _with_options(function, _invocation)


def either_command(
    here: Callable[[], AbstractContextManager[Any]],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the shared options, and as its first two arguments an API and the form of the output.

    Args:
        here: Gives what stands for the API where none is named (`names_an_api`): the installation of this machine.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @wraps(function)
        def command(chosen: tuple[ServerOptions, OutputFormat], **given: Any) -> None:
            options, form = chosen
            if names_an_api(options, os.environ):
                function(_invocation(options, form).api, form, **given)
                return
            with here() as reads:
                function(reads, form, **given)

        first, _, *own = inspect.signature(function, eval_str=True).parameters.values()
        command.__signature__ = inspect.Signature([first, *own])  # type: ignore[attr-defined]
        return _with_options(command, lambda *chosen: chosen)

    return decorate


def _with_options(function: Callable[..., None], make: Callable[..., Any]) -> Callable[..., None]:
    _, *own = inspect.signature(function, eval_str=True).parameters.values()
    shared = inspect.signature(_shared_options, eval_str=True).parameters

    @wraps(function)
    def command(**given: Any) -> None:
        first = make(*_shared_options(**{name: given.pop(name) for name in shared}))
        try:
            function(first, **given)
        except NotConnectedError as error:
            raise UnreachableError(f"{error} {error.advice}") from None
        except KeyboardInterrupt:
            say("Stopped looking. What was sent to the service goes on; see: prestager strategy show")
            raise typer.Exit(_INTERRUPTED) from None

    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
    signature = inspect.Signature([*parameters, *shared.values()])
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in signature.parameters.values()}
    return command


def taking(options: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of a function, and as its second argument the value that this makes of them.

    Args:
        options: Its parameters, all by name, become options of the command; it may raise a `ClientError`.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        first, _, *own = inspect.signature(function, eval_str=True).parameters.values()
        taken = inspect.signature(options, eval_str=True).parameters

        @wraps(function)
        def command(invocation: Invocation, **given: Any) -> None:
            value = options(**{name: given.pop(name) for name in taken})
            function(invocation, value, **given)

        parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
        command.__signature__ = inspect.Signature([first, *taken.values(), *parameters])  # type: ignore[attr-defined]
        return command

    return decorate


def _roles_text(roles: list[str]) -> str:
    return ", ".join(roles)


_CALLER: Final = (
    ShownField(key="name", title="name"),
    ShownField(key="roles", title="roles", text=_roles_text),
    ShownField(key="project", title="project", is_wide=True),
)


@client_command
def whoami(invocation: Invocation) -> None:
    """Show the name by which the service knows you, as in its audit, and your roles."""
    print_record(invocation.api.read("whoami"), _CALLER, invocation.form, "name")


_LINK: Final = (ShownField(key="url", title="link"), ShownField(key="expires-at", title="ends"))


@client_command
def login_link(invocation: Invocation) -> None:
    """Print a link that logs a browser in at the page, with your name and roles: once, within ten minutes.

    The first to open it has your rights, so keep it to yourself. It ends with your token, too.
    """
    link = invocation.api.make_login_link()
    if invocation.form is not OutputFormat.TABLE:
        print_record(link, _LINK, invocation.form, "url")
        return
    typer.echo(printable(link["url"]))
    say(f"It works once, until {datetime.fromisoformat(link['expires-at']).astimezone():%H:%M:%S}.")
