"""Creating and changing a subcloud group (contract 5)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, Field, StrictInt

from messages.limits import TEXT_LENGTH
from messages.requests.base import AcceptedAs, ErrorMessage, Request, validation_error
from messages.requests.rollout import Rollout, RolloutOptions

DEFAULT_GROUP: Final = "Default"
MAX_PARALLEL: Final = 500
# What the client leaves out when the operator does.
_DEFAULT_WIDTH: Final = 2

_BAD_NAME: Final = "Invalid group name"


def _a_name(text: str) -> str:
    # A number would be taken for an id.
    if not text.strip() or text.isdigit() or text.casefold() == DEFAULT_GROUP.casefold():
        raise validation_error(_BAD_NAME)
    return text


# HEAD refuses characters for which a name may be taken for a pattern; a slash would end the name in an address.
_Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=TEXT_LENGTH,
        pattern=r"^[^.*+?|()\[\]{}^$/]+$",
        json_schema_extra={"not": {"pattern": r"^(\s*|[0-9]*|[Dd][Ee][Ff][Aa][Uu][Ll][Tt])$"}},
    ),
    AfterValidator(_a_name),
]
_Description = Annotated[str, Field(min_length=1, max_length=TEXT_LENGTH)]
_ApplyType = Literal["parallel", "serial"]
# The client sends text on add and a number on update.
_Width = (
    Annotated[StrictInt, Field(ge=1, le=MAX_PARALLEL)]
    | Annotated[str, Field(pattern=r"^0*([1-9][0-9]?|[1-4][0-9][0-9]|500)$", max_length=4)]
)

_NAME_SAYING: Final = ErrorMessage(_BAD_NAME, missing=_BAD_NAME)
_DESCRIPTION_SAYING: Final = ErrorMessage("Invalid group description", missing="Invalid group description")
_APPLY_TYPE_SAYING: Final = ErrorMessage("Invalid group update_apply_type")
_WIDTH_SAYING: Final = ErrorMessage("Invalid group max_parallel_subclouds")

_NAME: Final = "Neither a number nor `Default` in any case, and without `/` and `.*+?|()[]{}^$`; unique."
_APPLY: Final = "Whether its subclouds go through a strategy in parallel or one by one."
_ROLLOUT: Final = "Options of a rollout for strategies that name the group; given, it replaces all of them."
_WIDTH: Final = "Most subclouds at once, as a number or as text."


class _WithColumns(Request):
    def columns(self) -> dict[str, Any]:
        """Return the columns of the fields that were given."""
        columns = self.model_dump(exclude_none=True, exclude={"rollout"})
        rollout: RolloutOptions | None = getattr(self, "rollout", None)
        return columns if rollout is None else {**columns, "rollout": rollout.given()}


class GroupRequest(_WithColumns):
    """A group to be created."""

    unused_names: ClassVar[frozenset[str] | None] = frozenset()

    name: Annotated[_Name, _NAME_SAYING] = Field(description=_NAME)
    description: Annotated[_Description, _DESCRIPTION_SAYING] = Field(description="What the group is for.")
    update_apply_type: Annotated[_ApplyType, _APPLY_TYPE_SAYING] = Field("parallel", description=_APPLY)
    max_parallel_subclouds: Annotated[int, AcceptedAs(_Width, int), _WIDTH_SAYING] = Field(
        _DEFAULT_WIDTH, description=_WIDTH
    )
    rollout: Rollout = Field(None, description=_ROLLOUT)


class GroupChange(_WithColumns):
    """Changes of a group; a field that is not given, or null, stays."""

    unused_names: ClassVar[frozenset[str] | None] = frozenset()

    name: Annotated[_Name | None, _NAME_SAYING] = Field(None, description=_NAME)
    description: Annotated[_Description | None, _DESCRIPTION_SAYING] = Field(None, description="What the group is for.")
    update_apply_type: Annotated[_ApplyType | None, _APPLY_TYPE_SAYING] = Field(None, description=_APPLY)
    max_parallel_subclouds: Annotated[
        int | None, AcceptedAs(_Width | None, lambda value: None if value is None else int(value)), _WIDTH_SAYING
    ] = Field(None, description=_WIDTH)
    rollout: Rollout = Field(None, description=_ROLLOUT)
