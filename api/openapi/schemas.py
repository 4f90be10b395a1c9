"""JSON Schemas of models and types: the large ones by name, below `components`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

from messages.requests.reading import Request

_REF: Final = "#/components/schemas/{model}"


class _Generator(GenerateJsonSchema):
    """Leaves out what tells nothing: titles made of names, and null as the default of what may be left out."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        found = super().default_schema(schema)
        if found.get("default", ...) is None:
            del found["default"]
        return found


class Schemas:
    """The schemas of the given models, which judge, and types, which are shown."""

    def __init__(self, models: Iterable[type[Request]], types: Iterable[Any]) -> None:
        # A type may be unhashable, so each is known by its place.
        self._models = list(models)
        self._types = list(types)
        adapters: list[tuple[int, JsonSchemaMode, TypeAdapter[Any]]] = [
            (place, "validation", TypeAdapter(model)) for place, model in enumerate(self._models)
        ]
        adapters += [
            (place, "serialization", TypeAdapter(one)) for place, one in enumerate(self._types, len(self._models))
        ]
        self._found, document = TypeAdapter.json_schemas(adapters, ref_template=_REF, schema_generator=_Generator)
        self.components: Mapping[str, Any] = document.get("$defs", {})

    def of_model(self, model: type[Request]) -> dict[str, Any]:
        """Return the schema of a body."""
        return dict(self._found[self._models.index(model), "validation"])

    def of_type(self, shown: Any) -> dict[str, Any]:
        """Return the schema of what is shown."""
        return dict(self._found[len(self._models) + self._types.index(shown), "serialization"])


def parameters(query: type[Request]) -> list[dict[str, Any]]:
    """Return the parameters of a query; each may be left out."""
    properties = query.model_json_schema(schema_generator=_Generator)["properties"]
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": schema.pop("description"),
            "schema": _without_null(schema),
        }
        for name, schema in properties.items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter that is there: text stands for everything but null."""
    others = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    return others[0] if len(others) == 1 else schema
