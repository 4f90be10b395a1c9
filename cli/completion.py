"""Shell completion: scripts for bash, zsh and fish, and the words that can stand at the cursor.

The scripts run `prestager __complete WORD…` with the words up to the cursor, the last of which may be empty. The answer
is `words` or `files` in the first line; then comes one candidate a line, with a tab and a summary where it has one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli.command_table import application
from client.completion_names import NameKind, completion_names
from client.contexts import ServerOptions

_WORDS: Final = "words"
_FILES: Final = "files"
_ONLY_ARGUMENTS: Final = "--"
# Names that the values of parameters are taken from, by the name of the parameter.
_NAMES: Final[Mapping[str, NameKind]] = {
    "context": NameKind.CONTEXT,
    "exclude": NameKind.SITE,
    "group": NameKind.GROUP,
    "problem": NameKind.PROBLEM,
    "release": NameKind.RELEASE,
    "strategy": NameKind.STRATEGY,
    "subcloud": NameKind.SITE,
    "webhook": NameKind.WEBHOOK,
    "worker": NameKind.WORKER,
}
# An argument that is named so is a site in this group of commands.
_SITE_ARGUMENT: Final = ("subcloud", "ref")


class Shell(StrEnum):
    """Shells that have completion."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="The shell.")]) -> None:
    """Print the script with which a shell completes commands, options and names; it says where it belongs.

    Names of sites, groups, problems, strategies, releases, workers and webhooks come from the API that the command line
    so far, the environment or a context names, if it answers within 0.3 s.
    """
    typer.echo(Path(__file__).with_suffix(f".{shell}").read_text(encoding="utf-8"), nl=False)


def complete(words: Sequence[str]) -> str:
    """Return the answer to a script.

    Args:
        words: Words behind `prestager` up to the cursor, the last one as far as it is typed; bash has the `=` behind an
            option as a word of its own.
    """
    *done, current = _without_equals(words) or [""]
    command: Any = application()
    path: list[str] = []
    while done and hasattr(command, "commands"):
        path.append(done.pop(0))
        command = command.commands.get(path[-1])
        if command is None:
            return _answer(())
    if hasattr(command, "commands"):
        return _answer(_of_group(command, current, is_root=not path))
    return _CommandWords.read(command.load().params, path, done).answer(current)


def _without_equals(words: Sequence[str]) -> list[str]:
    joined: list[str] = []
    for number, word in enumerate(words):
        is_separator = word == "=" and number > 0 and words[number - 1].startswith("--")
        if not is_separator:
            joined.append(word)
        elif number == len(words) - 1:
            joined.append("")
    return joined


def _answer(candidates: Iterator[tuple[str, str]] | Sequence[tuple[str, str]]) -> str:
    lines = (f"{word}\t{summary}" if summary else word for word, summary in candidates)
    return "\n".join([_WORDS, *lines])


def _of_group(group: Any, current: str, *, is_root: bool) -> Iterator[tuple[str, str]]:
    if current.startswith("-"):
        found = {"--help": "Show this message and exit.", **({"--version": "Show the version."} if is_root else {})}
    else:
        found = {name: command.short_help for name, command in group.commands.items()}
    return ((name, summary) for name, summary in found.items() if name.startswith(current))


@dataclass(kw_only=True)
class _CommandWords:
    """Words of one command up to the cursor.

    Attributes:
        parameters: Options and arguments of the command.

        path: Names of its groups and its own.

        given: Values by the name of the option; empty for a flag.

        arguments: How many words are arguments.

        waiting: Option whose value is at the cursor; None: none is.

        has_options: Whether there may be options at the cursor: not behind `--`.
    """

    parameters: Sequence[Any]
    path: Sequence[str]
    given: dict[str, str] = field(default_factory=dict)
    arguments: int = 0
    waiting: Any = None
    has_options: bool = True

    @classmethod
    def read(cls, parameters: Sequence[Any], path: Sequence[str], words: Sequence[str]) -> _CommandWords:
        """Return what the words before the cursor mean to a command."""
        found = cls(parameters=parameters, path=path)
        for word in words:
            found._take(word)
        return found

    def _take(self, word: str) -> None:
        if self.waiting is not None:
            self.given[self.waiting.name] = word
            self.waiting = None
        elif self.has_options and word == _ONLY_ARGUMENTS:
            self.has_options = False
        elif self.has_options and word.startswith("-"):
            name, equals, value = word.partition("=")
            option = self._options.get(name)
            if option is not None and not option.is_flag and not equals:
                self.waiting = option
            elif option is not None:
                self.given[option.name] = value
        else:
            self.arguments += 1

    @property
    def _options(self) -> dict[str, Any]:
        return {name: one for one in self.parameters if _is_option(one) for name in (*one.opts, *one.secondary_opts)}

    def answer(self, current: str) -> str:
        """Return the answer for the word at the cursor."""
        if self.waiting is not None:
            return self._values(self.waiting, current)
        if self.has_options and current.startswith("-"):
            name, equals, value = current.partition("=")
            if not equals:
                return _answer(self._unused_options(current))
            option = self._options.get(name)
            return _answer(()) if option is None else self._values(option, value, begin=f"{name}=")
        arguments = [one for one in self.parameters if not _is_option(one)]
        if arguments and arguments[-1].nargs == -1:
            arguments += [arguments[-1]] * self.arguments
        return self._values(arguments[self.arguments], current) if self.arguments < len(arguments) else _answer(())

    def _unused_options(self, current: str) -> Iterator[tuple[str, str]]:
        for name, option in self._options.items():
            if name.startswith(current) and (option.multiple or option.name not in self.given):
                yield name, " ".join((option.help or "").split())
        if "--help".startswith(current):
            yield "--help", "Show this message and exit."

    def _values(self, parameter: Any, current: str, begin: str = "") -> str:
        if parameter.type_descriptor.is_path:
            return _FILES
        found = [str(item.value) for item in parameter.shell_complete(None, current)]
        kind = NameKind.SITE if (self.path[0], parameter.name) == _SITE_ARGUMENT else _NAMES.get(parameter.name)
        if not found and kind is not None:
            found = completion_names(kind, current, self._server, os.environ)
        return _answer([(f"{begin}{one}", "") for one in found])

    @property
    def _server(self) -> ServerOptions:
        token_file, ca_file = (
            Path(self.given[name]) if self.given.get(name) else None for name in ("token_file", "ca_file")
        )
        return ServerOptions(
            server=self.given.get("server"), context=self.given.get("context"), token_file=token_file, ca_file=ca_file
        )


def _is_option(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "option")
