"""Validation of requests: types and constraints decide, and each field brings the words of its errors.

The JSON Schema of the documents is made from the same types and constraints, so it promises what is accepted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, ClassVar, Final, TypeVar

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StrictBool,
    StrictInt,
    ValidationError,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema

from messages.errors import RequestError

_ERROR_TYPE: Final = "request-error"
# Enough to recognise a value that a text repeats, in characters.
_MOST_SHOWN: Final = 64


class Request(BaseModel):
    """Content of a command, a body or a query. Errors are looked for in the order of the fields.

    Attributes:
        unused_names: Names that may be sent and are ignored. None: any.

        fixed_names: Names that only the request which creates the thing takes.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    unused_names: ClassVar[frozenset[str] | None] = None
    fixed_names: ClassVar[frozenset[str]] = frozenset()

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
        text: The words, or what chooses them by the value; an error that the field's own functions raise keeps its
            words. `{key}` stands for the name of the field as it was sent, `{value}` for what was sent, cut short.

        missing: The words for a required field that is not there.
    """

    def __init__(self, text: str | Callable[[Any], str], *, missing: str | None = None) -> None:
        self._text = text
        self.missing = missing

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the field's own schema, with its errors replaced by the words."""
        return core_schema.no_info_wrap_validator_function(self._validate, handler(source))

    def _validate(self, value: Any, validate: core_schema.ValidatorFunctionWrapHandler) -> Any:
        try:
            return validate(value)
        except ValidationError as error:
            own = next((one["ctx"] for one in error.errors(include_url=False) if one["type"] == _ERROR_TYPE), None)
        # Outside of the block, for the cause would hold the value.
        text = own["text"] if own else self._text if isinstance(self._text, str) else self._text(value)
        raise validation_error(text, (own and own["value"]) or truncate_for_error(value))


def validation_error(text: str, value: str = "") -> PydanticCustomError:
    """Return the error of a field's function; `{key}` stands for the field's name as sent, `{value}` for `value`."""
    return PydanticCustomError(_ERROR_TYPE, "{text}", {"text": text, "value": value})


def truncate_for_error(value: Any) -> str:
    """Return a value as an error may repeat it: on one line, cut short, and without what cannot be encoded."""
    text = str(value).encode(errors="replace").decode()
    # Escaped after the cut, for text of any length may come; terminals and pages would obey what is not printable.
    short = text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 2] + ".."
    return short if short.isprintable() else "".join(map(_printable, short))


def _printable(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]


def parse_request(model: type[_R], data: Mapping[str, Any]) -> _R:
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
    context = error["ctx"] if error["type"] == _ERROR_TYPE else {"text": "Invalid {key}", "value": ""}
    text = context["text"]
    if error["type"] == "missing":
        text = next((one.missing for one in _messages(model, key) if one.missing is not None), "{key} required")
    # The value last, for it may hold anything.
    return str(text).replace("{key}", key).replace("{value}", context["value"])


def _messages(model: type[Request], key: str) -> list[ErrorMessage]:
    fields = (field for name, field in model.model_fields.items() if key in {name, field.alias})
    return [one for field in fields for one in field.metadata if isinstance(one, ErrorMessage)]


# How alike the nearest name has to be, from 0 to 1: one letter too many or too few in a short name still is.
_LIKENESS: Final = 0.6
# Longest name that is compared, in characters: longer ones are no slip of the finger, and take the square of it.
_COMPARED: Final = 64
# Names of which no two look alike, and that end where they seem to.
_PLAIN: Final = re.compile(r"[!-~]+")


def reject_unknown(model: type[Request], names: Iterable[str], *, noun: str = "field") -> None:
    """Do nothing where `model` takes or at least knows every name.

    Args:
        model: Its `unused_names` are known though not taken; with None every name is.

        names: As they were sent.

        noun: What each of them is the name of.

    Raises:
        RequestError: Names the first, in the order of the alphabet, that is not known, and the nearest that is: one
            that is taken, if any is near.
    """
    if model.unused_names is None:
        return
    taken = taken_names(model)
    unknown = sorted(set(names) - taken - model.unused_names)
    if unknown and unknown[0] in model.fixed_names:
        raise RequestError(f"{unknown[0]} is fixed at create")
    if unknown:
        raise RequestError(unknown_text(unknown[0], taken, noun, model.unused_names))


def unknown_text(name: str, taken: Iterable[str], noun: str = "field", unused: Iterable[str] = ()) -> str:
    """Return the words for a name that is not known: with the nearest that is taken, else the nearest unused one."""
    nearest = _nearest(name, taken) or _nearest(name, unused)
    instead = f"did you mean {nearest}?" if nearest else f"GET /docs shows the {noun}s that there are"
    return f"Unknown {noun}: {_quoted(name)}; {instead}"


def _nearest(name: str, names: Iterable[str]) -> str | None:
    if len(name) > _COMPARED:
        return None
    return next(iter(get_close_matches(name.lower(), sorted(names), n=1, cutoff=_LIKENESS)), None)


def _quoted(name: str) -> str:
    """Return a name such that it looks like no other: with blanks at its ends or letters of elsewhere as escapes."""
    text = truncate_for_error(name)
    return text if _PLAIN.fullmatch(name) else f"'{text.encode('ascii', 'backslashreplace').decode()}'"


def unused_fields(model: type[Request], names: Iterable[str]) -> list[str]:
    """Return those of the names of a body's fields, sorted, that `model` does not take."""
    return sorted(set(names) - taken_names(model))


def unused_note(model: type[Request], names: Iterable[str]) -> str | None:
    """Return the sentence about the fields that `model` does not take; None where it takes them all."""
    unused = unused_fields(model, names)
    return (
        f"Prestager does not use, and did not keep: {', '.join(map(truncate_for_error, unused))}." if unused else None
    )


def _is_set(value: bool | str | None) -> bool:  # noqa: FBT001 - the value itself
    return value.lower() in {"true", "t"} if isinstance(value, str) else bool(value)


_WORD: Final = "^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])$"
_WORD_OR_LETTER: Final = "^([Tt]([Rr][Uu][Ee])?|[Ff]([Aa][Ll][Ss][Ee])?)$"

# `true` or `false` as a JSON boolean or as text in any case; null is false.
_Flag = AcceptedAs(StrictBool | Annotated[str, Field(pattern=_WORD)] | None, _is_set)
# As above, and `t` or `f`.
_ShortFlag = AcceptedAs(StrictBool | Annotated[str, Field(pattern=_WORD_OR_LETTER)] | None, _is_set)

Force = Annotated[bool, _Flag, ErrorMessage("Invalid value '{value}' for force - must be True/False or 'true'/'false'")]
Option = Annotated[bool, _ShortFlag, ErrorMessage("Invalid value for {key} option: {value}")]
SubcloudForce = Annotated[
    bool | None,
    AcceptedAs(
        StrictBool | Annotated[str, Field(pattern=_WORD_OR_LETTER)] | None,
        lambda value: None if value is None else _is_set(value),
    ),
    ErrorMessage("Invalid force value"),
]


def _as_text(value: Any) -> str | None:
    return None if value is None else str(value)


# Name or id of a group; null is none. Whether there is such a group is not seen here.
GroupRef = Annotated[str | None, AcceptedAs(str | StrictInt | None, _as_text), ErrorMessage("Invalid group_id")]
NewGroupRef = Annotated[str | None, AcceptedAs(str | StrictInt | None, _as_text), ErrorMessage("Invalid group")]
