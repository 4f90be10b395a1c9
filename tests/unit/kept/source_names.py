"""Names in the source code: texts, log events with their fields, metrics with their labels."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
_PACKAGES = [
    "actors",
    "api",
    "broker",
    "cli",
    "client",
    "db",
    "messages",
    "monitoring",
    "playbook_sets",
    "runner",
    "service",
    "sites",
    "statemachine",
    "tracing",
    "webhooks",
]
_LEVELS = {"debug", "info", "warning", "error", "exception", "log"}
# What structlog adds by itself.
_NO_FIELDS = {"exc_info"}


@cache
def _nodes() -> tuple[ast.AST, ...]:
    files = (file for package in _PACKAGES for file in sorted((ROOT / package).rglob("*.py")))
    return tuple(node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))))


def words(text: str) -> list[str]:
    """Return the words of a text."""
    return text.split()


@cache
def texts() -> set[str]:
    """Return every text that the source code holds, the parts of formatted ones too."""
    return {node.value for node in _nodes() if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@cache
def log_events() -> dict[str, set[str]]:
    """Return the events that are logged, each with the fields that any of its lines gives."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for node in _nodes():
        if isinstance(node, ast.Call) and node.args and _is_log(node.func):
            for event in _choices(node.args[0]):
                found[event] |= {field.arg for field in node.keywords if field.arg} - _NO_FIELDS
    return dict(found)


def scraped_labels() -> dict[str, tuple[str, ...]]:
    """Return the metrics that are written as name, help and labels, each with its labels."""
    found = {}
    for node in _nodes():
        if isinstance(node, ast.Tuple) and len(node.elts) == 4:
            name, _, labels, _ = node.elts
            if isinstance(name, ast.Constant) and isinstance(labels, ast.Tuple):
                found[str(name.value)] = tuple(_constants(labels))
    return found


def _is_log(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id == "log"
    return (
        isinstance(function, ast.Attribute)
        and function.attr in _LEVELS
        and isinstance(function.value, ast.Name)
        and function.value.id == "_log"
    )


def _choices(event: ast.expr) -> Iterator[str]:
    parts = [event.body, event.orelse] if isinstance(event, ast.IfExp) else [event]
    yield from (part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str))


def _constants(labels: ast.Tuple) -> Iterator[str]:
    yield from (
        label.value for label in labels.elts if isinstance(label, ast.Constant) and isinstance(label.value, str)
    )
