"""Questions to the operator: only on a terminal, and never for what scripts can give otherwise."""

from __future__ import annotations

import sys
from base64 import b64encode
from getpass import getpass
from pathlib import Path
from typing import Annotated, Final

import typer

from client.errors import RefusedError, SurroundingsError
from client.output import printable

# Longer is a file that was given by mistake, in characters.
_LONGEST: Final = 4096
_STDIN: Final = "-"

PasswordFile = Annotated[Path | None, typer.Option(help="File with the password of the sites; - is standard input.")]


def confirm(question: str, *, is_given: bool) -> None:
    """Ask before what cannot be undone.

    Args:
        question: Names what is touched.

        is_given: The operator said yes beforehand (`--yes`); nothing is asked.

    Raises:
        RefusedError: The operator declined.
        SurroundingsError: There is no terminal to ask at.
    """
    if is_given:
        return
    if not sys.stdin.isatty():
        raise SurroundingsError(f"{printable(question)} Give --yes where nobody can be asked; nothing was changed.")
    if not typer.confirm(printable(question), err=True):
        raise RefusedError("Nothing was changed.")


def read_password(file: Path | None) -> str:
    """Return the password of the sites in base64, as the API takes it.

    It comes from the file, `-` being standard input, or from a prompt that shows nothing.
    There it is asked for twice, for a mistyped one fails at every site.

    Raises:
        SurroundingsError: It cannot be read, is empty, too long or more than one line, or was typed differently.
    """
    if file is None and sys.stdin.isatty():
        text = getpass("Password of the sites: ")
        if text != getpass("The same again: "):
            raise SurroundingsError("The two passwords differ; nothing was sent.")
    elif file is None or str(file) == _STDIN:
        text = sys.stdin.read(_LONGEST + 2)
    else:
        text = _read_file(file)
    return b64encode(_one_line(text, ", or give --password-file").encode()).decode()


def read_site_password() -> str:
    """Return the password of one site, from standard input or from a prompt that shows nothing.

    Raises:
        SurroundingsError: It is empty, too long, or more than one line.
    """
    return _one_line(getpass("Password: ") if sys.stdin.isatty() else sys.stdin.read(_LONGEST + 2))


def _one_line(text: str, another_way: str = "") -> str:
    password = text.removesuffix("\n").removesuffix("\r")
    if not password:
        raise SurroundingsError(
            f"No password was given: type it at the prompt, write it to standard input{another_way}."
        )
    if len(password) > _LONGEST or "\n" in password:
        raise SurroundingsError(f"A password is one line of at most {_LONGEST} characters.")
    return password


def _read_file(file: Path) -> str:
    try:
        with file.open(encoding="utf-8") as source:
            return source.read(_LONGEST + 2)
    except OSError as error:
        raise SurroundingsError(f"The password cannot be read from {file}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise SurroundingsError(f"The password in {file} is not UTF-8.") from None
