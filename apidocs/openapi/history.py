"""Routes of events, past strategies, runs and the audit, and of the processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp.typedefs import Handler

from api import docs_routes, events, health, history, step_log
from apidocs.openapi.operation import (
    Alive,
    AuditPage,
    Body,
    Header,
    Operation,
    PrestagePage,
    Ready,
    Response,
    RunPage,
    Started,
    StepPage,
    StrategyPage,
    StreamMessage,
    Versions,
    WorkerList,
)
from apidocs.openapi.strategies import EXAMPLE_PASSWORD, PROBLEMS_NOTE
from messages.process_schemas import AskedWorker, Health, KnownCaller, ReleaseList
from messages.requests.queries import (
    AuditQuery,
    EventsQuery,
    FollowQuery,
    PageQuery,
    PastStepsQuery,
    StandaloneQuery,
)
from messages.requests.strategy_retry import StrategyRetryBody
from messages.schemas import CreatedStrategy, HistoricStrategy
from messages.step_schemas import ProblemList
from messages.time_series import TimeSeries

_EVENTS: Final = "Events"
_HISTORY: Final = "History and audit"
_PROCESSES: Final = "Processes"
_PROCESS: Final = "The process itself"
_WORKER: Final = ("Name of the worker (PRESTAGER_WORKER_NAME).", "worker-1")
_UNASKED: Final = {
    404: "There is no living worker of this name.",
    422: "One process does everything, and never drains.",
    503: "The broker or the worker does not answer; it may still have been reached.",
}
_STRATEGY: Final = ("Id of the strategy.", "1")
_NO_STRATEGY: Final = {404: "There is no such strategy."}

WATCHING: Final[Mapping[Handler, Operation]] = {
    events.stream: Operation(
        id="stream-events",
        tag=_EVENTS,
        query=EventsQuery,
        headers=(
            Header(
                name="Last-Event-ID",
                description="Go on after the event of this number. An empty one is as good as none.",
                schema={"type": "string", "pattern": "^[0-9]{0,18}$"},
            ),
        ),
        response=Response(
            description="Server-Sent Events without an end: a `snapshot`, then the CloudEvents that are published over"
            " AMQP too, and a `dropped` with a reason where the server ends the stream.",
            type=StreamMessage,
            media_type="text/event-stream",
        ),
    ),
    history.show_strategies: Operation(
        id="list-past-strategies",
        tag=_HISTORY,
        query=PageQuery,
        response=Response(description="A page of strategies.", type=StrategyPage),
    ),
    history.show_strategy: Operation(
        id="show-past-strategy",
        tag=_HISTORY,
        ref=_STRATEGY,
        response=Response(description="The strategy.", type=HistoricStrategy),
        errors=_NO_STRATEGY,
    ),
    history.retry: Operation(
        id="retry-strategy",
        tag=_HISTORY,
        is_command=True,
        ref=_STRATEGY,
        body=Body(
            model=StrategyRetryBody,
            examples={
                "the sites that did not succeed": {"sysadmin_password": EXAMPLE_PASSWORD},
                "two sites, from the beginning, at once": {
                    "clouds": ["edge-12", "edge-17"],
                    "from": "start",
                    "apply": True,
                    "sysadmin_password": EXAMPLE_PASSWORD,
                },
            },
        ),
        response=Response(
            description="The new strategy; `excluded-subclouds` tells who is left out.", type=CreatedStrategy
        ),
        errors={
            400: "The first field that is wrong, in the order of the fields.",
            404: "There is no such strategy.",
            409: "An earlier retry of it has started.",
            422: "The strategy has not ended, another one is active, no site is left, or as for a new strategy.",
        },
        notes="What is not given is as it was in the earlier strategy, but for `rollout.stages`. An ended strategy that"
        " is still the active one becomes history, and so does an earlier retry in which no site has started.",
    ),
    history.show_steps: Operation(
        id="list-past-steps",
        tag=_HISTORY,
        ref=_STRATEGY,
        query=PastStepsQuery,
        response=Response(description="A page of steps.", type=StepPage),
        errors={**_NO_STRATEGY, 400: "The first filter that is wrong."},
    ),
    history.show_problems: Operation(
        id="list-past-problems",
        tag=_HISTORY,
        ref=_STRATEGY,
        response=Response(description="The problems, at most fifty, the most frequent first.", type=ProblemList),
        errors=_NO_STRATEGY,
        notes=PROBLEMS_NOTE,
    ),
    history.show_series: Operation(
        id="show-series",
        tag=_HISTORY,
        ref=_STRATEGY,
        response=Response(description="The time series.", type=TimeSeries),
        errors=_NO_STRATEGY,
        notes="At most 240 points, as far from each other as that needs. Of a site that was retried within its"
        " strategy the last try counts.",
    ),
    history.show_standalone: Operation(
        id="list-prestages",
        tag=_HISTORY,
        query=StandaloneQuery,
        response=Response(description="A page of them.", type=PrestagePage),
        notes="Prestages of one subcloud without a strategy, and removals of a staged release (`type`).",
    ),
    step_log.show_runs: Operation(
        id="list-runs",
        tag=_HISTORY,
        ref=("Id of the step, active, past or standalone.", "1"),
        query=PageQuery,
        response=Response(description="A page of runs.", type=RunPage),
        errors={404: "There is no such step."},
        notes="Each try of each phase is a run of its own. The preparation that serves the step is one of them.",
    ),
    step_log.show_run_log: Operation(
        id="show-run-log",
        tag=_HISTORY,
        ref=("Id of the run.", "1"),
        query=FollowQuery,
        response=Response(
            description="The output; followed, a line with the outcome comes last.", type=str, media_type="text/plain"
        ),
        errors={
            400: "`follow` is neither 1 nor 0.",
            404: "There is no such run or, unless it is followed, no output of it.",
        },
    ),
    history.show_audit: Operation(
        id="list-audit",
        tag=_HISTORY,
        query=AuditQuery,
        response=Response(description="A page of the audit.", type=AuditPage),
    ),
    health.show_workers: Operation(
        id="list-workers",
        tag=_PROCESSES,
        response=Response(description="The processes by role and name.", type=WorkerList),
    ),
    health.drain_worker: Operation(
        id="drain-worker",
        tag=_PROCESSES,
        ref=_WORKER,
        response=Response(description="The worker, once it drains.", type=AskedWorker),
        errors=_UNASKED,
    ),
    health.undrain_worker: Operation(
        id="undrain-worker",
        tag=_PROCESSES,
        ref=_WORKER,
        response=Response(description="The worker, once it takes runs again.", type=AskedWorker),
        errors=_UNASKED,
    ),
    health.show_health: Operation(
        id="show-health",
        tag=_PROCESSES,
        response=Response(description="The parts of the service and how they are.", type=Health),
    ),
    health.show_releases: Operation(
        id="list-releases",
        tag=_PROCESSES,
        response=Response(description="The releases, the newest first.", type=ReleaseList),
    ),
    health.show_caller: Operation(
        id="show-caller", tag=_PROCESSES, response=Response(description="The caller.", type=KnownCaller)
    ),
    health.show_versions: Operation(
        id="list-versions", tag=_PROCESS, response=Response(description="The versions.", type=Versions)
    ),
    health.show_alive: Operation(
        id="is-alive", tag=_PROCESS, response=Response(description="It is alive.", type=Alive)
    ),
    health.show_ready: Operation(
        id="is-ready",
        tag=_PROCESS,
        response=Response(description="It is ready.", type=Ready),
        other_responses={503: Response(description="It is not ready.", type=Ready)},
    ),
    health.show_started: Operation(
        id="is-started",
        tag=_PROCESS,
        response=Response(description="It was ready once.", type=Started),
        other_responses={503: Response(description="It is still starting.", type=Started)},
    ),
    docs_routes.show_document: Operation(
        id="show-document",
        tag=_PROCESS,
        response=Response(description="An OpenAPI 3.1 document.", type=dict[str, object]),
    ),
    docs_routes.show_html: Operation(
        id="show-page", tag=_PROCESS, response=Response(description="The page.", type=str, media_type="text/html")
    ),
}
