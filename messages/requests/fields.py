"""Fields that several requests have: flags in the spellings of the wire, and references to groups."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, StrictBool, StrictInt

from messages.requests.base import AcceptedAs, ErrorMessage


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
