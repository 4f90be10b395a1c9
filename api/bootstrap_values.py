"""The YAML file of a subcloud to add: read safely, with few surprises.

Only `true`/`false`, whole numbers and null are other than text: a version such as 22.10 stays what was written, a
location called `no` stays a location, and an IPv6 address never becomes a number to base sixty.
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from messages.json_limits import check

_FAULT: Final = "bootstrap_values"
_DEPTH: Final = 16


class BootstrapValuesError(Exception):
    """The file cannot be read; the message says why and where, and repeats nothing of the content."""


class _Loader(yaml.CSafeLoader):
    """Knows null, true/false and decimal whole numbers; all else is text."""


_Loader.yaml_implicit_resolvers = {}


def _know(tag: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


_know("null", r"^(?:~|null|Null|NULL|)$", "~nN\0")
_know("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF")
_know("int", r"^-?(?:0|[1-9][0-9]{0,17})$", "-0123456789")
# An empty scalar has no first character; PyYAML looks it up under the empty string.
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^$"), [""])


def parse_bootstrap_values(content: bytes) -> dict[str, Any]:
    """Return the mapping of a bootstrap values file, values nested as written.

    Raises:
        BootstrapValuesError: It is not UTF-8, not YAML, no mapping, nested too deeply, or uses aliases.
    """
    try:
        text = content.decode("utf-8-sig")
        _refuse_costly(text)
        values = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        raise BootstrapValuesError(f"{_FAULT} is not valid YAML{_place(error)}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise BootstrapValuesError(f"{_FAULT} is not valid YAML") from None
    except ValueError:
        raise BootstrapValuesError(f"{_FAULT} holds a value that cannot be read") from None
    return _mapping(values)


def _mapping(values: object) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise BootstrapValuesError(f"{_FAULT} must be a mapping of names to values")
    fields = {str(key): value for key, value in values.items()}
    try:
        check(fields)
    except ValueError:
        raise BootstrapValuesError(f"{_FAULT} holds a value that cannot be read") from None
    return fields


def _refuse_costly(text: str) -> None:
    """Refuse what grows out of proportion: aliases multiply, depth exhausts the stack."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise BootstrapValuesError(f"{_FAULT} must not use aliases")
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            depth += 1
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            depth -= 1
        if depth > _DEPTH:
            raise BootstrapValuesError(f"{_FAULT} is nested too deeply")


def _place(error: yaml.MarkedYAMLError) -> str:
    return f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
