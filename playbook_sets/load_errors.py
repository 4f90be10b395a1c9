"""Sentences about a set of playbooks that Ansible cannot load: the error, and what to do next. Pure.

They are made of the first error of `ansible-playbook --syntax-check`. Ansible quotes the file beside its message; of
that nothing is kept, for a playbook may hold secrets.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from messages.secret_names import mask_fields
from runner.failure_text import sentence

_MASK: Final = "********"
# Longest message of Ansible's that is repeated, in characters.
_LONGEST: Final = 300

# How Ansible begins an error since 2.19, and before.
_ERROR: Final = re.compile(r"^(?:\[ERROR\]: |ERROR! )", re.MULTILINE)
# Where it is, since 2.19 and before; what follows quotes the file.
_PLACE: Final = re.compile(
    r"^(?:Origin: (?P<new>[^\n]+?):(?P<new_line>\d+)(?::\d+)?$"
    r"|The error appears to be in '(?P<old>[^'\n]+)': line (?P<old_line>\d+))",
    re.MULTILINE,
)
_QUOTES: Final = re.compile(r"^(?:Origin: |The error appears to |The offending line appears )", re.MULTILINE)
# Messages that end with what is written in the file.
_QUOTING: Final = re.compile(
    r"(?<=unbalanced jinja2 block or quotes)\b.*|(?<=template error while templating string)\b.*"
    r"|(?<=Invalid old style role requirement)\b.*"
)
# Values and templates of the file, and the arguments of its lookups, stand in brackets.
_BRACKETS: Final = re.compile(r"[(\[{](?:.*[)\]}]|.*)")
_URL_LOGIN: Final = re.compile(r"(?<=://)[^\s/]*(?=@)")

_COLLECTIONS: Final = (
    "Install prestager[starlingx], or set PRESTAGER_ANSIBLE_COLLECTIONS to the directories that have its collection"
)
_OLDER: Final = "Set PRESTAGER_ANSIBLE to the ansible-playbook of an Ansible before {}"


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """A kind of error."""

    # Searched for in Ansible's message; its group `name` is what the sentence is about.
    pattern: re.Pattern[str]
    # What is wrong, as the end of a sentence that begins with the place.
    text: str
    # What to do; empty: it is plain.
    remedy: str


# The first that is found counts.
_KINDS: Final[Sequence[_Kind]] = (
    _Kind(
        pattern=re.compile(
            r"'?(?:ansible\.(?:builtin|legacy)\.)?include'? (?:action plugin )?has been removed"
            r"|couldn't resolve module/action '(?:ansible\.(?:builtin|legacy)\.)?include'"
        ),
        text="uses a bare 'include', which Ansible has not had since 2.16",
        remedy=_OLDER.format("2.16"),
    ),
    _Kind(
        pattern=re.compile(r"couldn't resolve module/action '(?P<name>[\w.]+)'"),
        text="needs the module {name}, which this Ansible does not have",
        remedy=_COLLECTIONS,
    ),
    _Kind(
        pattern=re.compile(
            r"(?:unable to locate collection|No module named 'ansible_collections\.) ?(?P<name>[\w.]+)"
            r"|the role '(?P<role>\w+\.\w+\.\w+)' was not found",
            re.IGNORECASE,
        ),
        text="needs the collection of {name}, which this Ansible does not have",
        remedy=_COLLECTIONS,
    ),
    _Kind(
        pattern=re.compile(r"the role '(?P<name>[^'\n]+)' was not found"),
        text="needs the role {name}, which is not there",
        remedy="Put it into the directory roles beside the playbooks in PRESTAGER_PLAYBOOKS_DIR",
    ),
    _Kind(
        pattern=re.compile(
            r"(?:Could not find or access|[Uu]nable to read|occurred while trying to read the file|Permission denied:)"
            r" '(?P<name>[^'\n]+)'|the playbook: (?P<file>\S+) could not be found"
        ),
        text="needs the file {name}, which is not there or cannot be read by this user",
        remedy="Put it there, or give this user the right to read it",
    ),
    _Kind(
        pattern=re.compile(r"no vault secrets (?:were )?found|Decryption failed"),
        text="is encrypted with Ansible Vault",
        remedy="Decrypt it, or name the file of its vault password in PRESTAGER_ANSIBLE_CONFIG",
    ),
    _Kind(
        pattern=re.compile(r"YAML parsing failed|Syntax Error while loading YAML|neither as JSON nor YAML"),
        text="is not valid YAML",
        remedy="Correct it",
    ),
    _Kind(
        pattern=re.compile(
            r"[Cc]onditional(?:s| expressions?) must|[Cc]onditional (?:result|check)|broken conditional"
        ),
        text="has a condition that this Ansible does not take, such as a list",
        remedy=_OLDER.format("2.19"),
    ),
)
# A name of a file or role that is built of variables: they are known to a run only, which may well find it.
_UNDEFINED: Final = re.compile(r"is undefined|[Ww]hen evaluating variable in import path")

# A configuration file that Ansible cannot read, and a value that it does not take; what follows quotes the file.
_CONFIG: Final = re.compile(
    r"Error reading config file \([^)\n]+\):[^\n]*?(?:\[line +(?P<inside>\d+)\][^\n]*)?"
    r"\n(?:file: .*, line: (?P<below>\d+))?"
)
_VALUE: Final = re.compile(
    r"^ansible\.errors\.\w+: (?:Config '(?P<new>\w+)' from|Invalid settings supplied for (?P<old>\w+):)", re.MULTILINE
)
_VERSION: Final = re.compile(
    r"^ansible-playbook (?:\[core )?(?P<text>(?P<major>\d+)\.(?P<minor>\d+)[^\s\]]*)", re.MULTILINE
)
# The first Ansible that gives a password to ssh by a program of its own.
_FIRST_WITH_ASKPASS: Final = (2, 19)


def config_error(printed: str, config: Path) -> str | None:
    """Return a sentence about a configuration file that Ansible does not take; None: it takes `config`.

    Nothing of the file is quoted.
    """
    if (found := _CONFIG.search(printed)) is not None:
        line = found["inside"] or found["below"]
        place = f", line {line}," if line else ""
        return f"PRESTAGER_ANSIBLE_CONFIG {config}{place} is no INI file that Ansible can read. Correct it."
    if (found := _VALUE.search(printed)) is not None:
        name = found["new"] or found["old"]
        return f"PRESTAGER_ANSIBLE_CONFIG {config} has a value for {name} that Ansible does not take. Correct it."
    return None


def sshpass_error(printed: str, program: Path) -> str | None:
    """Return a sentence about an Ansible that needs `sshpass`, which is not there, by what its `--version` printed."""
    found = _VERSION.search(printed)
    if found is None or (int(found["major"]), int(found["minor"])) >= _FIRST_WITH_ASKPASS:
        return None
    return (
        f"{program} is Ansible {found['text']}, which needs the program sshpass to log in at sites, and there is none."
        " Install sshpass, or set PRESTAGER_ANSIBLE to the ansible-playbook of Ansible 2.19 or later."
    )


def prints_error(printed: str) -> bool:
    """Return whether Ansible printed an error, whatever it is worth."""
    return _ERROR.search(printed) is not None


def load_error(printed: str, directory: Path) -> str | None:
    """Return a sentence about the first error that Ansible printed; None: it printed none that counts.

    Args:
        printed: What `ansible-playbook --syntax-check` printed; colours are off.

        directory: That of the playbooks; names of files below it are shown from there on.
    """
    begin = _ERROR.search(printed)
    if begin is None:
        return None
    block = _ERROR.split(printed[begin.end() :], maxsplit=1)[0]
    place = _place(block, directory)
    message = _QUOTES.split(block, maxsplit=1)[0].strip()
    if _UNDEFINED.search(message):
        return None
    for kind in _KINDS:
        found = kind.pattern.search(message)
        if found is not None:
            name = next((group for group in found.groups() if group), "")
            text = f"{place or 'A playbook'} {kind.text.format(name=_shown(name, directory))}."
            return sentence(f"{text} {kind.remedy}." if kind.remedy else text)
    first = message.split("\n", 1)[0]
    told = mask_fields(_unquoted(first), _MASK)[:_LONGEST].rstrip(".")
    return sentence(f"Ansible cannot load {place.rstrip(',') or 'the playbooks'}: {told}.")


def _unquoted(message: str) -> str:
    """Return a message without what it quotes of a file."""
    return _URL_LOGIN.sub(_MASK, _BRACKETS.sub("(…)", _QUOTING.sub("", message)))


def _place(block: str, directory: Path) -> str:
    found = _PLACE.search(block)
    if found is None:
        return ""
    file, line = found["new"] or found["old"], found["new_line"] or found["old_line"]
    return f"{_shown(file, directory)}, line {line},"


def _shown(name: str, directory: Path) -> str:
    return name.removeprefix(f"{directory}/")
