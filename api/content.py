"""What a body may hold by its names: how long one is, and which keys are those of secrets."""

from __future__ import annotations

from typing import Any, Final

# What a name, a group or a subcloud, may have at most.
NAME_LENGTH: Final = 255

# Ends of keys whose values are secrets; compared without case, dashes as underscores.
_SECRET_ENDS: Final = ("password", "passphrase", "_pass", "_passwd", "private_key", "secret", "_token")
# Anywhere in the name of a connection variable: names there are many, and such a variable is kept and shown.
_SECRET_WORDS: Final = ("pass", "secret", "token", "private_key")


def is_secret(key: str) -> bool:
    """Tell by its name whether a key holds a secret."""
    return key.lower().replace("-", "_").endswith(_SECRET_ENDS)


def hints_at_secret(name: str) -> bool:
    """Tell by its name whether a connection variable may hold a secret."""
    return any(word in name.lower() for word in _SECRET_WORDS)


def without_secrets(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that may leave the API: no caller's secret goes into a message."""
    return {key: value for key, value in fields.items() if not is_secret(key)}
