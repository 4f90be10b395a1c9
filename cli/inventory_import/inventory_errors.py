"""Find what is wrong with an inventory that Ansible cannot read, and say so without repeating any of it.

Ansible quotes the source in its messages, and a password may stand there. So nothing that it says is passed on but
sentences that are known by heart; file and line are found here where Ansible does not name them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import yaml

_SUFFIXES: Final = frozenset({".yml", ".yaml", ".json"})
_VARIABLES: Final = ("group_vars", "host_vars")
_VAULT: Final = "$ANSIBLE_VAULT;"
# Ansible names the place of some faults.
_ORIGIN: Final = re.compile(r"Origin: (/.+?):([0-9]+)(?::[0-9]+)?$", re.MULTILINE)
# A word of a line that Ansible quotes by itself.
_WORD: Final = re.compile(r"got: (\S+)$", re.MULTILINE)
# What stands for undecodable bytes in a text, and control characters that no inventory may hold.
_NO_TEXT: Final = re.compile("[\ufffd\\x00-\\x08\\x0b\\x0e-\\x1f\\x7f]")
# Parts of messages that hold nothing of the source, and what they mean.
_REASONS: Final = {
    "No closing quotation": "a quotation mark is not closed; an apostrophe in a value needs double quotes around it",
    "No escaped character": "it ends in a backslash",
    "Expected key=value": "a variable is not written as name=value; a value with spaces needs quotes",
    "has unknown type": "the type of the section is unknown; it can be :vars or :children",
    "unexpected end of stream": "a quotation mark is not closed",
    "did not find expected ',' or '}'": "a brace is not closed",
    "did not find expected ',' or ']'": "a bracket is not closed",
    "did not find expected key": "the indentation is wrong, or a quotation mark is not closed",
    "mapping values are not allowed": "a value with a colon needs quotes",
    "found undefined alias": "a value that begins with * needs quotes",
    "cannot start any token": "a tab, or a sign that needs quotes, begins a value",
    "maximum recursion depth": "values are nested too deeply",
    "for integer string conversion": "a number has too many digits; write it in quotes",
    "is not JSON serializable": "a value has a type that JSON does not have, such as !!binary",
    "Could not determine a constructor for the tag": "a value that begins with ! needs quotes",
}
_UNKNOWN: Final = "it is not of the form of an inventory; ansible-inventory --list says more, and may show passwords"
# Files of variables that are looked at, of very large inventories.
_MOST_FILES: Final = 2000


def inventory_fault(inventory: Path, complaint: str) -> str:
    """Return one sentence about an inventory that Ansible cannot read: file, line and reason as far as they are known.

    Args:
        inventory: The file that was given.

        complaint: What Ansible printed; nothing of it is repeated.
    """
    files = [inventory, *_variable_files(inventory.absolute().parent)]
    vaulted = [file for file in files if _first_line(file).startswith(_VAULT)] if "ecrypt" in complaint else []
    if vaulted:
        return (
            f"{vaulted[0]} is encrypted as a whole by Ansible Vault, and what is imported is kept in the clear. Leave"
            " the file out, or encrypt single values (!vault), which are left out; passwords come with each prestage"
            " command."
        )
    for file in files:
        line = _unreadable_line(file)
        if line:
            return f"{file}, line {line}: it is not text in UTF-8, or holds a control character such as NUL."
    file, line = _place(inventory, files, complaint)
    place = f"{file}, line {line}" if line else str(file)
    reason = next((meaning for sign, meaning in _REASONS.items() if sign in complaint), _UNKNOWN)
    return f"{place}: {reason}."


def _place(inventory: Path, files: list[Path], complaint: str) -> tuple[Path, int]:
    """Return the file that is wrong and its line, 0 where that is not known."""
    for name, number in _ORIGIN.findall(complaint):
        if Path(name).is_file():
            return Path(name), int(number)
    for file in files:
        line = _broken_yaml(file) if file is not inventory or file.suffix in _SUFFIXES else 0
        if line:
            return file, line
    return inventory, _quoted_line(inventory, complaint)


def _variable_files(directory: Path) -> Iterator[Path]:
    """Yield the files of variables beside an inventory."""
    for name in _VARIABLES:
        found = (path for path in (directory / name).rglob("*") if path.is_file())
        yield from sorted(found)[:_MOST_FILES]


def _broken_yaml(file: Path) -> int:
    """Return the number of the line that is no YAML; 0 when all are."""
    try:
        for _event in yaml.parse(_text(file), Loader=yaml.CSafeLoader):
            pass
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return mark.line + 1 if mark else 0
    except yaml.YAMLError:
        return 0
    return 0


def _unreadable_line(file: Path) -> int:
    """Return the number of the line that holds what is not text; 0 when all are text."""
    text = _text(file)
    found = _NO_TEXT.search(text)
    return text.count("\n", 0, found.start()) + 1 if found else 0


def _quoted_line(file: Path, complaint: str) -> int:
    """Return the number of the line of a file that a message quotes, whole or in part; 0 when that is not clear."""
    lines = [line.strip() for line in _text(file).splitlines()]
    whole = [(len(line), -number) for number, line in enumerate(lines, 1) if line and line in complaint]
    if whole:
        return -max(whole)[1]
    words = set(_WORD.findall(complaint))
    partly = [number for number, line in enumerate(lines, 1) if not words.isdisjoint(line.split())]
    return partly[0] if len(partly) == 1 else 0


def _first_line(file: Path) -> str:
    return _text(file).partition("\n")[0]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
