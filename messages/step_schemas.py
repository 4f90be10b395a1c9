"""Answers about the steps of strategies and their problems, as types."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

# Pydantic cannot read those of `typing` before Python 3.12.
from typing_extensions import TypedDict

from messages.schemas import Count, Hold, Moment, Seconds, ZonedMoment
from statemachine.rollout import StepOutcome
from statemachine.states import FailureClass, RunOutcome, RunState, StepState, StepType

ProblemId = Annotated[
    str,
    Field(description="Fingerprint of the failure: that of all steps with the same cause.", examples=["3f09ab61c2de"]),
]


class ProblemSample(TypedDict):
    """The site that had a problem last."""

    cloud: str
    details: Annotated[str, Field(description="Why its step failed, in whole.")]
    log: Annotated[str, Field(description="Path of the output of its phase.")]


Problem = TypedDict(
    "Problem",
    {
        "id": ProblemId,
        "phase": StepState,
        "class": Annotated[FailureClass, Field(description="Kind of trouble.")],
        "task": Annotated[str, Field(description="The task that failed; empty: none did.")],
        "text": Annotated[
            str,
            Field(
                description="What went wrong: names, addresses, ids and files are `*`, numbers and moments `#`.",
                examples=["ssh: connect to host * port #: Connection timed out"],
            ),
        ],
        "count": Annotated[int, Field(ge=1, description="Sites that have it.")],
        "clouds": Annotated[list[str], Field(max_length=10, description="Names of up to ten of them, newest first.")],
        "first": Annotated[ZonedMoment, Field(description="When the first of them ended.")],
        "last": ZonedMoment,
        "sample": ProblemSample,
        "retryable": Annotated[bool, Field(description="Whether another try may succeed though nothing was mended.")],
        "advice": Annotated[str, Field(description="What to do next.")],
    },
)


class ProblemList(TypedDict):
    """Problems of a strategy."""

    problems: Annotated[list[Problem], Field(max_length=50, description="The most frequent first.")]
    others: Annotated[Count, Field(description="Sites with a problem that is not listed.")]


class Explanation(TypedDict):
    """The reason for the place of a site in the strategy."""

    cloud: str
    state: StepState
    explanation: Annotated[str, Field(description="One sentence for people; its words may change.")]


Step = TypedDict(
    "Step",
    {
        "id": int,
        "cloud": Annotated[str, Field(description="Name of the subcloud.")],
        "stage": Annotated[int, Field(ge=1, description="Number of the batch that it belongs to.")],
        "state": StepState,
        "details": Annotated[str, Field(description="Why it failed, was skipped or cancelled; otherwise empty.")],
        "outcome": Annotated[StepOutcome | None, Field(description="How it ended; null while it is open.")],
        "class": Annotated[
            FailureClass | None, Field(description="Kind of trouble, where it did not succeed; null otherwise.")
        ],
        "problem": ProblemId | None,
        "held": Annotated[Hold | None, Field(description="The open hold of this site alone.")],
        "cancel-requested-by": Annotated[str | None, Field(description="The caller who had it cancelled.")],
        "proved-by": Annotated[
            int | None, Field(description="Id of the earlier run by which it passed the packages; null: it did not.")
        ],
        "series": Annotated[
            int, Field(ge=1, description="1, and one more each time that it was retried within its strategy.")
        ],
        "group": Annotated[
            str | None, Field(description="Group that its subcloud is in now; null: the subcloud was removed.")
        ],
        "attempt": Annotated[int, Field(ge=1, description="Attempt of its phase: one more after each lost worker.")],
        "run-state": Annotated[
            Literal["queued", "running"] | None,
            Field(description="`queued`: its phase waits for a slot of a worker; null: there is no run now."),
        ],
        "worker": Annotated[str | None, Field(description="Name of the worker that carries its phase out.")],
        "phase-started-at": Annotated[
            Moment | None, Field(description="Since when its run goes on or, while `queued`, waits.")
        ],
        "usual-s": Annotated[
            float | None,
            Field(
                ge=0,
                description="Seconds that the phase of its run usually takes: the median of the last three at this site"
                " or, where there was none, that in `usual` of the strategy; null: not known, or there is no run.",
            ),
        ],
        "started-at": Moment | None,
        "finished-at": Moment | None,
        "created-at": Moment,
        "updated-at": Moment | None,
    },
)
_Commanded = TypedDict(
    "_Commanded",
    {
        "commands": Annotated[
            list[str], Field(description="Of `cancel`, `first`, `hold`, `resume` and `retry` those that are legal now.")
        ],
        "commands-refused": Annotated[
            dict[str, str], Field(description="Of each other one, why it would be refused or change nothing.")
        ],
    },
)


class CommandedStep(Step, _Commanded):
    """A step with its commands, as it is shown by itself."""


Run = TypedDict(
    "Run",
    {
        "id": int,
        "step": Annotated[int, Field(description="Id of the step that was asked for.")],
        "cloud": Annotated[str, Field(description="Name of its subcloud.")],
        "phase": StepState,
        "attempt": Annotated[int, Field(ge=1, description="Number of the try of its phase.")],
        "shared": Annotated[
            bool, Field(description="Whether it is a preparation on the controller, which may serve other sites too.")
        ],
        "state": RunState,
        "outcome": Annotated[RunOutcome | None, Field(description="How it ended; null while it is open.")],
        "details": Annotated[str, Field(description="Why it did not succeed; otherwise mostly empty.")],
        "class": Annotated[
            FailureClass | None, Field(description="Kind of trouble, where it did not succeed; null otherwise.")
        ],
        "problem": ProblemId | None,
        "worker": Annotated[str | None, Field(description="Name of the worker that took it.")],
        "queued-at": Annotated[ZonedMoment, Field(description="When it was handed out.")],
        "started-at": Annotated[ZonedMoment | None, Field(description="When a worker took it.")],
        "finished-at": ZonedMoment | None,
        "log": Annotated[str | None, Field(description="Path of what it printed; null: nothing.")],
        "removed-releases": Annotated[
            list[str] | None,
            Field(description="Of a removal that succeeded: the releases of which it found something; null otherwise."),
        ],
    },
)

_Cancelled = TypedDict(
    "_Cancelled",
    {"already-ended": Annotated[bool, Field(description="Whether it had ended before; then nothing was changed.")]},
)


class CancelledStep(Step, _Cancelled):
    """A step that is cancelled, or will be when its worker has stopped it."""


_PastStep = TypedDict("_PastStep", {"release": str, "from-version": str | None, "duration-s": Seconds | None})


class HistoricStep(Step, _PastStep):
    """A step of a strategy of any time."""


_Standalone = TypedDict(
    "_Standalone",
    {
        "type": StepType,
        "requested-by": Annotated[
            str | None, Field(description="The caller who asked for it; null where the audit does not keep it.")
        ],
        "runs": Annotated[str, Field(description="Path of the list of its runs, which have the paths of their logs.")],
    },
)


class StandaloneStep(HistoricStep, _Standalone):
    """A prestage without a strategy, or the removal of a staged release."""
