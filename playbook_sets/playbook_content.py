"""Errors of one playbook, or one file of variables, that show in its YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import yaml

# Keys of an entry that brings another playbook in.
_IMPORTS: Final = frozenset({"import_playbook", "ansible.builtin.import_playbook"})
_HOSTS: Final = "hosts"
_MOST_DEEP: Final = 100

# Composing builds nodes only: tags such as !vault need no constructor, and aliases are not multiplied.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def content_error(path: Path, *, is_playbook: bool) -> str | None:
    """Return what is wrong with a file, as the end of a sentence about it; None: nothing that shows without Ansible.

    Raises:
        OSError: It cannot be read.
    """
    try:
        # Ansible, too, takes what is no UTF-8 for an error.
        text = path.read_text(encoding="utf-8")
        if _is_too_deep(text):
            return f"is nested more than {_MOST_DEEP} levels deep."
        document = yaml.compose(text, Loader=_LOADER)
    except UnicodeDecodeError:
        return "is not UTF-8."
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        return f"is not valid YAML at line {line}."
    except yaml.YAMLError:
        return "is not valid YAML."
    return _plays_error(document) if is_playbook else None


def _is_too_deep(text: str) -> bool:
    """Tell whether composing a document would recurse deeply: libyaml's ends the process then."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _MOST_DEEP:
            return True
    return False


def _plays_error(document: yaml.Node | None) -> str | None:
    if not isinstance(document, yaml.SequenceNode) or not document.value:
        return "is no list of plays."
    for play in document.value:
        pairs = play.value if isinstance(play, yaml.MappingNode) else []
        keys = {key.value for key, _ in pairs if isinstance(key, yaml.ScalarNode)}
        if _HOSTS not in keys and keys.isdisjoint(_IMPORTS):
            return f"has an entry at line {play.start_mark.line + 1} that names no hosts."
    return None
