"""Create a strategy and its steps (contract 3.3), or show in a preview what that would make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import BigInteger, Integer, RowMapping, String, bindparam, insert, select, update

from actors.coordinator.context import (
    CommandContext,
    joined_notes,
    read_body,
    read_release,
    require_password,
    seal,
    waiting_step,
)
from actors.coordinator.errors import Refusals
from actors.coordinator.rollout import rollout_columns
from actors.coordinator.strategy_draft import (
    RetriedSites,
    StrategyDraft,
    WantedStrategy,
    draft_strategy,
    find_named_group,
)
from actors.coordinator.worker_checks import content_warning, room_warning
from db.forecaster import forecast_new
from db.json_table import given_rows
from db.schema import is_among, steps, strategies, strategy_stages, subclouds
from db.site_records import site_records
from messages.commands import Command
from messages.event_types import StrategyCreated, event_name
from messages.requests.strategy import StrategyCommand, StrategyRequest
from messages.schemas import CreatedStrategy, ExpectedDuration, PreviewedStage, StrategyPreview
from messages.serializers import NO_ERRORS, strategy_resource
from statemachine.forecast import StageLeft, TimeLeft, WorkLeft
from statemachine.proofs import may_prove
from statemachine.rollout import RolloutMode
from statemachine.states import STRATEGY_TYPES, StrategyState

# Columns that each step has for itself, and those that all steps of a strategy have alike.
_PLACED: Final = given_rows("placed", subcloud_id=BigInteger, subcloud_name=String, stage=Integer, position=BigInteger)
_ALIKE: Final = {
    column.name: bindparam(f"of_{column.name}", type_=column.type)
    for column in (
        steps.c.state,
        steps.c.details,
        steps.c.release,
        steps.c.force,
        steps.c.version,
        steps.c.created_at,
        steps.c.for_sw_deploy,
        steps.c.strategy_id,
        steps.c.type,
    )
}
_INSERT_STEPS: Final = insert(steps).from_select(
    [*(column.name for column in _PLACED.c), *_ALIKE], select(*_PLACED.c, *_ALIKE.values())
)


def create_strategy(context: CommandContext, command: Command) -> CreatedStrategy:
    """Create the strategy and its steps; nothing runs until it is applied.

    `excluded-subclouds` of the strategy names those that it means and leaves out, with the reason.

    Raises:
        CommandRefusedError: 400 or 422 with the contract's text for the first error in its order; nothing was changed.
    """
    return new_strategy(context, command)


def new_strategy(context: CommandContext, command: Command, *, retried: RetriedSites | None = None) -> CreatedStrategy:
    """Create the strategy that a command asks for; `retried` are the only sites that it may have.

    Raises:
        CommandRefusedError: As `create_strategy` does.
    """
    request = read_body(StrategyRequest, command.data, whole=StrategyCommand)
    group = find_named_group(context, request)
    require_password(command, missing="subcloud sysadmin_password required")
    release = read_release(command.data, context.rules.release)
    wanted = WantedStrategy(request=request, group=group, release=release, retried=retried)
    draft = draft_strategy(context, wanted, command.data, Refusals())
    retry_of = None if retried is None else retried.strategy_id
    strategy = _insert_strategy(context, draft, {"requested_by": command.requested_by, "retry_of": retry_of})
    _insert_steps(context, draft, strategy)
    if retried is not None and retried.is_resumed:
        _let_resume(context, draft, strategy)
    seal(context, command, strategy_id=strategy["id"])
    created = StrategyCreated(steps=len(draft.places.steps))
    if retry_of is not None:
        created["retry_of"] = retry_of
    event = event_name("strategy", strategy["type"], StrategyState.INITIAL)
    context.work.emit(event, f"strategy/{strategy['id']}", created)
    return {**strategy_resource(strategy, "message"), "info_message": joined_notes(*draft.warnings)}


def preview_strategy(context: CommandContext, command: Command) -> StrategyPreview:
    """Return the strategy that a request would create now, and what is against it; nothing is written.

    Raises:
        CommandRefusedError: 400 with the contract's text for the first wrong field.
    """
    request = read_body(StrategyRequest, command.data, whole=StrategyCommand)
    group = find_named_group(context, request)
    release = read_release(command.data, context.rules.release)
    refusals = Refusals(are_kept=True)
    wanted = WantedStrategy(request=request, group=group, release=release)
    draft = draft_strategy(context, wanted, command.data, refusals)
    found = (*draft.warnings, content_warning(context, release), room_warning(context, draft.places.most_at_once))
    expected = forecast_new(context.connection, _work_of(draft)) if draft.places.steps else "no site is chosen"
    return {
        "release": release,
        "subcloud-apply-type": draft.apply_type,
        "max-parallel-subclouds": draft.width,
        "rollout": dict(draft.options),
        "sites": len(draft.places.steps),
        "stages": _previewed_stages(draft),
        "excluded-subclouds": draft.sites.excluded,
        "expected": None if isinstance(expected, str) else _duration(expected),
        "expected-missing": expected if isinstance(expected, str) else None,
        "warnings": [one for one in found if one is not None],
        "refusals": refusals.texts,
        "plan-digest": draft.digest,
    }


def _duration(left: TimeLeft) -> ExpectedDuration:
    return {"p10-s": round(left.p10_s, 1), "p50-s": round(left.p50_s, 1), "p90-s": round(left.p90_s, 1)}


def _work_of(draft: StrategyDraft) -> WorkLeft:
    """Return the work of a strategy that has not begun."""
    options, kind = draft.options, STRATEGY_TYPES[draft.wanted.request.type]
    counts = Counter(stage for _, stage, _ in draft.places.steps)
    soaks_s = {one["stage"]: float(one.get("soak-s") or 0.0) for one in options.get("stages") or ()}
    is_window, are_named = options["mode"] == RolloutMode.WINDOW, bool(soaks_s)
    stages = [
        StageLeft(
            not_started=count,
            width=_narrower(draft.width, draft.places.widths[stage]),
            pause_s=soaks_s.get(stage - 1, 0.0),
        )
        for stage, count in sorted(counts.items())
    ]
    if is_window and not are_named and draft.width is not None:
        # The width counts over all groups.
        stages = [StageLeft(not_started=counts.total(), width=draft.width)]
    return WorkLeft(
        phases=tuple(phase.state for phase in kind.phases if not phase.once_per_strategy),
        stages=tuple(stages),
        one_by_one=not is_window or are_named,
        ramp=(options.get("ramp") or {}).get("start"),
    )


def _narrower(*widths: int | None) -> int | None:
    return min((width for width in widths if width is not None), default=None)


def _previewed_stages(draft: StrategyDraft) -> list[PreviewedStage]:
    names = {row["id"]: row["name"] for row in draft.sites.eligible}
    members: dict[int, list[str]] = {stage: [] for stage in draft.places.widths}
    for subcloud_id, stage, _ in draft.places.steps:
        members[stage].append(names[subcloud_id])
    names_of_stages = {one.stage: one.name for one in draft.places.stages}
    options = {one["name"]: one for one in draft.options.get("stages") or ()}
    after = {stage: options.get(name, {}) for stage, name in names_of_stages.items()}
    return [
        {
            "stage": stage,
            "name": names_of_stages.get(stage, ""),
            "width": width,
            "soak-s": after.get(stage, {}).get("soak-s"),
            "gate": after.get(stage, {}).get("gate"),
            "count": len(members[stage]),
            "clouds": members[stage],
        }
        for stage, width in draft.places.widths.items()
    ]


def _insert_strategy(context: CommandContext, draft: StrategyDraft, given: Mapping[str, Any]) -> RowMapping:
    request, total = draft.wanted.request, len(draft.places.steps)
    statement = (
        insert(strategies)
        .values(
            type=request.type,
            subcloud_apply_type=draft.apply_type,
            max_parallel_subclouds=draft.width,
            stop_on_failure=request.stop_on_failure,
            force=request.force,
            release=draft.wanted.release,
            for_sw_deploy=request.for_sw_deploy,
            state=StrategyState.INITIAL,
            excluded=draft.sites.excluded,
            created_at=context.at,
            **rollout_columns(draft.options, total, stop_on_failure=request.stop_on_failure),
            **given,
        )
        .returning(strategies)
    )
    return context.connection.execute(statement).mappings().one()


def _insert_steps(context: CommandContext, draft: StrategyDraft, strategy: RowMapping) -> None:
    """Insert the steps of a strategy; the stages of a sliding window become rows too."""
    chosen = draft.sites.eligible
    if strategy["mode"] == RolloutMode.WINDOW:
        stages = [
            {
                "strategy_id": strategy["id"],
                "stage": one.stage,
                "width": one.width,
                "max_failures": one.max_failures,
            }
            for one in draft.places.stages
        ]
        context.connection.execute(insert(strategy_stages), stages)
    names = {row["id"]: row["name"] for row in chosen}
    placed = [
        {"subcloud_id": subcloud_id, "subcloud_name": names[subcloud_id], "stage": stage, "position": position}
        for subcloud_id, stage, position in draft.places.steps
    ]
    alike = waiting_step(context, strategy["release"], force=strategy["force"]) | {
        "for_sw_deploy": strategy["for_sw_deploy"],
        "strategy_id": strategy["id"],
        "type": strategy["type"],
    }
    context.connection.execute(_INSERT_STEPS, {"placed": placed, **{f"of_{name}": one for name, one in alike.items()}})
    failed_before = [row["id"] for row in chosen if row["error_description"] != NO_ERRORS]
    context.connection.execute(
        update(subclouds).where(is_among(subclouds.c.id, "chosen")).values(error_description=NO_ERRORS),
        {"chosen": failed_before},
    )


def _let_resume(context: CommandContext, draft: StrategyDraft, strategy: RowMapping) -> None:
    """Let the sites pass phases whose earlier runs may prove them, once the controller's content is known."""
    chosen = dict.fromkeys((row["id"] for row in draft.sites.eligible), strategy["for_sw_deploy"])
    records = site_records(context.connection, chosen)
    resuming = [subcloud_id for subcloud_id, record in records.items() if may_prove(strategy["release"], record)]
    context.connection.execute(
        update(steps)
        .where(steps.c.strategy_id == strategy["id"], is_among(steps.c.subcloud_id, "resuming"))
        .values(resumes=True),
        {"resuming": resuming},
    )
