"""JSON Schemas of models and types: the large ones by name, below `components`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

_REF: Final = "#/components/schemas/{model}"


class Generator(GenerateJsonSchema):
    """Generator of schemas without titles made of names, and without null as the default of optional fields."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Return that none is set."""
        del schema
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Return the schema of a field with a default."""
        found = super().default_schema(schema)
        if found.get("default", ...) is None:
            del found["default"]
        return found


class Schemas:
    """Schemas of models, which validate requests, and of types, which are shown in responses."""

    def __init__(self, models: Iterable[type[BaseModel]], types: Iterable[Any]) -> None:
        # A type may be unhashable, so each is known by its place.
        self._models = list(models)
        self._types = list(types)
        adapters: list[tuple[int, JsonSchemaMode, TypeAdapter[Any]]] = [
            (place, "validation", TypeAdapter(model)) for place, model in enumerate(self._models)
        ]
        adapters += [
            (place, "serialization", TypeAdapter(one)) for place, one in enumerate(self._types, len(self._models))
        ]
        self._found, document = TypeAdapter.json_schemas(adapters, ref_template=_REF, schema_generator=Generator)
        self.components: Mapping[str, Any] = document.get("$defs", {})

    def of_model(self, model: type[BaseModel]) -> dict[str, Any]:
        """Return the schema of a body."""
        return dict(self._found[self._models.index(model), "validation"])

    def of_type(self, shown: Any) -> dict[str, Any]:
        """Return the schema of a type that is shown."""
        return dict(self._found[len(self._models) + self._types.index(shown), "serialization"])
