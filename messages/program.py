"""What this program calls itself to others: in documents, metrics, traces and requests of its own."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def program_version() -> str:
    """Return the version that is installed; `unknown` in a folder of sources that never was."""
    try:
        return version("prestager")
    except PackageNotFoundError:
        return "unknown"
