"""JSON Schemas as HTML: names, types and limits, for people."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any, Final

Schema = Mapping[str, Any]

_CODE: Final = re.compile(r"`([^`]*)`")
# Keywords that narrow a type, with their wording.
_LIMITS: Final = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "maxItems": "at most {} entries",
    "pattern": "matches {}",
    "format": "as {}",
    "contentEncoding": "in {}",
    "contentMediaType": "holds {}",
}


def prose(text: str) -> str:
    """Return a text as HTML paragraphs, with parts in backticks as code."""
    paragraphs = (_CODE.sub(r"<code>\1</code>", escape(part)) for part in text.split("\n\n") if part)
    return "".join(f"<p>{part}</p>" for part in paragraphs)


def field_list(rows: Iterable[tuple[str, str]], kind: str = "fields") -> str:
    """Return a list of names with their descriptions, both HTML; `kind` is the class of the style sheet."""
    return f'<dl class="{kind}">{"".join(f"<div><dt>{name}</dt><dd>{told}</dd></div>" for name, told in rows)}</dl>'


def schema_articles(schemas: Mapping[str, Schema]) -> Iterator[str]:
    """Return one article for each named schema, to which `type_text` links."""
    for name, schema in schemas.items():
        parts = [f"<h3>{escape(name)}</h3>", prose(schema.get("description", ""))]
        if "properties" in schema:
            parts.append(field_list(_fields(schema)))
        else:
            parts.append(f"<p>{type_text(schema)}</p>")
        yield f'<article id="{_anchor(name)}">{"".join(parts)}</article>'


def details(schema: Schema) -> str:
    """Return type, limits and default of a field."""
    default = f"; default <code>{escape(json.dumps(schema['default']))}</code>" if "default" in schema else ""
    return f'<p class="soft">{type_text(schema)}{default}</p>'


def type_text(schema: Schema) -> str:
    """Return the type of a schema with its limits."""
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " or ".join(f"<code>{escape(json.dumps(value, ensure_ascii=False))}</code>" for value in values)
    if "type" not in schema and "anyOf" in schema:
        return " or ".join(map(type_text, schema["anyOf"]))
    return f"{_plain_type(schema)}{_limits(schema)}"


def _plain_type(schema: Schema) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{_anchor(name)}">{escape(name)}</a>'
    if schema.get("type") == "array":
        return f"list of {type_text(schema.get('items', {}))}"
    if "properties" in schema:
        return "parts " + ", ".join(f"<code>{escape(name)}</code>" for name in schema["properties"])
    if isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {type_text(schema['additionalProperties'])}"
    return escape(schema.get("type", "anything"))


def _fields(schema: Schema) -> Iterator[tuple[str, str]]:
    needed = schema.get("required", ())
    for name, one in schema["properties"].items():
        mark = ' <span class="needed">needed</span>' if name in needed else ""
        yield f"<code>{escape(name)}</code>{mark}", prose(one.get("description", "")) + details(one)


def _limits(schema: Schema) -> str:
    found = [_LIMITS[key].format(f"<code>{escape(str(schema[key]))}</code>") for key in _LIMITS if key in schema]
    return f", {', '.join(found)}" if found else ""


def _anchor(name: str) -> str:
    return f"schema-{escape(name)}"
