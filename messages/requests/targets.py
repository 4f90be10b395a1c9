"""Fields of requests that choose subclouds: by names, by a selector, and those that are excluded."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from pydantic import Field, StrictInt

from messages.limits import TEXT_LENGTH
from messages.requests.base import AcceptedAs, ErrorMessage, Request, validation_error
from messages.requests.fields import Nested
from statemachine.errors import SelectorError
from statemachine.selector import SELECTOR_LENGTH, Selector, parse_selector

# Most subclouds that a list in a request may name.
MOST_NAMES: Final = 5000

_Ref = Annotated[str, Field(min_length=1, max_length=TEXT_LENGTH)]
# Names and ids of subclouds, each once, in the order of the request.
CloudRefs = Annotated[
    tuple[str, ...] | None,
    AcceptedAs(
        Annotated[list[_Ref | StrictInt], Field(min_length=1, max_length=MOST_NAMES)] | None,
        lambda value: None if value is None else tuple(dict.fromkeys(map(str, value))),
    ),
    ErrorMessage(f"{{key}} must be a list of 1 to {MOST_NAMES} names or ids of subclouds"),
]


# The words for a selector that is no text, or too long.
NO_SELECTOR: Final = ErrorMessage(
    f"{{key}} must be a text of at most {SELECTOR_LENGTH} characters, such as region=eu,!old"
)


def read_selector(text: str | None) -> Selector | None:
    """Return the selector that a field of a request holds; None without one.

    Raises:
        PydanticCustomError: It cannot be read; the error says what is wrong with it.
    """
    if text is None:
        return None
    try:
        return parse_selector(text)
    except SelectorError as error:
        fault = str(error)
    raise validation_error(f"{{key}}: {fault}")


SelectorText = Annotated[
    Selector | None,
    AcceptedAs(
        Annotated[str, Field(max_length=SELECTOR_LENGTH, json_schema_extra={"examples": ["region=eu,tier!=gold,!old"]})]
        | None,
        read_selector,
    ),
    NO_SELECTOR,
]


class Exclusion(Request):
    """Subclouds that are left out: those that are named, and those that the selector matches."""

    unused_names: ClassVar[frozenset[str] | None] = frozenset()

    clouds: CloudRefs = Field(None, description="Names or ids of subclouds.")
    selector: SelectorText = Field(None, description="Matches the labels of subclouds.")


ExcludedTargets = Annotated[Exclusion | None, Nested("exclude", Exclusion)]
