"""Turn errors that end a command into one sentence for the operator, with what to do; the one place that does.

Called by `prestager` for every command, and by the entry of Dramatiq's own command line.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any, Final

from typer import Context
from typer.core import TyperGroup
from typer.exceptions import TyperException

from messages.parse_errors import plain_validation_text
from service.errors import CommandError

# Words of dcmanager's client and of the API that an operator may try as a command.
_STRATEGY_WORDS: Final = frozenset({"prestage-strategy", "strategy-step"})
_BY_THE_API: Final = frozenset({"prestage", "subcloud-group", "group"})
_LIKENESS: Final = 0.6
# Beginnings of the library's messages: nothing else distinguishes such errors.
_NO_OPTION: Final = "No such option"
_NO_COMMAND: Final = "No such command '"


def error_sentence(error: Exception) -> tuple[str, Sequence[str]] | None:
    """Return what to say of an error and a list of what is wrong, if it has several parts; None: it is a bug."""
    # The modules are read when something went wrong, and then the command has read them already.
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415

    from broker.amqp.errors import BrokerUnavailableError  # noqa: PLC0415
    from db.errors import DatabaseUnavailableError, explain_database_error  # noqa: PLC0415
    from service.errors import StartError  # noqa: PLC0415

    match error:
        case CommandError():
            return str(error), error.faults
        case StartError() | BrokerUnavailableError():
            return str(error), ()
        case DBAPIError() | DatabaseUnavailableError():
            return explain_database_error(error).sentence("The database"), ()
        case UnicodeEncodeError():
            # What Python makes of bytes that are no UTF-8, which no database, broker or name service takes.
            return "A text that was given is not UTF-8. Correct the arguments and the settings, or the locale.", ()
        case OSError() if error.errno is not None:
            return _os_sentence(error), ()
        case _:
            return None


def _os_sentence(error: OSError) -> str:
    place = f"{error.filename} cannot be used: " if error.filename else ""
    remedy = {
        errno.ENOSPC: "Make room on its disk.",
        errno.EDQUOT: "Make room, or have the quota raised.",
        errno.EACCES: "Give this user the right to it, or run the command as another user.",
        errno.EPERM: "Give this user the right to it, or run the command as another user.",
        errno.EROFS: "Name a place that can be written.",
        errno.EMFILE: "Allow more open files: ulimit -n",
    }.get(error.errno or 0, "Correct what names it, and try again.")
    return f"{place}{error.strerror}. {remedy}"


def usage_sentence(error: TyperException) -> str:
    """Return what is wrong with the arguments of a command, the nearest name, and where its usage is."""
    # Of the errors' own classes only the base is public.
    ctx: Context | None = getattr(error, "ctx", None)
    path = ctx.command_path if ctx is not None else "prestager"
    return f"{_usage_fault(error, ctx)} See: {path} --help"


def _usage_fault(error: TyperException, ctx: Context | None) -> str:
    option: str | None = getattr(error, "option_name", None)
    if ctx is not None and option is not None and error.message.startswith(_NO_OPTION):
        near = get_close_matches(option, _options(ctx), n=1, cutoff=_LIKENESS)
        return f"There is no option {option}; did you mean {near[0]}?" if near else f"There is no option {option}."
    if ctx is not None and error.message.startswith(_NO_COMMAND):
        return _no_command(error.message.removeprefix(_NO_COMMAND).partition("'")[0], ctx)
    begin, between, said = " ".join(error.format_message().split()).rpartition("': ")
    text = f"{begin}{between}{plain_validation_text(said)}" if between else said
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _no_command(name: str, ctx: Context) -> str:
    words = _STRATEGY_WORDS | _BY_THE_API
    near = get_close_matches(name, getattr(ctx.command, "commands", ()), n=1, cutoff=_LIKENESS)
    if near and name not in words:
        return f"There is no command '{name}'; did you mean '{ctx.command_path} {near[0]}'?"
    # Of every group: `prestager import` is `prestager subcloud import`.
    elsewhere = [path for path, last in _all_commands(ctx.find_root()) if last == name]
    if elsewhere:
        return f"There is no command '{name}'; did you mean '{elsewhere[0]}'?"
    near = get_close_matches(name, words, n=1, cutoff=_LIKENESS)
    if near and near[0] in _STRATEGY_WORDS:
        return f"There is no command '{name}': the command is `prestager strategy` (docs/cli.md)."
    if near:
        return (
            f"There is no command '{name}': groups and single prestages are handled over the API, as with `dcmanager"
            " subcloud-group` (docs/client.md)."
        )
    return f"There is no command '{name}'."


def _all_commands(root: Any) -> Iterator[tuple[str, str]]:
    """Yield path and last name of each command below a group of the root."""
    if isinstance(root.command, TyperGroup):
        for group_name, group in root.command.commands.items():
            for name in getattr(group, "commands", ()):
                yield f"{root.command_path} {group_name} {name}", name


def _options(ctx: Context) -> list[str]:
    return [name for parameter in ctx.command.params for name in parameter.opts if name.startswith("--")]
