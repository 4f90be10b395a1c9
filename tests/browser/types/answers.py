"""Types of the API's answers for the modules of the page, made of the API's own document: the namespace `Api`.

`make page-types` writes them to `var/page-types/api.d.ts` before TypeScript reads the page.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from apidocs.openapi.assembly import build_document

_FILE: Final = Path(__file__).parents[3] / "var" / "page-types" / "api.d.ts"
_PLAIN: Final = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def main() -> int:
    """Write the types, and return the exit status."""
    _FILE.parent.mkdir(parents=True, exist_ok=True)
    document = build_document()
    types = [f"  type {name} = {type_of(schema)};" for name, schema in document["components"]["schemas"].items()]
    _FILE.write_text("\n".join(["declare namespace Api {", *types, _answer_of(document["paths"]), "}", ""]))
    return 0


def _answer_of(paths: Mapping[str, Any]) -> str:
    """Return a type that has the answer to a GET by its path below `/v1.0`: `AnswerOf<"/workers">`."""
    found = []
    for path, methods in paths.items():
        answer = methods.get("get", {}).get("responses", {}).get("200", {}).get("content", {}).get("application/json")
        if path.startswith("/v1.0/") and answer:
            found.append((path.removeprefix("/v1.0"), type_of(answer["schema"])))
    # A parameter takes slashes too: what has more parts, and what names more of them, is asked for first.
    found.sort(key=lambda one: (-one[0].count("/"), one[0].count("{")))
    lines = [f"    P extends `{re.sub('{.*?}', '${string}', path)}` ? {answer} :" for path, answer in found]
    return "\n".join(["  type AnswerOf<P extends string> =", *lines, "    never;"])


def type_of(schema: Mapping[str, Any] | bool) -> str:
    """Return a JSON schema as a type of TypeScript; what is not said may be anything."""
    if isinstance(schema, bool):
        return "any"
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if values is not None:
        return " | ".join(json.dumps(value) for value in values)
    for several, sign in (("anyOf", " | "), ("oneOf", " | "), ("allOf", " & ")):
        if several in schema:
            return f"({sign.join(type_of(one) for one in schema[several])})"
    return _of_kind(schema, schema.get("type"))


def _of_kind(schema: Mapping[str, Any], kind: str | list[str] | None) -> str:
    if isinstance(kind, list):
        return f"({' | '.join(_of_kind(schema, one) for one in kind)})"
    if kind == "array":
        return f"({type_of(schema.get('items', True))})[]"
    return _object(schema) if kind == "object" else _PLAIN.get(str(kind), "any")


def _object(schema: Mapping[str, Any]) -> str:
    fields, needed = schema.get("properties", {}), schema.get("required", ())
    if not fields:
        others = schema.get("additionalProperties", True)
        return f"{{[key: string]: {type_of(others)}}}"
    inside = (f"{json.dumps(key)}{'' if key in needed else '?'}: {type_of(one)}" for key, one in fields.items())
    return f"{{{'; '.join(inside)}}}"


if __name__ == "__main__":
    sys.exit(main())
