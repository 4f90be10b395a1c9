"""Hides secrets, by value, in everything a run says: output, failure texts, facts."""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

MASK = "********"

# Lines of a secret with several lines (a private key) are hidden one by one from this length on, in characters.
_MIN_LINE_LENGTH = 8


class Masker:
    """Replaces each occurrence of a secret by asterisks.

    Known spellings are hidden too: as a JSON string, a Python literal, a shell word, percent-encoded and base64.
    A line break inside an occurrence does not save it, because Ansible wraps its warnings. A playbook that
    transforms a secret in some other way (reverses it, hashes it, prints it letter by letter) is not caught.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        spellings = {spelling for secret in secrets if secret for spelling in _spellings(secret)}
        longest_first = sorted(spellings, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(_broken, longest_first))) if longest_first else None

    def text(self, text: str) -> str:
        """Return `text` without secrets."""
        return self._pattern.sub(MASK, text) if self._pattern else text

    def value(self, value: Any) -> Any:
        """Return a JSON-like value with secrets hidden in every string, keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(key)): self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value


def _spellings(secret: str) -> set[str]:
    parts = {secret, *(line for line in secret.splitlines() if len(line) >= _MIN_LINE_LENGTH)}
    found = set(parts)
    for part in parts:
        found.add(json.dumps(part)[1:-1])
        found.add(json.dumps(part, ensure_ascii=False)[1:-1])
        found.add(repr(part)[1:-1])
        found.add(shlex.quote(part))
        found.add(part.replace("'", "''"))
        found.add(quote(part, safe=""))
        found.add(base64.b64encode(part.encode("utf-8", "replace")).decode())
    return found


def _broken(spelling: str) -> str:
    """Return a pattern that finds `spelling` even when it was wrapped over lines."""
    pieces = (r"\s+" if char.isspace() else re.escape(char) for char in spelling)
    return r"(?:\r?\n)?".join(pieces)
