"""Make docs/settings.md, the table of all settings, from the settings model."""  # noqa: INP001 - part of a program

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, get_args

from annotated_types import Ge, Gt, Le
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from messages.requests.rollout import RolloutOptions
from service.settings import Settings

_PREFIX: Final = "PRESTAGER_"
_INTRODUCTION: Final = """\
# Settings

Environment variables, or the same names without `PRESTAGER_`, in lower case, in a TOML file that `PRESTAGER_CONFIG`
names; the environment wins. `prestager config show` prints all settings with their source, secrets redacted;
`prestager config check` names every error at once. A setting whose name ends in `_FILE` names a file with the value, so
that a secret need not be in the environment; only one of the two may be set. A name in brackets is a table, which
stands in the file alone, below all other settings.

This page is made from the code by `make documents`.
"""
# First setting of each section.
_SECTIONS: Final[Mapping[str, str]] = {
    "data_dir": "Database and broker",
    "listen": "API",
    "secret_key": "Secrets",
    "auth": "Callers",
    "release": "Content and playbooks",
    "inspector": "Facts of sites",
    "controller_check": "System controller",
    "allow_duplex": "Sites",
    "slots": "Workers and runs",
    "command_timeout_s": "Commands",
    "probe": "Availability probe",
    "rollout": "Strategies",
    "audit_days": "Retention",
    "webhook_ca_file": "Webhooks",
    "worker_name": "Processes",
    "tracing": "Traces",
    "log_format": "Log",
}
# Defaults that depend on the machine.
_COMPUTED: Final[Mapping[str, str]] = {
    "playbooks_dir": "those of Prestager",
    "ansible": "that of Prestager",
    "ansible_config": "that of Prestager",
    "slots": "by cores and memory",
    "worker_name": "name of the host",
}


def settings_text() -> str:
    """Return the page.

    Raises:
        ValueError: A section begins with a setting that does not exist.
    """
    unknown = _SECTIONS.keys() - Settings.model_fields.keys()
    if unknown:
        raise ValueError(f"sections begin with unknown settings: {sorted(unknown)}")
    return _INTRODUCTION + "".join(_lines())


def _lines() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        if name in _SECTIONS:
            yield f"\n## {_SECTIONS[name]}\n\n| variable | default | values | meaning |\n|---|---|---|---|\n"
        variable = f"[{name}]" if field.annotation is RolloutOptions else f"{_PREFIX}{name.upper()}"
        cells = (f"`{variable}`", _default(name, field), _values(field), field.description or "")
        yield f"| {' | '.join(cells)} |\n"


def _default(name: str, field: FieldInfo) -> str:
    if name in _COMPUTED:
        return _COMPUTED[name]
    if field.default is PydanticUndefined or field.default is None or not str(field.default):
        return ""
    value = field.default
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _values(field: FieldInfo) -> str:
    choices = [value for value in get_args(field.annotation) if isinstance(value, str)]
    if choices:
        return ", ".join(f"`{value}`" for value in choices)
    low = next(
        (f"{c.ge}" if isinstance(c, Ge) else f"above {c.gt}" for c in field.metadata if isinstance(c, Ge | Gt)), ""
    )
    high = next((f"{c.le}" for c in field.metadata if isinstance(c, Le)), "")
    return f"{low} to {high}" if low and high else low + (" or more" if low.isdigit() else "")
