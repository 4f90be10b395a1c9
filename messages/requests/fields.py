"""Fields of requests that hold objects, or lists of objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from messages.errors import RequestError
from messages.requests.base import Request, parse_request, reject_unknown, validation_error


class Nested:
    """Marks a field that holds an object: errors name the field and the key in it, and unknown keys are refused.

    Args:
        name: Name of the field; errors of an object within another have both names.

        model: The object's model.
    """

    def __init__(self, name: str, model: type[Request]) -> None:
        self._name = name
        self._model = model

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema of the model, with its errors in the words of requests."""
        return core_schema.no_info_before_validator_function(self._parse, handler(source))

    def _parse(self, value: Any) -> Any:
        return None if value is None else self._parse_object(self._name, value)

    def _parse_object(self, name: str, value: Any) -> Any:
        if isinstance(value, self._model):
            return value
        if not isinstance(value, Mapping):
            raise validation_error(f"{name} must be an object; GET /docs shows its keys")
        join = ": "
        try:
            reject_unknown(self._model, map(str, value))
            join = "."
            return parse_request(self._model, value)
        except RequestError as error:
            text = str(error)
        # Outside of the block, for the cause would hold what was sent.
        raise validation_error(f"{name}{join}{text}")


class NestedList(Nested):
    """Marks a field that holds a list of objects: errors name the field, the place in it from 0, and the key.

    Args:
        name: Name of the field.

        model: Model of each object.

        most: Most objects in the list; it has one at least.
    """

    def __init__(self, name: str, model: type[Request], most: int) -> None:
        super().__init__(name, model)
        self._most = most

    def _parse(self, value: Any) -> Any:
        if value is None or isinstance(value, tuple):
            return value
        if not isinstance(value, list) or not 1 <= len(value) <= self._most:
            raise validation_error(
                f"{self._name} must be a list of 1 to {self._most} objects; GET /docs shows their keys"
            )
        return tuple(self._parse_object(f"{self._name}[{place}]", one) for place, one in enumerate(value))
