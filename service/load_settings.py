"""Reads the settings for a command and says everything that is wrong with them at once, by the names operators use.

No message holds a value: it may be a secret, or a secret in the wrong place.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import ValidationError
from sqlalchemy.engine import make_url

from messages.errors import TomlError
from messages.parse_errors import line_of, plain_validation_text, read_toml
from messages.requests.rollout import RolloutOptions
from messages.secret_names import is_secret_name, secret_names
from service.errors import CommandError
from service.settings import CONFIG_FILE_VARIABLE, Settings

_PREFIX: Final = "PRESTAGER_"
# Variables of the commands over HTTP (`client/contexts.py`), which may be set where the service runs too.
_OF_THE_CLIENT: Final = frozenset({"PRESTAGER_URL", "PRESTAGER_TOKEN_FILE", "PRESTAGER_CONTEXT", "PRESTAGER_CONNECT_S"})
# Settings that are tables of the file.
_TABLES: Final = frozenset({"rollout"})
_REDACTED: Final = "********"
_ROUNDS: Final = 3


@dataclass(frozen=True, kw_only=True)
class ShownSetting:
    """One setting as it may be printed."""

    # PRESTAGER_..., or the table of the file in brackets.
    variable: str
    # Without secrets; empty: not set.
    value: str
    # Where the value comes from.
    source: str


def variable_of(field: str) -> str:
    """Return the environment variable of a setting."""
    return f"{_PREFIX}{field.upper()}"


def read_settings(**given: int | str) -> Settings:
    """Return the settings, with `given` instead of what they say.

    Raises:
        CommandError: One fault for each setting that is wrong.
    """
    settings, faults = examine_settings(**given)
    if settings is None or faults:
        raise CommandError("The settings are not usable; correct them and try again.", faults)
    return settings


def examine_settings(**given: int | str) -> tuple[Settings | None, list[str]]:
    """Return the settings, with `given` instead of what they say, and one sentence per fault.

    A setting that is wrong has its default, so that the others can be looked at; None when that does not help.
    """
    fault = _config_file_fault()
    if fault is not None:
        return None, [fault]
    faults: list[str] = []
    replaced: dict[str, Any] = dict(given)
    # Rules over several settings are checked once each of them is right, so there may be a second round.
    for _round in range(_ROUNDS):
        try:
            return Settings(**replaced), faults
        except ValidationError as error:
            for one in error.errors(include_input=False, include_context=False):
                faults.append(_sentence(one))
                replaced |= _replacement(one["loc"])
    return None, list(dict.fromkeys(faults))


def _replacement(place: tuple[int | str, ...]) -> dict[str, Any]:
    """Return the defaults of what is wrong; only the two sources of the key are checked together."""
    wrong = {str(place[0])} if place else {"secret_key", "secret_key_file"}
    if "tls_key_file" in wrong:
        wrong.add("tls_certificate_file")
    if any(name.startswith("keystone_") for name in wrong):
        # Without Keystone none of its settings is needed, so that the default will do.
        wrong.add("auth")
    fields = Settings.model_fields
    return {name: fields[name].get_default(call_default_factory=True) for name in wrong if name in fields}


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Return one sentence for each PRESTAGER_ variable that is no setting and so has no effect."""
    known = {CONFIG_FILE_VARIABLE, *_OF_THE_CLIENT, *map(variable_of, Settings.model_fields)}
    unknown = sorted(name for name in environment if name.upper().startswith(_PREFIX) and name.upper() not in known)
    return [f"{name} is not a setting{did_you_mean(name.upper(), known)}" for name in unknown]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that names the nearest known name, if one is near."""
    near = get_close_matches(name, sorted(known), n=1, cutoff=0.7)
    return f"; did you mean {near[0]}?" if near else "."


def shown_settings(settings: Settings) -> list[ShownSetting]:
    """Return every setting, in the order of the model, without secrets."""
    return [
        ShownSetting(
            variable=f"[{field}]" if field in _TABLES else variable_of(field),
            value=_shown_value(field, getattr(settings, field)),
            source=_secret_file(settings, field) or _source(field),
        )
        for field in Settings.model_fields
    ]


def _secret_file(settings: Settings, field: str) -> str | None:
    """Return the file that a URL or a password was read from."""
    file = getattr(settings, f"{field}_file", None) if field.endswith(("_url", "_password")) else None
    return None if file is None else str(file)


def config_file() -> Path | None:
    """Return the file of settings, whether it is there or not; None where none is named."""
    name = os.environ.get(CONFIG_FILE_VARIABLE)
    return Path(name) if name else None


def holds_secrets(file: Path) -> bool:
    """Tell whether a file of settings holds a secret itself; one that cannot be read holds none."""
    try:
        content = _content(file)
        return any(secret_names(content)) or any(urlsplit(str(value)).password for value in content.values())
    except (OSError, ValueError, TomlError):
        return False


def _config_file_fault() -> str | None:
    # Told here with the name of the variable, and before anything else of the settings is looked at.
    file = config_file()
    if file is None:
        return None
    try:
        _content(file)
    except OSError as error:
        return f"{CONFIG_FILE_VARIABLE} names {file}, which cannot be read: {error.strerror}."
    except UnicodeDecodeError:
        return f"{CONFIG_FILE_VARIABLE} names {file}, which is not a text file in UTF-8."
    except TomlError as error:
        return f"{CONFIG_FILE_VARIABLE} names {file}, which is not TOML: {error}."
    return None


def _content(file: Path) -> dict[str, Any]:
    return read_toml(file.read_text(encoding="utf-8"))


def _sentence(error: Mapping[str, Any]) -> str:
    message = plain_validation_text(str(error["msg"]))
    if not error["loc"]:
        return f"{message[:1].upper()}{message[1:]}."
    field = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return _unknown_setting(field)
    if field in _TABLES and not _in_environment(field):
        return f"[{field}] in {config_file()}: {message}{'' if message.endswith('?') else '.'}"
    place = _place(field)
    if error["type"] == "string_type" and place:
        # A release or an address without quotes is a number, or a table, for TOML.
        message += f': write it in quotes, {field} = "…"'
    return f"{variable_of(field)} {place}{message}."


def _unknown_setting(name: str) -> str:
    file = config_file()
    if file is not None and isinstance(_content(file).get(name), dict):
        return f"[{name}] in {file} is a table, and settings stand in none: remove the line."
    return f"{name} in {_with_line(name)} is not a setting{did_you_mean(name, Settings.model_fields)}"


def _with_line(field: str) -> str:
    """Return the file of settings, with the line of one of them."""
    file = config_file()
    if file is None:
        return "the settings"
    number = line_of(field, file.read_text(encoding="utf-8"))
    return str(file) if number is None else f"{file}, line {number},"


def _place(field: str) -> str:
    file = _source(field)
    # What is set nowhere is missed where it is looked for first.
    return "" if file in {"environment", "default"} else f"({field} in {_with_line(field).rstrip(',')}) "


def _source(field: str) -> str:
    if _in_environment(field):
        return "environment"
    file = config_file()
    return str(file) if file is not None and field in _content(file) else "default"


def _in_environment(field: str) -> bool:
    wanted = variable_of(field)
    # Names are read in any case, and an empty variable counts as not set.
    return any(value for name, value in os.environ.items() if name.upper() == wanted)


def _shown_value(field: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, RolloutOptions):
        return json.dumps(value.given()) if value.given() else ""
    if field == "database_url":
        return _shown_url(value.get_secret_value()) if hasattr(value, "get_secret_value") else _REDACTED
    return _REDACTED if hasattr(value, "get_secret_value") else str(value)


def _shown_url(text: str) -> str:
    url = make_url(text)
    # Of letters: others would be escaped.
    hidden = {name: "hidden" for name in url.query if is_secret_name(name)}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)
