"""Parameters of queries. They arrive as text; the documents say what the text must stand for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from messages.limits import LARGEST_ID, is_id
from messages.requests.base import AcceptedAs, ErrorMessage, Request, validation_error
from statemachine.states import PHASES

PAGE_LENGTH: Final = 100
_LONGEST_PAGE: Final = 1000


def _digits(text: Any) -> Any:
    if not (isinstance(text, str) and is_id(text)):
        raise ValueError("no number")
    return text


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise validation_error(_NO_MOMENT) from None


def _phase(text: str) -> str:
    if text not in PHASES:
        raise ValueError("no phase")
    return text


def _or_none(text: Any) -> Any:
    return text or None


_NO_MOMENT: Final = "since must be a moment such as 2026-11-22T08:00:00 (UTC unless it says otherwise)"
_NO_FOLLOW: Final = "follow must be 1 or 0"
_Id = Annotated[int, Field(ge=0, le=LARGEST_ID), BeforeValidator(_digits)]
_NO_NUL: Final = ErrorMessage("{key} must not have a NUL")
# PostgreSQL compares nothing with a text that has a NUL.
_Comparable = Annotated[str, Field(pattern=r"^[^\x00]*$")]
_Text = Annotated[_Comparable | None, _NO_NUL]
# Where an empty text is as good as none.
_Word = Annotated[str | None, AcceptedAs(_Comparable, _or_none), _NO_NUL]
_MOMENT_SCHEMA: Final = {"type": "string", "format": "date-time"}


class PageQuery(Request):
    """Part of a list."""

    limit: Annotated[
        Annotated[int, Field(ge=1, le=_LONGEST_PAGE), BeforeValidator(_digits)],
        ErrorMessage(f"limit must be a number from 1 to {_LONGEST_PAGE}"),
    ] = Field(PAGE_LENGTH, description="Most entries of the page.")
    marker: Annotated[_Id, ErrorMessage("marker must be the id of the last entry seen, as `next` gives it")] | None = (
        Field(None, description="Id of the last entry of the page before; the path in `next` has it.")
    )


class AuditQuery(PageQuery):
    """Filter of audit entries."""

    since: Annotated[datetime | None, AcceptedAs(Annotated[str, WithJsonSchema(_MOMENT_SCHEMA)], _moment)] = Field(
        None, description="Nothing before this moment, in UTC unless it says otherwise."
    )
    caller: _Text = Field(None, description="What this caller asked.")
    type: _Text = Field(None, description="Commands of this type, such as `strategy.create`.")


class TypeQuery(Request):
    """Type of a strategy."""

    type: _Word = Field(None, description="Only a strategy of this type, such as `prestage`.")


class LogQuery(Request):
    """Part of a step's output."""

    phase: Annotated[
        Annotated[str, AfterValidator(_phase), WithJsonSchema({"type": "string", "enum": list(PHASES)})] | None,
        BeforeValidator(_or_none),
        ErrorMessage(f"Unknown phase '{{value}}'; the phases are: {', '.join(PHASES)}"),
    ] = Field(None, description="Only the newest run of this phase; otherwise all phases one after the other.")


class StepLogQuery(LogQuery):
    """Part of a step's output, and whether it is followed."""

    follow: Annotated[
        bool,
        AcceptedAs(Literal["0", "1", "false", "true"], lambda text: text in {"1", "true"}),
        ErrorMessage(_NO_FOLLOW),
    ] = Field(False, description="Go on with what is printed from now on, until the phase or the step has ended.")


class EventsQuery(Request):
    """Filters of the stream of events."""

    strategy: Annotated[_Id, ErrorMessage("strategy must be the id of a strategy")] | None = Field(
        None, description="What belongs to the strategy with this id."
    )
    subcloud: _Text = Field(None, description="What belongs to the subcloud of this name.")
    type: _Text = Field(None, description="Events whose type begins so, such as `step.prestage`.")
    last_event_id: (
        Annotated[_Id, ErrorMessage("Last-Event-ID must be the number of an event of this stream")] | None
    ) = Field(None, description="For clients that cannot set the header `Last-Event-ID`, which counts before this.")
