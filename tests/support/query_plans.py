"""Plans by which PostgreSQL has really carried out statements, as its module auto_explain reports them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sqlalchemy import Engine, event

_SETTINGS = {
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_format": "json",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_timing": "off",
    "client_min_messages": "log",
}


@dataclass(frozen=True)
class QueryPlan:
    """The plan of one statement, with the rows that each of its nodes has had."""

    statement: str
    root: dict[str, Any]

    @property
    def nodes(self) -> Iterator[dict[str, Any]]:
        """Yield all nodes."""
        return _below(self.root)

    @cached_property
    def rows(self) -> int:
        """Rows that all nodes together have read, kept or not."""
        return round(sum(_rows(node) * node["Actual Loops"] for node in self.nodes))

    def repeated_scans(self, tables: Collection[str]) -> list[str]:
        """Return those of the tables that were read whole more than once, for a row of something else."""
        return [
            f"{node['Relation Name']}, {node['Actual Loops']} times"
            for node in self.nodes
            if node["Node Type"] == "Seq Scan" and node["Actual Loops"] > 1 and node["Relation Name"] in tables
        ]

    def explained(self) -> str:
        """Return the statement with its plan, a line for each node."""
        return "\n".join((self.statement, *_lines(self.root, "")))


@dataclass
class CollectedPlans:
    """Plans in the order in which their statements have ended."""

    plans: list[QueryPlan] = field(default_factory=list)

    def take(self) -> list[QueryPlan]:
        """Return the plans since the last time."""
        taken, self.plans = self.plans, []
        return taken

    def note(self, diagnostic: Any) -> None:
        """Keep the plan of a report; other messages of the server are none."""
        _, is_plan, text = diagnostic.message_primary.partition("plan:\n")
        if is_plan:
            report = json.loads(text)
            self.plans.append(QueryPlan(report["Query Text"], report["Plan"]))


@contextmanager
def collected_plans(engines: Collection[Engine], *, are_generic: bool = False) -> Iterator[CollectedPlans]:
    """Collect the plans of all statements of connections that are made meanwhile.

    With `are_generic` each statement is prepared and gets the plan that fits any parameters, as a statement may that
    was sent often; otherwise driver and server decide, as they do for the service.
    """
    collected = CollectedPlans()
    settings = _SETTINGS | ({"plan_cache_mode": "force_generic_plan"} if are_generic else {})

    def prepare(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("LOAD 'auto_explain'")
            for name, value in settings.items():
                cursor.execute(f"SET {name} = '{value}'")
        connection.commit()
        if are_generic:
            connection.prepare_threshold = 0
        connection.add_notice_handler(collected.note)

    for engine in engines:
        event.listen(engine, "connect", prepare)
        engine.dispose()
    try:
        yield collected
    finally:
        for engine in engines:
            event.remove(engine, "connect", prepare)
            engine.dispose()


def _below(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _below(child)


def _rows(node: dict[str, Any]) -> float:
    removed = (value for name, value in node.items() if name.startswith("Rows Removed by"))
    return float(node["Actual Rows"] + sum(removed))


def _lines(node: dict[str, Any], indent: str) -> Iterator[str]:
    name = " ".join(node[key] for key in ("Node Type", "Relation Name", "Index Name") if key in node)
    conditions = "; ".join(node[key] for key in ("Index Cond", "Filter", "Join Filter", "Hash Cond") if key in node)
    yield f"{indent}{name}: {_rows(node):g} rows x {node['Actual Loops']} ({conditions})"
    for child in node.get("Plans", ()):
        yield from _lines(child, f"{indent}  ")
