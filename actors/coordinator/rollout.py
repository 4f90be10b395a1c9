"""Rollout of a new strategy: the sources of its options that count, their columns, and its stages and order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, func, select

from db.schema import steps
from messages.requests.rollout import conflict, loosening, merge_options
from messages.requests.strategy import StrategyRequest
from statemachine.eligibility import Candidate, number_stages
from statemachine.rollout import OnBudget, RolloutMode, StepOutcome
from statemachine.rollout_stages import StageRule, StageSurroundings, rollout_stages
from statemachine.window import WindowStage, allowed_failures, usual_duration_s, window_stages

# Complete strategies of a site that are read for its usual duration.
_LATEST: Final = 3
# What `stop-on-failure` alone counts as, in answers.
_STOP_ON_FAILURE: Final = {"max-failures": 0, "on-budget": str(OnBudget.STOP)}


def counted_options(
    request: StrategyRequest, group: RowMapping | None, installation: Mapping[str, Any]
) -> tuple[dict[str, Any], str | None]:
    """Return the options of a new strategy, by their names on the wire, and why they exclude each other, if they do.

    Of each option the request counts before the group that it names, and the group before the installation.
    """
    given = {} if request.rollout is None else request.rollout.given()
    if request.stop_on_failure:
        given |= _STOP_ON_FAILURE
    sources = ({} if group is None else group["rollout"], installation)
    options = merge_options(given, *sources)
    return options, conflict(options) or loosening(options, *sources)


def budget_as_count(options: Mapping[str, Any], total: int) -> int | None:
    """Return the failure budget of options as a count of the steps as created; None: there is none."""
    limit = options.get("max-failures")
    return None if limit is None else allowed_failures(limit, total)


def rollout_columns(options: Mapping[str, Any], total: int, *, stop_on_failure: bool) -> dict[str, Any]:
    """Return the columns of a strategy of `total` steps that follow from its options.

    The rule of `stop-on-failure` alone is that of the contract (8.3), not that of a budget.
    """
    budget = None if stop_on_failure else budget_as_count(options, total)
    return {
        "rollout": dict(options),
        "mode": options["mode"],
        "max_failures": budget,
        "stage_by_stage": options.get("stages") is not None,
    }


@dataclass(frozen=True, kw_only=True)
class StepPlaces:
    """Stages of a new strategy and the places of its steps.

    Attributes:
        widths: Most steps at once of each stage, by its number; None: only the width of the strategy counts.

        stages: Stages of a sliding window; none in mode `stages`.

        steps: (subcloud id, stage, position) of each step, in the order in which they start.

        most_at_once: Most steps that are worked on at once.
    """

    widths: Mapping[int, int | None]
    steps: Sequence[tuple[int, int, int]]
    most_at_once: int
    stages: Sequence[WindowStage] = ()


def numbered_options(options: Mapping[str, Any], places: StepPlaces) -> dict[str, Any]:
    """Return options whose `stages` have the number and the count of sites of each, with the sites of none as last.

    A stage without sites has the number null. `passed-at` is written when the next one may start.
    """
    if options.get("stages") is None:
        return dict(options)
    found = {one.name: {"stage": one.stage, "sites": len(one.subcloud_ids), "passed-at": None} for one in places.stages}
    stages = [{**found.pop(one["name"], {"stage": None, "sites": 0}), **one} for one in options["stages"]]
    stages += [{**rest, "name": name} for name, rest in found.items()]
    return {**options, "stages": stages}


def places_of_steps(
    connection: Connection,
    options: Mapping[str, Any],
    request: StrategyRequest,
    chosen: Sequence[Mapping[str, Any]],
    rules: Sequence[StageRule] | None = None,
) -> StepPlaces:
    """Return the stages and places of the steps of a new strategy with these options.

    `rules` are the stages that its rollout names; None: it names none.
    """
    candidates = [_candidate(row) for row in chosen]
    if options["mode"] != RolloutMode.WINDOW:
        numbered = list(number_stages(candidates, apply_type=request.apply_type, max_parallel=request.max_parallel))
        sizes = Counter(stage for _, stage in numbered)
        return StepPlaces(
            widths=sizes,
            steps=[(one, stage, one) for one, stage in numbered],
            most_at_once=max(sizes.values(), default=0),
        )
    is_by_duration = options["order"] == "longest-first"
    apply_type, width = request.apply_type, request.max_parallel
    usual_s = _usual_durations_s(connection) if is_by_duration else None
    if rules is None:
        found = list(window_stages(candidates, apply_type=apply_type, max_parallel=width, usual_s=usual_s))
    else:
        labels = {row["id"]: row["labels"] for row in chosen}
        around = StageSurroundings(labels=labels, apply_type=apply_type, max_parallel=width, usual_s=usual_s)
        found = list(rollout_stages(candidates, rules, around))
    most = [min(one.width or len(one.subcloud_ids), len(one.subcloud_ids)) for one in found]
    at_once = sum(most) if rules is None else max(most, default=0)
    return StepPlaces(
        stages=found,
        most_at_once=min(request.max_parallel or at_once, at_once),
        widths={one.stage: one.width for one in found},
        steps=[
            (subcloud_id, one.stage, position) for one in found for position, subcloud_id in enumerate(one.subcloud_ids)
        ],
    )


def _candidate(row: Mapping[str, Any]) -> Candidate:
    return Candidate(
        subcloud_id=row["id"],
        group_id=row["group_id"],
        group_apply_type=row["update_apply_type"],
        group_max_parallel=row["max_parallel_subclouds"],
    )


def _usual_durations_s(connection: Connection) -> dict[int, float]:
    """Return the usual seconds of work by subcloud, of those that a strategy has prestaged."""
    place = func.row_number().over(partition_by=steps.c.subcloud_id, order_by=steps.c.id.desc()).label("place")
    complete = (
        select(steps.c.subcloud_id, steps.c.worked_s, place)
        .where(
            steps.c.outcome == StepOutcome.COMPLETE,
            steps.c.strategy_id.is_not(None),
            steps.c.subcloud_id.is_not(None),
            # That of a prestage from before revision 0012 may not be known.
            steps.c.worked_s > 0,
        )
        .subquery()
    )
    query = (
        select(complete.c.subcloud_id, complete.c.worked_s)
        .where(complete.c.place <= _LATEST)
        .order_by(complete.c.subcloud_id, complete.c.place)
    )
    rows = connection.execute(query).all()
    return {
        subcloud_id: usual_duration_s([row.worked_s for row in found])
        for subcloud_id, found in groupby(rows, key=lambda row: row.subcloud_id)
    }
