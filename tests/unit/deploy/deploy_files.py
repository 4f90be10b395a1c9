"""docker-compose.yml as Compose reads it: merged, with variables that have defaults filled in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
_VARIABLE = re.compile(r"\$\{(\w+):([-?])([^}]*)\}")


def compose() -> dict[str, Any]:
    """Return the file's content."""
    text = (ROOT / "docker-compose.yml").read_text()
    document: dict[str, Any] = yaml.safe_load(_VARIABLE.sub(_filled, text))
    return document


def services() -> dict[str, dict[str, Any]]:
    """Return all services by name."""
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def ours() -> dict[str, dict[str, Any]]:
    """Return the services that run our image."""
    return {name: service for name, service in services().items() if service["image"].startswith("prestager:")}


def source_of(secret: str | dict[str, str]) -> str:
    """Return the name of a secret or configuration, mounted by its name or at a place of its own."""
    return secret if isinstance(secret, str) else secret["source"]


def _filled(match: re.Match[str]) -> str:
    return match[3] if match[2] == "-" else "23.09"
