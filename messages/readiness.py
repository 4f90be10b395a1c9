"""Results of the checks behind `/readyz`, as both listeners of a process answer with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

# Checks that are told and do not make a process unready: it does its own work all the same.
INFORMATIVE: Final = frozenset({"workers"})


def is_ready(checks: Mapping[str, str | None]) -> bool:
    """Return whether a process can do its work: every check is None, or is only told."""
    return all(fault is None for name, fault in checks.items() if name not in INFORMATIVE)


def readiness_body(checks: Mapping[str, str | None], key: str) -> dict[str, Any]:
    """Return the body of an answer: under `key` whether it is ready, and each check's sentence or `ok`."""
    return {key: is_ready(checks), "checks": {name: fault or "ok" for name, fault in checks.items()}}
