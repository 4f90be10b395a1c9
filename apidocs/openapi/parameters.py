"""Parameters of queries, as OpenAPI shows them."""

from __future__ import annotations

from typing import Any

from apidocs.json_schemas import Generator
from messages.requests.base import Request


def parameters(query: type[Request]) -> list[dict[str, Any]]:
    """Return the parameters of a query; each may be left out."""
    properties = query.model_json_schema(schema_generator=Generator)["properties"]
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": schema.pop("description"),
            "schema": _as_sent(_without_null(schema)),
        }
        for name, schema in properties.items()
    ]


def _as_sent(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with a default that is kept as a flag in the word that is sent for it."""
    if schema.get("type") == "string" and isinstance(schema.get("default"), bool):
        return {**schema, "default": str(schema["default"]).lower()}
    return schema


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter that is there: text stands for everything but null."""
    others = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    return others[0] if len(others) == 1 else schema
