"""Parameters of queries. They arrive as text; the documents say what the text must stand for."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from messages.limits import LARGEST_ID, PROBLEM_FORM, TEXT_LENGTH, is_id
from messages.requests.base import AcceptedAs, ErrorMessage, Request, truncate_for_error, validation_error
from messages.requests.targets import SelectorText
from messages.step_schemas import Step
from statemachine.rollout import StepOutcome
from statemachine.states import OPEN_RUNS, PHASES, STRATEGY_TYPES, FailureClass, StepState

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
_Switch = Annotated[
    bool,
    AcceptedAs(Literal["0", "1", "false", "true"], lambda text: text in {"1", "true"}),
    ErrorMessage("{key} must be 1 or 0"),
]
_Id = Annotated[int, Field(ge=0, le=LARGEST_ID), BeforeValidator(_digits)]
_NO_NUL: Final = ErrorMessage("{key} must not have a NUL")
# PostgreSQL compares nothing with a text that has a NUL.
_Comparable = Annotated[str, Field(pattern=r"^[^\x00]*$")]
_Text = Annotated[_Comparable | None, _NO_NUL]
# Where an empty text is as good as none.
_Word = Annotated[str | None, AcceptedAs(_Comparable, _or_none), _NO_NUL]
_FilterText = Annotated[
    Annotated[str, Field(min_length=1, max_length=TEXT_LENGTH, pattern=r"^[^\x00]*$")] | None,
    ErrorMessage(f"{{key}} must be a text of 1 to {TEXT_LENGTH} characters without a NUL"),
]
_MOMENT_SCHEMA: Final = {"type": "string", "format": "date-time"}


# Types of strategies of this service.
_STRATEGIES: Final = frozenset(str(one.name) for one in STRATEGY_TYPES.values() if one.is_strategy)


class PageQuery(Request):
    """Part of a list."""

    limit: Annotated[
        Annotated[int, Field(ge=1, le=_LONGEST_PAGE), BeforeValidator(_digits)],
        ErrorMessage(f"limit must be a number from 1 to {_LONGEST_PAGE}"),
    ] = Field(PAGE_LENGTH, description="Most entries of the page.")
    marker: Annotated[_Id, ErrorMessage("marker must be the id of the last entry seen, as `next` gives it")] | None = (
        Field(None, description="Id of the last entry of the page before; the path in `next` has it.")
    )


def _words(kind: Collection[str], noun: str) -> Any:
    """Return the type of a parameter that takes some of the words of `kind` with commas between them."""

    def parse(text: str) -> tuple[str, ...]:
        words = tuple(dict.fromkeys(text.split(",")))
        unknown = next((word for word in words if word not in set(kind)), None)
        if unknown is not None:
            told = f"Unknown {noun} '{{value}}'; there are, with commas between them: {', '.join(kind)}"
            raise validation_error(told, truncate_for_error(unknown))
        return words

    one = "|".join(map(re.escape, kind))
    schema = {"type": "string", "pattern": f"^({one})(,({one}))*$", "examples": [str(next(iter(kind)))]}
    return Annotated[tuple[str, ...] | None, AcceptedAs(Annotated[str, WithJsonSchema(schema)], parse)]


class StepFilter(Request):
    """Filters of steps, and of subclouds by their step; a step has to fit all of them."""

    state: _words(StepState, "state") = Field(  # type: ignore[valid-type]
        None, description="Steps in one of these states, with commas between them."
    )
    outcome: _words(StepOutcome, "outcome") = Field(  # type: ignore[valid-type]
        None, description="Steps that ended so, with commas between several; `skipped` is not `complete`."
    )
    failure_class: _words(FailureClass, "class") = Field(  # type: ignore[valid-type]
        None, alias="class", description="Steps whose failure is of one of these classes, with commas between them."
    )
    run_state: _words(OPEN_RUNS, "run-state") = Field(  # type: ignore[valid-type]
        None,
        alias="run-state",
        description="Steps with a run in one of these states, with commas between them; `queued` waits for a slot.",
    )
    problem: Annotated[
        Annotated[str, Field(pattern=PROBLEM_FORM)] | None,
        ErrorMessage("problem must be the id of a problem, as …/problems lists it, or its first 4 signs or more"),
    ] = Field(None, description="Steps with this problem: its id, or a beginning that no other problem has.")
    stage: Annotated[
        Annotated[int, Field(ge=1, le=LARGEST_ID), BeforeValidator(_digits)] | None,
        ErrorMessage("stage must be the number of a stage, from 1"),
    ] = Field(None, description="Steps of this stage.")
    group: _FilterText = Field(None, description="Subclouds that are in this group now: its name or id.")
    cloud: _FilterText = Field(
        None, description="Subclouds of this name, in which `*` stands for any text and `?` for any one character."
    )
    selector: SelectorText = Field(None, description="Subclouds whose labels match now.")


class ListQuery(StepFilter):
    """Filters of a list that is whole without a limit."""

    limit: Annotated[
        Annotated[int, Field(ge=1, le=_LONGEST_PAGE), BeforeValidator(_digits)] | None,
        ErrorMessage(f"limit must be a number from 1 to {_LONGEST_PAGE}"),
    ] = Field(None, description="Most entries of the answer, which then has `next`; without it all come.")
    marker: Annotated[_Id, ErrorMessage("marker must be the id of the last entry seen, as `next` gives it")] | None = (
        Field(None, description="Id of the last entry of the page before; the path in `next` has it.")
    )


class StepsQuery(ListQuery):
    """Filters of the steps of the active strategy, and the keys of each."""

    fields: _words(tuple(Step.__annotations__), "field") = Field(  # type: ignore[valid-type]
        None,
        description="Only these keys of each step, with commas between them: a list of thousands is much shorter so.",
    )


class PastStepsQuery(StepFilter, PageQuery):
    """Filters of the steps of one strategy, page by page."""


class StandaloneQuery(PageQuery):
    """Filter of steps of no strategy."""

    cloud: _FilterText = Field(
        None, description="Subclouds of this name, in which `*` stands for any text and `?` for any one character."
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

    @property
    def means_another(self) -> bool:
        """Whether a strategy of another service is meant, such as dcmanager's of type `patch`."""
        return self.type is not None and self.type not in _STRATEGIES


class LogQuery(Request):
    """Part of a step's output."""

    phase: Annotated[
        Annotated[str, AfterValidator(_phase), WithJsonSchema({"type": "string", "enum": list(PHASES)})] | None,
        BeforeValidator(_or_none),
        ErrorMessage(f"Unknown phase '{{value}}'; the phases are: {', '.join(PHASES)}"),
    ] = Field(None, description="Only the newest run of this phase; otherwise all phases one after the other.")


class FollowQuery(Request):
    """Whether output is followed."""

    follow: _Switch = Field(
        False, description="Go on with what is printed from now on, until the run, the phase or the step has ended."
    )


class StepLogQuery(LogQuery, FollowQuery, TypeQuery):
    """Part of a step's output, and whether it is followed."""


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
    brief: _Switch = Field(
        False, description="A snapshot without steps and subclouds, for clients that read them elsewhere."
    )
