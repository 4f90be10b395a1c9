"""Validation of requests: types and constraints decide, and each field brings the words of its errors.

The JSON Schema of the documents is made from the same types and constraints, so it promises what is accepted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema

from messages.errors import RequestError

_FAULT: Final = "request-fault"
# Enough to recognise a value that a text repeats, in characters.
_SHOWN: Final = 64


class Request(BaseModel):
    """What somebody sends. The order of the fields is the order in which faults are told.

    Attributes:
        unused_names: Names that may be sent and are ignored; see `messages.requests.names`. None: any.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    unused_names: ClassVar[frozenset[str] | None] = None

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Return the schema, with each further spelling of a field as a property of its own, and closed if it is."""
        document = handler.resolve_ref_schema(handler(schema))
        properties = document.get("properties", {})
        for field in cls.model_fields.values():
            if isinstance(field.validation_alias, AliasChoices):
                first, *others = (str(choice) for choice in field.validation_alias.choices)
                for other in others:
                    description = f"Another spelling of `{first}`, which counts where both are given."
                    properties[other] = {**properties[first], "description": description}
        if cls.unused_names is not None:
            document["additionalProperties"] = False
        if cls.unused_names:
            names = "|".join(map(re.escape, sorted(cls.unused_names)))
            # A pattern, for as properties they would be what generated clients offer.
            document["patternProperties"] = {f"^({names})$": {"description": "Known to dcmanager, and not used."}}
        return document


_R = TypeVar("_R", bound=Request)


def taken_names(model: type[Request]) -> set[str]:
    """Return every spelling of every field that `model` takes."""
    names: set[str] = set()
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        names |= {str(one) for one in alias.choices} if isinstance(alias, AliasChoices) else {str(alias or name)}
    return names


class AcceptedAs:
    """Marks a field that is sent in other forms than it is kept in: `forms` come in, `into` makes the value of them."""

    def __init__(self, forms: Any, into: Callable[[Any], Any]) -> None:
        self._forms = forms
        self._into = into

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema of the forms; what the field is declared as says what becomes of them."""
        del source
        return core_schema.no_info_after_validator_function(self._into, handler.generate_schema(self._forms))


class ErrorMessage:
    """Marks a field with what is said when it is wrong.

    Args:
        text: The words, or what chooses them by the value; a fault that the field's own functions raise keeps its
            words. `{key}` stands for the name of the field as it was sent, `{value}` for what was sent, cut short.

        missing: The words for a required field that is not there.
    """

    def __init__(self, text: str | Callable[[Any], str], *, missing: str | None = None) -> None:
        self._text = text
        self.missing = missing

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the field's own schema, with a look at its faults around it."""
        return core_schema.no_info_wrap_validator_function(self._judge, handler(source))

    def _judge(self, value: Any, judge: core_schema.ValidatorFunctionWrapHandler) -> Any:
        try:
            return judge(value)
        except ValidationError as error:
            own = next((one["ctx"] for one in error.errors(include_url=False) if one["type"] == _FAULT), None)
        # Outside of the block, for the cause would hold the value.
        text = own["text"] if own else self._text if isinstance(self._text, str) else self._text(value)
        raise fault(text, (own and own["value"]) or shown(value))


def fault(text: str, value: str = "") -> PydanticCustomError:
    """Return what a function of a field raises; `{key}` stands for the field's name as sent, `{value}` for `value`."""
    return PydanticCustomError(_FAULT, "{text}", {"text": text, "value": value})


def shown(value: Any) -> str:
    """Return a value as an error may repeat it: on one line, cut short, and without what cannot be encoded."""
    text = str(value).encode(errors="replace").decode()
    # Escaped after the cut, for text of any length may come; terminals and pages would obey what is not printable.
    short = text if len(text) <= _SHOWN else text[: _SHOWN - 2] + ".."
    return short if short.isprintable() else "".join(map(_printable, short))


def _printable(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]


def read(model: type[_R], data: Mapping[str, Any]) -> _R:
    """Return the request that `data` holds.

    Raises:
        RequestError: With the words for the first field in the model's order that is wrong.
    """
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        text = _text(model, error.errors(include_url=False)[0])
    # Outside of the block, for the cause would hold what was sent.
    raise RequestError(text)


def _text(model: type[Request], error: ErrorDetails) -> str:
    key = str(error["loc"][0]) if error["loc"] else "request"
    context = error["ctx"] if error["type"] == _FAULT else {"text": "Invalid {key}", "value": ""}
    text = context["text"]
    if error["type"] == "missing":
        text = next((one.missing for one in _sayings(model, key) if one.missing is not None), "{key} required")
    # The value last, for it may hold anything.
    return str(text).replace("{key}", key).replace("{value}", context["value"])


def _sayings(model: type[Request], key: str) -> list[ErrorMessage]:
    fields = (field for name, field in model.model_fields.items() if key in {name, field.alias})
    return [one for field in fields for one in field.metadata if isinstance(one, ErrorMessage)]
