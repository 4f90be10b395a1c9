"""Reads the file in which our Ansible callback keeps the failures that are the reason of a failed run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from runner.failure_text import failure_sentence
from runner.masking import Masker

# Environment variable that names the file to the callback; also in callback_plugins/prestager_failures.py, which
# imports nothing of ours because Ansible loads it.
FAILURES_VARIABLE: Final = "PRESTAGER_FAILURES_FILE"


def read_failures(file: Path, masker: Masker) -> list[str]:
    """Return a sentence for each failure, oldest first, without secrets. No file means no failure.

    Records are masked whole: a sentence is made of parts, and in a part half a secret would not be known.
    """
    try:
        records = json.loads(file.read_text())
    except (OSError, ValueError):
        return []
    return [_sentence(masker.value(record)) for record in records]


def _sentence(record: Mapping[str, Any]) -> str:
    return failure_sentence(record, record["result"], is_unreachable=record["unreachable"])
