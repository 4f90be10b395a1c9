"""Redaction of log lines: secrets are masked by the name of a field, and by the form of a value.

The last line of defence: this program logs no secret. Libraries and texts of callers may hold one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from messages.secret_names import SIGNS, is_secret_name, mask_fields

MASK: Final = "********"

# Values that are secrets, wherever they stand. The first group of each stays. Callers choose the text: a pattern that
# looks at a name more than once, from each of its letters, takes ten seconds for a line of 8 kB.
_SECRET_VALUES: Final = (
    # Our own tokens, the secrets of webhooks, and Keystone's tokens (Fernet).
    re.compile(r"()\b(?:prst_[A-Za-z0-9_-]{20,}|whsec_[A-Za-z0-9+/=]{20,}|gAAAA[A-Za-z0-9_=-]{40,})"),
    # The password in a URL.
    re.compile(r"(://[^\s:/@]*:)[^\s@/]+(?=@)"),
    re.compile(r"(\b(?:Bearer|Basic)\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE),
    re.compile(r"()-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
)
# Each of those values holds one of these, in lower case. To look for them costs a twentieth, and few texts have one.
_SIGNS: Final = (
    *("prst_", "whsec_", "gaaaa", "://", "bearer", "basic"),
    *("-----begin", *SIGNS),
)
# Deeper values are not looked into; nothing of ours is.
_DEPTH: Final = 8


def redact(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Return a log record without secrets, as a processor of structlog; keys stay, values become asterisks."""
    if _is_innocent(event):
        return event
    for key in event:
        if not key.startswith("_"):
            event[key] = _redacted(key, event[key], _DEPTH)
    return event


def redact_text(text: str) -> str:
    """Return `text` with secrets masked."""
    if not _has_sign(text):
        return text
    for pattern in _SECRET_VALUES:
        text = pattern.sub(rf"\g<1>{MASK}", text)
    return mask_fields(text, MASK)


def _is_innocent(event: Mapping[str, Any]) -> bool:
    """Return, at little cost, whether there is surely no secret, as in nearly all lines of this program."""
    texts = []
    for key, value in event.items():
        if isinstance(value, str):
            texts.append(value)
        elif value is not None and not isinstance(value, bool | int | float):
            return False
        if is_secret_name(key):
            return False
    return not _has_sign("\n".join(texts))


def _has_sign(text: str) -> bool:
    # Without regard to case a pattern takes some other letters for ASCII's, such as the long s.
    if not text.isascii():
        return True
    low = text.lower()
    return any(sign in low for sign in _SIGNS)


def _redacted(key: str, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if is_secret_name(key):
        return MASK
    if depth and isinstance(value, Mapping):
        return {name: _redacted(str(name), one, depth - 1) for name, one in value.items()}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_redacted(key, one, depth - 1) for one in value]
    return redact_text(value.decode(errors="replace") if isinstance(value, bytes) else str(value))
