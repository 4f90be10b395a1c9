"""Name, version and readiness of a process, as documents, metrics, traces and health checks show them."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

# Of requests to dcmanager's API: id of the installation that asks, which must not ask itself.
INSTALLATION_HEADER: Final = "Prestager-Installation"


def program_version() -> str:
    """Return the version that is installed; `unknown` in a folder of sources that never was."""
    try:
        return version("prestager")
    except PackageNotFoundError:
        return "unknown"


# Checks that are shown and do not make a process unready: it does its own work all the same.
_SHOWN_ONLY: Final = frozenset({"workers"})
# The same for those who ask the API whether to bring it requests: it serves them whatever its own worker's playbooks
# are, and an operator needs it then to look and to abort.
SHOWN_ONLY_BY_API: Final = _SHOWN_ONLY | {"playbooks"}


def is_ready(checks: Mapping[str, str | None], shown_only: AbstractSet[str] = _SHOWN_ONLY) -> bool:
    """Return whether a process can do its work: every check is None, or is one of those that do not count."""
    return all(reason is None for name, reason in checks.items() if name not in shown_only)


def readiness_body(
    checks: Mapping[str, str | None], key: str, shown_only: AbstractSet[str] = _SHOWN_ONLY
) -> dict[str, Any]:
    """Return the body of an answer: under `key` whether it is ready, and each check's sentence or `ok`."""
    return {key: is_ready(checks, shown_only), "checks": {name: reason or "ok" for name, reason in checks.items()}}
