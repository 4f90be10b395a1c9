"""Routes of the active strategy and its steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp.typedefs import Handler

from api import step_log, strategies
from apidocs.openapi.operation import (
    Body,
    Operation,
    Response,
    StepList,
)
from messages.requests.queries import (
    StepLogQuery,
    StepsQuery,
    TypeQuery,
)
from messages.requests.strategy import StrategyBody, StrategyCommand
from messages.requests.strategy_control import ActionBody, StepCancelRequest, StepUpdate, StrategyUpdate
from messages.schemas import CountedStrategy, CreatedStrategy, Strategy, StrategyPreview
from messages.step_schemas import CancelledStep, CommandedStep, Explanation, ProblemList, Step

_TAG: Final = "Strategy"
_SUBCLOUD_NAME: Final = ("Name of the subcloud; an id is not accepted.", "edge-12")
EXAMPLE_PASSWORD: Final = "c2VjcmV0"  # noqa: S105 - an example
PROBLEMS_NOTE: Final = (
    "Steps with the same phase, class, task and text have one problem, whichever site, address, file or time the text"
    " names. A step that is retried is counted no more. Steps that ended before revision 0017 of the database have"
    " none."
)

STRATEGIES: Final[Mapping[Handler, Operation]] = {
    strategies.show: Operation(
        id="show-strategy",
        tag=_TAG,
        query=TypeQuery,
        response=Response(description="The strategy.", type=CountedStrategy),
        errors={404: "There is no strategy, or none of that type."},
    ),
    strategies.create: Operation(
        id="create-strategy",
        tag=_TAG,
        is_command=True,
        body=Body(
            model=StrategyBody,
            examples={
                "a group, stopping at the first failure": {
                    "type": "prestage",
                    "subcloud_group": "north",
                    "stop-on-failure": "true",
                    "sysadmin_password": EXAMPLE_PASSWORD,
                },
                "all subclouds, ten at a time, with a release": {
                    "type": "prestage",
                    "subcloud-apply-type": "parallel",
                    "max-parallel-subclouds": 10,
                    "release": "23.09",
                    "sysadmin_password": EXAMPLE_PASSWORD,
                },
            },
        ),
        response=Response(
            description="The new strategy; `excluded-subclouds` tells who is left out.", type=CreatedStrategy
        ),
        errors={
            400: "The first field that is wrong, in the order of the fields.",
            422: "There is a strategy already, the subcloud may not be prestaged, none is left to prestage, or no"
            " worker can run the playbooks.",
        },
        notes="Nothing runs until it is applied. There is one strategy at a time.",
    ),
    strategies.preview: Operation(
        id="preview-strategy",
        tag=_TAG,
        query=TypeQuery,
        body=Body(
            model=StrategyCommand,
            examples={
                "sites by their labels": {"type": "prestage", "selector": "region=eu,!old"},
                "named sites": {"type": "prestage", "clouds": ["edge-1", "edge-7"], "skip-ineligible": True},
            },
        ),
        response=Response(description="The strategy that the request would create now.", type=StrategyPreview),
        errors={
            400: "The first field that is wrong, in the order of the fields.",
            404: "`type` in the address means a strategy of another service.",
            429: "Another preview is being made.",
        },
        notes="The body is that of a new strategy, without the password. Nothing is changed or kept, and an existing"
        " strategy is only a refusal among others.",
    ),
    strategies.update: Operation(
        id="update-strategy",
        tag=_TAG,
        is_command=True,
        query=TypeQuery,
        body=Body(
            model=StrategyUpdate,
            examples={
                "twenty sites at once": {"max-parallel-subclouds": 20},
                "bear five failures": {"rollout": {"max-failures": 5, "on-budget": "pause"}},
            },
        ),
        response=Response(description="The strategy with its new limits.", type=Strategy),
        errors={
            400: "The first field that is wrong, in the order of the fields.",
            422: "There is no strategy that is `initial` or `applying`, its mode has no such option, or the width of"
            " its stages is fixed.",
        },
        notes="An option that is not given stays; null takes a limit away.",
    ),
    strategies.delete: Operation(
        id="delete-strategy",
        tag=_TAG,
        is_command=True,
        query=TypeQuery,
        response=Response(description="The strategy, `deleting`. It is history from now on.", type=Strategy),
        errors={422: "There is no such strategy, or it is being worked on."},
    ),
    strategies.act: Operation(
        id="act-on-strategy",
        tag=_TAG,
        is_command=True,
        query=TypeQuery,
        body=Body(
            model=ActionBody,
            examples={
                "start": {"action": "apply"},
                "stop": {"action": "abort"},
                "hold": {"action": "pause", "reason": "storm at the coast", "scope": "starts"},
                "go on": {"action": "resume"},
                "go on with more failures and another password": {
                    "action": "resume",
                    "allow-failures": 5,
                    "sysadmin_password": EXAMPLE_PASSWORD,
                },
                "stop what runs, too": {"action": "cancel", "grace-s": 60},
            },
        ),
        response=Response(description="The strategy in its new state; `resume` adds `secret-replaced`.", type=Strategy),
        errors={
            400: "`action required`, `action invalid`, or an option of the action is wrong or of another one.",
            422: "There is no such strategy, or its state does not allow the action.",
        },
        notes="An abort lets running steps finish all their phases and aborts those that wait; a cancel stops them. A"
        " pause withdraws what no worker has begun: after its answer no site starts, with `phases` no next phase"
        " either."
        " `pause` may be sent by operators too.",
    ),
    strategies.show_steps: Operation(
        id="list-steps",
        tag=_TAG,
        query=StepsQuery,
        response=Response(description="The steps in the order of their ids.", type=StepList),
        errors={400: "The first filter that is wrong, or an unknown field."},
        notes="Parameters that are not known are ignored, as dcmanager's API does.",
    ),
    strategies.show_problems: Operation(
        id="list-problems",
        tag=_TAG,
        query=TypeQuery,
        response=Response(description="The problems, at most fifty, the most frequent first.", type=ProblemList),
        errors={404: "There is no strategy of this type."},
        notes=PROBLEMS_NOTE,
    ),
    strategies.explain_step: Operation(
        id="explain-step",
        tag=_TAG,
        query=TypeQuery,
        ref=_SUBCLOUD_NAME,
        response=Response(description="Why the site is where it is.", type=Explanation),
        errors={404: "There is no strategy, or it has no step of that subcloud."},
        notes="The sentence comes from the conditions by which the coordinator itself decides: hold, stage, place in a"
        " window, preparation, worker, attempt.",
    ),
    strategies.show_step: Operation(
        id="show-step",
        tag=_TAG,
        ref=_SUBCLOUD_NAME,
        response=Response(description="The step, with its commands.", type=CommandedStep),
        errors={404: "There is no strategy, or it has no step of that subcloud."},
    ),
    strategies.update_step: Operation(
        id="update-step",
        tag=_TAG,
        is_command=True,
        ref=_SUBCLOUD_NAME,
        body=Body(
            model=StepUpdate,
            examples={
                "hold": {"held": True, "reason": "no power"},
                "release": {"held": False},
                "next": {"first": True},
            },
        ),
        response=Response(description="The step.", type=Step),
        errors={
            400: "The first field that is wrong, or both or none of `held` and `first`.",
            404: "There is no strategy, or it has no step of that subcloud.",
            422: "The step has ended, or its strategy goes on no more; of `first`, also one that has begun, and without"
            " a sliding window.",
        },
        notes="A held site begins no further phase; `held` may be sent by operators too.",
    ),
    strategies.cancel_step: Operation(
        id="cancel-step",
        tag=_TAG,
        query=TypeQuery,
        is_command=True,
        ref=_SUBCLOUD_NAME,
        body=Body(model=StepCancelRequest, examples={"in a minute": {"grace-s": 60}}),
        response=Response(description="The step as it was before its worker stopped it.", type=CancelledStep),
        errors={400: "`grace-s` is wrong.", 404: "The subcloud has no open step, and none in the strategy."},
        notes="A step that has ended already stays as it is: `already-ended` says so.",
    ),
    strategies.retry_step: Operation(
        id="retry-step",
        tag=_TAG,
        query=TypeQuery,
        is_command=True,
        ref=_SUBCLOUD_NAME,
        response=Response(description="The step, in `initial`.", type=Step),
        errors={
            404: "There is no strategy, or it has no step of that subcloud.",
            409: "Another step of that site is open.",
            422: "The step neither failed nor was cancelled, its subcloud was removed, or its strategy does not apply,"
            " or failures have stopped it.",
        },
        notes="It takes its place at the end of a sliding window's stage, else in its own stage or, once that has"
        " ended, in the open one. A hold of the failure budget stays until it is resumed.",
    ),
    step_log.show_log: Operation(
        id="show-step-log",
        tag=_TAG,
        ref=_SUBCLOUD_NAME,
        query=StepLogQuery,
        response=Response(
            description="The output. Of all phases, each has a line with its name before it.",
            type=str,
            media_type="text/plain",
        ),
        errors={
            400: "`follow` is neither 1 nor 0.",
            404: "There is no step of that subcloud, no such phase, or, unless it is followed, no output of it yet.",
        },
    ),
}
