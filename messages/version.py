"""Name and version of this program in documents, metrics, traces and its own requests."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final

# Of requests to dcmanager's API: id of the installation that asks, which must not ask itself.
INSTALLATION_HEADER: Final = "Prestager-Installation"


def program_version() -> str:
    """Return the version that is installed; `unknown` in a folder of sources that never was."""
    try:
        return version("prestager")
    except PackageNotFoundError:
        return "unknown"
